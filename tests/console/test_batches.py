"""What people do with a batch: correct it, take it home, begin it from a file."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from tests.console.conftest import Visit
from tests.e2e.conftest import WORKFLOW, Stack, workflow

pytestmark = pytest.mark.timeout(120)


def picture(folder: Path, name: str, colour: str) -> Path:
    path = folder / name
    Image.new("RGB", (64, 64), colour).save(path)
    return path


def test_twelve_prompts_with_references_to_a_zip_with_one_corrected(
    visit: Visit, stack: Stack, tmp_path: Path
) -> None:
    stack.rule({"match": "forbidden", "behave": "prompt_blocked"})
    person = visit()
    files = [picture(tmp_path, f"{colour}.png", colour) for colour in ("teal", "plum")]
    person.page.locator("input[type=file][multiple]").set_input_files(files)
    prompts = [f"a cup, view {number}" for number in range(1, 12)]
    person.write("Prompts", "\n".join([*prompts, "a forbidden cup"]))
    person.write("API key of the image model", stack.api_key)
    person.page.locator(".references progress").first.wait_for(state="detached")
    person.check("new-batch-references")
    person.page.get_by_role("button", name="Paint 12 images · about").click()
    person.see("done, some failed")
    person.press("Edit prompt")
    person.write("Prompt 12", "a friendly cup")
    person.check("edit-prompt")
    person.press("Add to the retry")
    person.see("To be painted as: a friendly cup")
    person.press("Paint 1 prompt again")
    person.see("done", exact=True)
    with person.page.expect_download() as download:
        person.press("Download ZIP")
    with zipfile.ZipFile(download.value.path()) as archive:
        images = [name for name in archive.namelist() if name.endswith(".png")]
        assert len(images) == 12
        assert Image.open(io.BytesIO(archive.read(images[0]))).width == 1024
    execution = person.page.url.rpartition("/")[2]
    assert stack.results(execution)[11]["prompt_text"] == "a friendly cup"
    assert len(stack.calls("a friendly cup")) == 1
    person.press("Select")
    person.page.locator('[data-index="0"] .picture').click()
    person.page.locator('[data-index="3"] .picture').click()
    person.check("selection")
    with person.page.expect_download() as download:
        person.page.get_by_role("region", name="Selection").get_by_text("Download ZIP").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert sum(name.endswith(".png") for name in archive.namelist()) == 2


def test_a_csv_fills_a_template(visit: Visit, stack: Stack, tmp_path: Path) -> None:
    stack.rule()
    table = tmp_path / "products.csv"
    table.write_text(
        'product;place\nmug;"a desk; a tidy one"\nvase;a shelf\n', encoding="utf-8-sig"
    )
    person = visit()
    person.page.locator("input[accept*='.csv']").set_input_files(table)
    person.write("Template", "A {product} on {place}")
    person.see("A mug on a desk; a tidy one")
    person.check("new-batch-file")
    person.write("API key of the image model", stack.api_key)
    person.page.get_by_role("button", name="Paint 2 images").click()
    person.see("of 2 images")
    execution = person.page.url.rpartition("/")[2]
    stack.wait(execution, 60)
    painted = [result["prompt_text"] for result in stack.results(execution)]
    assert painted == ["A mug on a desk; a tidy one", "A vase on a shelf"]


def test_a_corrected_file_of_the_same_name_is_read_again(visit: Visit, tmp_path: Path) -> None:
    table = tmp_path / "products.csv"
    table.write_text("prompt,aspect_ratio\na mug,7:7\na vase,1:1\n")
    person = visit(expects=(422,))
    person.write("API key of the image model", "a-key-of-practice")
    field = person.page.locator("input[accept*='.csv']")
    field.set_input_files(table)
    paint = person.page.get_by_role("button", name="Paint 2 images")
    person.page.locator(".why.bad").wait_for()
    assert paint.is_disabled()
    table.write_text("prompt,aspect_ratio\na mug,1:1\na vase,1:1\n")
    field.set_input_files(table)
    person.page.locator(".why.bad").wait_for(state="detached")
    assert paint.is_enabled()


def test_a_batch_over_the_budget_cannot_be_sent(visit: Visit, stack: Stack) -> None:
    client_b = stack.call("client_b", "GET", "/v1/me").json()["client_id"]
    with left_of_the_budget(stack, client_b, 50_000):
        person = visit("client_b", expects=(402,))
        person.write("Prompts", "one\ntwo\nthree")
        person.see("Over budget")
        person.check("over-budget")
        assert person.page.get_by_role("button", name="Paint 3 images").is_disabled()
        person.write("Prompts", "one")
        person.write("API key of the image model", stack.api_key)
        person.see("$0.050 is left of this month's budget.")


@contextmanager
def left_of_the_budget(stack: Stack, client: str, left_microusd: int) -> Iterator[None]:
    """Gives the client a budget. What other tests of this stack spent is added to it."""
    path, generous = f"/v1/clients/{client}", 10**12
    stack.call("admin", "PATCH", path, json={"monthly_budget_microusd": generous})
    body = {
        "workflow_id": WORKFLOW,
        "prompts": ["one"],
        "api_key": stack.api_key,
        "client_id": client,
    }
    price = stack.call("admin", "POST", "/v1/executions?dry_run=true", json=body).json()
    budget = generous - price["budget_left_microusd"] + left_microusd
    stack.call("admin", "PATCH", path, json={"monthly_budget_microusd": budget})
    try:
        yield
    finally:
        stack.call("admin", "PATCH", path, json={"monthly_budget_microusd": None})


def test_an_outage_is_told(visit: Visit, stack: Stack) -> None:
    stack.rule({"match": "^down", "behave": "unavailable"})
    execution = stack.submit([f"down {number}" for number in range(20)])
    person = visit(at=f"batches/{execution}")
    person.see("The provider is down. We go on by ourselves when it is back.")
    person.check("batch-outage")
    stack.call("client_a", "POST", f"/v1/executions/{execution}/cancel")


def test_a_limit_and_a_cancellation_are_told(visit: Visit, stack: Stack) -> None:
    stack.rule({"match": "^later", "behave": "throttle", "retry_delay_s": 20})
    execution = stack.submit(["later one", "later two"])
    person = visit(at=f"batches/{execution}")
    person.see("The provider limits how fast we may paint.")
    person.check("batch-limited")
    person.press("Cancel")
    person.press("Cancel the batch")
    person.see("cancelled", exact=True)
    person.check("batch-cancelled")
    person.page.get_by_label("More").click()
    person.press("As curl, Python, TypeScript")
    person.see("curl -s")
    person.check("code")


def test_an_economy_batch_costs_half_and_says_why_it_waits(visit: Visit, stack: Stack) -> None:
    stack.rule()
    person = visit()
    person.write("Prompts", "a slow sunrise\na slow sunset")
    person.write("API key of the image model", stack.api_key)
    person.page.get_by_role("radio", name="Within a day").check()
    person.press("Paint 2 images · about $0.039")
    person.see("The provider paints this at half price")
    person.check("batch-economy")
    person.picture(1)


def test_every_picture_of_ten_thousand_has_a_place_and_few_exist(
    visit: Visit, stack: Stack
) -> None:
    stack.rule()
    execution = stack.submit(["a dune"])
    stack.wait(execution, 60)
    many = {"total": 10_000, "successful": 1, "failed": 0, "processing": 9_999}
    row = stack.call("client_a", "GET", f"/v1/executions/{execution}").json()
    person = visit(at="batches")
    person.page.route(
        f"**/v1/executions/{execution}",
        lambda route: route.fulfill(json={**row, "progress": many}),
    )
    person.page.goto(f"{person.base}/#/batches/{execution}")
    person.see("of 10,000 images")
    person.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    person.page.locator('[data-index="9999"]').wait_for()
    assert person.page.locator(".cell").count() < 100


def test_references_stay_behind_where_a_workflow_takes_none(
    visit: Visit, stack: Stack, tmp_path: Path
) -> None:
    plain = workflow(stack, supports_reference_images=False)
    person = visit()
    person.page.locator("input[type=file][multiple]").set_input_files(
        picture(tmp_path, "teal.png", "teal")
    )
    person.page.locator(".references progress").wait_for(state="detached")
    person.page.get_by_label("Workflow", exact=True).select_option(plain)
    person.page.locator(".references").wait_for(state="detached")
    person.write("API key of the image model", "a-key-of-practice")
    person.write("Prompts", "a jar")
    person.page.get_by_role("button", name="Paint 1 image · about").wait_for()
    assert person.page.get_by_role("button", name="Paint 1 image").is_enabled()


def test_a_taller_window_shows_more_pictures(visit: Visit, stack: Stack) -> None:
    stack.rule()
    execution = stack.submit(["a dune"])
    row = stack.wait(execution, 60)
    many = {"total": 200, "successful": 1, "failed": 0, "processing": 199}
    person = visit(at="usage", height=500)
    person.page.route(
        f"**/v1/executions/{execution}",
        lambda route: route.fulfill(json={**row, "progress": many}),
    )
    person.page.goto(f"{person.base}/#/batches/{execution}")
    person.picture(0)
    person.page.set_viewport_size({"width": 1440, "height": 2400})
    person.page.locator('[data-index="30"]').wait_for()
