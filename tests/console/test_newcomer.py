"""A newcomer gets from the entry to a picture without reading anything."""

import hashlib

import pytest

from tests.console.conftest import Visit
from tests.e2e.conftest import Stack

pytestmark = pytest.mark.timeout(120)

PROMPTS = "\n".join(f"a {colour} fox" for colour in ("red", "blue", "green", "golden"))


def test_from_the_entry_to_a_picture(visit: Visit, stack: Stack) -> None:
    stack.rule()
    person = visit(None)
    person.check("enter")
    person.press("Enter as Acme")
    person.write("Prompts", PROMPTS)
    person.see("4 prompts")
    person.write("API key of the image model", stack.api_key)
    person.check("new-batch")
    person.press("Paint 4 images · about $0.15")
    person.see("of 4 images")
    person.check("batch-running")
    for index in range(4):
        person.picture(index)
    person.see("done", exact=True)
    person.check("batch-done")
    person.page.get_by_role("button", name="Image 2").click()
    person.see("Image 2 of 4")
    person.check("viewer")
    person.page.keyboard.press("ArrowRight")
    person.see("Image 3 of 4")
    with person.page.expect_download() as download:
        person.press("Download", exact=True)
    assert download.value.suggested_filename == "0002.png"
    stored = stack.results(person.page.url.rpartition("/")[2])[2]
    assert hashlib.sha256(download.value.path().read_bytes()).hexdigest() == stored["image_sha256"]


def test_a_blocked_prompt_says_why_and_the_others_are_kept(visit: Visit, stack: Stack) -> None:
    stack.rule({"match": "forbidden", "behave": "prompt_blocked"})
    execution = stack.submit(["a lake", "a forbidden lake"])
    person = visit(at=f"batches/{execution}")
    person.see("The provider blocked this prompt.")
    person.picture(0)
    person.see("done, some failed")
    person.check("batch-failed")
    person.press("Only failed")
    assert person.page.locator(".cell").count() == 1


def test_a_running_batch_survives_a_reload_and_is_the_same_in_a_second_tab(
    visit: Visit, stack: Stack
) -> None:
    stack.rule({"match": "^slow", "behave": "slow", "delay_ms": 3000})
    execution = stack.submit(["a hill", "slow hill"])
    person = visit(at=f"batches/{execution}")
    person.picture(0)
    other = person.tab(f"batches/{execution}")
    other.locator('[data-index="0"] img.here').wait_for()
    person.page.reload()
    person.picture(1)
    other.locator('[data-index="1"] img.here').wait_for()


def test_a_finished_picture_is_loaded_once(visit: Visit, stack: Stack) -> None:
    stack.rule({"match": "^slow", "behave": "slow", "delay_ms": 4000})
    execution = stack.submit(["a pond", "slow pond"])
    person = visit(at=f"batches/{execution}")
    loads: list[str] = []
    person.page.on(
        "request", lambda request: request.resource_type == "image" and loads.append(request.url)
    )
    person.picture(0)
    person.picture(1)
    paths = [url.partition("?")[0] for url in loads if "/console/" not in url]
    assert len(paths) == len(set(paths)) == 2
