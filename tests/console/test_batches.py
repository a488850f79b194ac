"""What people do with a batch: correct it, take it home, begin it from a file."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

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


def test_a_changed_batch_can_be_sent_after_a_lost_answer(visit: Visit, stack: Stack) -> None:
    stack.rule()
    person = visit(expects=(0,))
    name = f"Lost {uuid4()}"
    keys: list[str] = []

    def lose_the_first(route: Any) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) > 1:
            return route.fallback()
        route.fetch()
        return route.abort("internetdisconnected")

    person.page.route("**/v1/executions", lose_the_first)
    person.write("Prompts", "a comet")
    person.write("Name", name)
    person.write("API key of the image model", stack.api_key)
    person.press("Paint 1 image · about")
    person.page.locator(".why.bad").wait_for()
    person.write("Prompts", "a comet\na star")
    person.press("Paint 2 images · about")
    person.see("of 2 images")
    assert keys[0] != keys[1]


def test_a_batch_that_is_being_sent_is_not_sent_again_after_a_look_around(
    visit: Visit, stack: Stack
) -> None:
    stack.rule()
    person = visit()
    name = f"Once {uuid4()}"
    waiting: list[Any] = []

    def hold_the_first(route: Any) -> None:
        waiting.append(route)
        if len(waiting) > 1:
            route.fallback()

    person.page.route("**/v1/executions", hold_the_first)
    person.write("Prompts", "a planet")
    person.write("Name", name)
    person.write("API key of the image model", stack.api_key)
    person.press("Paint 1 image · about")
    person.see("Sending…")
    person.press("Usage", exact=True)
    person.page.get_by_role("heading", name="Usage").wait_for()
    person.press("New batch", exact=True)
    person.press("Paint 1 image · about")
    person.see("of 1 image")
    waiting[0].fallback()
    person.page.wait_for_timeout(1000)
    rows = stack.call("client_a", "GET", "/v1/executions").json()["items"]
    assert sum(row["name"] == name for row in rows) == 1


def test_what_is_written_while_a_batch_is_sent_stays(visit: Visit, stack: Stack) -> None:
    stack.rule()
    person = visit()
    waiting: list[Any] = []

    def hold(route: Any) -> None:
        waiting.append(route)

    person.page.route("**/v1/executions", hold)
    person.write("Prompts", "a canoe")
    person.write("API key of the image model", stack.api_key)
    person.press("Paint 1 image · about")
    person.see("Sending…")
    person.press("Usage", exact=True)
    person.page.get_by_role("heading", name="Usage").wait_for()
    person.press("New batch", exact=True)
    person.write("Prompts", "the next canoe")
    with person.page.expect_response("**/v1/executions"):
        waiting[0].fallback()
    person.page.wait_for_timeout(500)
    assert person.page.get_by_label("Prompts", exact=True).input_value() == "the next canoe"


def test_a_refusal_goes_away_with_the_next_change(visit: Visit, stack: Stack) -> None:
    person = visit(expects=(409,))
    problem = {"code": "conflict", "status": 409, "detail": "This workflow is being changed."}
    person.page.route("**/v1/executions", lambda route: route.fulfill(status=409, json=problem))
    person.write("Prompts", "a kite")
    person.write("API key of the image model", stack.api_key)
    person.press("Paint 1 image · about")
    person.see("This workflow is being changed.")
    person.write("Prompts", "a blue kite")
    person.page.locator(".why.bad").wait_for(state="detached")


def test_a_price_is_asked_again_after_a_lost_answer(visit: Visit, stack: Stack) -> None:
    person = visit(expects=(0,))
    answers = iter(["lost"])

    def lose_the_first(route: Any) -> None:
        if next(answers, None):
            route.abort("internetdisconnected")
        else:
            route.fallback()

    person.page.route("**/v1/executions?dry_run=true", lose_the_first)
    person.write("API key of the image model", stack.api_key)
    person.write("Prompts", "a raft")
    person.page.locator(".why.bad").wait_for()
    person.page.locator(".why.bad").wait_for(state="detached")
    assert person.page.get_by_role("button", name="Paint 1 image · about").is_enabled()


def test_the_button_never_counts_the_prompts_of_an_older_draft(visit: Visit) -> None:
    person = visit()
    person.write("API key of the image model", "a-key-of-practice")
    person.write("Prompts", "a\nb")
    person.page.get_by_role("button", name="Paint 2 images · about").wait_for()
    person.page.route("**/v1/executions?dry_run=true", lambda route: None)
    person.write("Prompts", "a\nb\nc")
    person.page.get_by_role("button", name="Paint 3 images").wait_for()


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


def test_a_correction_made_while_a_retry_is_sent_is_kept(visit: Visit, stack: Stack) -> None:
    stack.rule({"match": "forbidden", "behave": "prompt_blocked"})
    execution = stack.submit(["a forbidden oak", "a forbidden elm"])
    stack.wait(execution, 60)
    person = visit(at=f"batches/{execution}")
    waiting: list[Any] = []

    def hold(route: Any) -> None:
        waiting.append(route)

    person.page.route("**/retry", hold)
    for number, prompt in ((1, "a kind oak"), (2, "a kind elm")):
        person.page.locator(f'[data-index="{number - 1}"]').get_by_text("Edit prompt").click()
        person.write(f"Prompt {number}", prompt)
        person.press("Add to the retry")
        if number == 1:
            person.press("Paint 1 prompt again")
            person.page.locator("[aria-busy=true]").wait_for()
    waiting[0].fallback()
    person.see("a kind oak", exact=True)
    person.see("To be painted as: a kind elm")


def test_the_last_pictures_arrive_after_a_lost_answer(visit: Visit, stack: Stack) -> None:
    stack.rule()
    execution = stack.submit(["a fjord", "a delta"])
    row = stack.wait(execution, 60)
    person = visit(at="usage", expects=(0,))
    path = f"/v1/executions/{execution}"
    items = stack.call("client_a", "GET", f"{path}/results").json()["items"]
    gone = {"status": "processing", "result_url": None, "thumbnail_url": None}
    progress = {**row["progress"], "successful": 1, "processing": 1}
    running = {**row, "status": "processing", "progress": progress}
    state = ["running"]

    def results(route: Any) -> None:
        if state[0] in ("running", "ended"):
            route.fulfill(json={"items": [items[0], {**items[1], **gone}], "next_cursor": None})
        elif state[0] == "lose":
            state[0] = "lost"
            route.abort("internetdisconnected")
        else:
            route.fallback()

    def one(route: Any) -> None:
        if state[0] == "running":
            route.fulfill(json=running)
        else:
            state[0] = "lose" if state[0] == "ended" else state[0]
            route.fallback()

    person.page.route(f"**{path}/results?*", results)
    person.page.route(f"**{path}", one)
    person.page.goto(f"{person.base}/#/batches/{execution}")
    person.picture(0)
    state[0] = "ended"
    person.see("done", exact=True)
    person.picture(1)


def test_the_failed_pictures_are_read_again_after_a_lost_answer(visit: Visit, stack: Stack) -> None:
    stack.rule({"match": "forbidden", "behave": "prompt_blocked"})
    execution = stack.submit(["a moor", "a forbidden moor"])
    stack.wait(execution, 60)
    person = visit(at="usage", expects=(0,))
    answers = iter(["lost"])

    def lose_the_first(route: Any) -> None:
        if next(answers, None):
            route.abort("internetdisconnected")
        else:
            route.fallback()

    person.page.route("**/results?*status=failed*", lose_the_first)
    person.page.goto(f"{person.base}/#/batches/{execution}")
    person.press("Only failed")
    person.page.get_by_role("button", name="Image 2, failed").wait_for()


def test_the_viewer_of_failed_pictures_keeps_its_picture(visit: Visit, stack: Stack) -> None:
    stack.rule({"match": "forbidden", "behave": "prompt_blocked"})
    execution = stack.submit(["a forbidden ant", "a forbidden bee"])
    row = stack.wait(execution, 60)
    person = visit(at="usage")
    path = f"/v1/executions/{execution}"
    items = stack.call("client_a", "GET", f"{path}/results").json()["items"]
    failed = [1]

    def results(route: Any) -> None:
        known = [items[index] for index in sorted(failed)]
        route.fulfill(json={"items": known, "next_cursor": None})

    def one(route: Any) -> None:
        counted = {"failed": len(failed), "processing": 2 - len(failed)}
        progress = {**row["progress"], **counted}
        route.fulfill(json={**row, "status": "processing", "progress": progress})

    person.page.route(f"**{path}/results?*", results)
    person.page.route(f"**{path}", one)
    person.page.goto(f"{person.base}/#/batches/{execution}")
    person.press("Only failed")
    person.page.get_by_role("button", name="Image 2, failed").click()
    person.see("Image 1 of 1")
    failed.append(0)
    person.page.locator("dialog h2", has_text="of 2").wait_for()
    person.page.locator("dialog .prompt", has_text="a forbidden bee").wait_for()


def test_pictures_around_the_viewer_go_on_arriving(visit: Visit, stack: Stack) -> None:
    stack.rule()
    execution = stack.submit(["a reef"])
    row = stack.wait(execution, 60)
    person = visit(at="usage")
    path = f"/v1/executions/{execution}"
    [item] = stack.call("client_a", "GET", f"{path}/results").json()["items"]
    progress = {"total": 60, "successful": 1, "failed": 0, "processing": 59}
    here = [0]

    def results(route: Any) -> None:
        first = 50 if "from_index=50" in route.request.url else 0
        rows = [{**item, "batch_index": index} for index in here if first <= index < first + 50]
        route.fulfill(json={"items": rows, "next_cursor": None})

    person.page.route(f"**{path}/results?*", results)
    person.page.route(
        f"**{path}",
        lambda route: route.fulfill(json={**row, "status": "processing", "progress": progress}),
    )
    person.page.goto(f"{person.base}/#/batches/{execution}")
    person.picture(0)
    person.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    person.page.locator('[data-index="48"] .picture').click()
    person.press("Next image")
    person.see("Image 50 of 60")
    person.page.keyboard.press("Escape")
    here.append(56)
    person.picture(56)


def test_only_failed_shows_a_failure_that_was_seen_as_running(visit: Visit, stack: Stack) -> None:
    stack.rule({"match": "forbidden", "behave": "prompt_blocked"})
    execution = stack.submit(["a forbidden gull"])
    row = stack.wait(execution, 60)
    person = visit(at="usage")
    path = f"/v1/executions/{execution}"
    [item] = stack.call("client_a", "GET", f"{path}/results").json()["items"]
    item["batch_index"] = 55
    failed = [0]

    def results(route: Any) -> None:
        rows = [item] if failed[0] else [{**item, "status": "processing"}]
        is_first = "from_index=0" in route.request.url
        route.fulfill(json={"items": [] if is_first else rows, "next_cursor": None})

    def one(route: Any) -> None:
        progress = {"total": 60, "successful": 0, "failed": failed[0], "processing": 60}
        route.fulfill(json={**row, "status": "processing", "progress": progress})

    person.page.route(f"**{path}/results?*", results)
    person.page.route(f"**{path}", one)
    person.page.goto(f"{person.base}/#/batches/{execution}")
    person.see("of 60 images")
    with person.page.expect_response("**/results?from_index=50*"):
        person.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    person.page.evaluate("scrollTo(0, 0)")
    person.page.wait_for_timeout(500)
    failed[0] = 1
    person.press("Only failed")
    person.page.get_by_role("button", name="Image 56, failed").wait_for()


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
