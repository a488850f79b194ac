"""Answers that come late or never: nothing is lost, nothing is sent twice, nothing old is shown."""

from typing import Any
from uuid import uuid4

import pytest

from tests.console.conftest import Visit
from tests.e2e.conftest import Stack

pytestmark = pytest.mark.timeout(120)


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


def test_a_reload_while_a_batch_is_sent_makes_no_second_one(visit: Visit, stack: Stack) -> None:
    stack.rule()
    person = visit()
    name = f"Once {uuid4()}"
    statuses: list[int] = []

    def lose_the_answer(route: Any) -> None:
        statuses.append(route.fetch().status)

    person.page.route("**/v1/executions", lose_the_answer, times=1)
    person.write("Prompts", "a comet")
    person.write("Name", name)
    person.write("API key of the image model", stack.api_key)
    person.press("Paint 1 image · about")
    person.see("Sending…")
    while not statuses:
        person.page.wait_for_timeout(100)
    person.page.reload()
    person.press("Paint 1 image · about")
    person.see("of 1 image")
    # The same prompts again, on purpose, are another batch.
    person.press("New batch", exact=True)
    person.write("Prompts", "a comet")
    person.write("Name", name)
    person.press("Paint 1 image · about")
    person.see("of 1 image")
    rows = stack.call("client_a", "GET", "/v1/executions").json()["items"]
    assert (statuses, sum(row["name"] == name for row in rows)) == ([202], 2)


def test_what_is_written_while_a_batch_is_sent_stays(visit: Visit, stack: Stack) -> None:
    stack.rule()
    person = visit()
    waiting = person.hold("**/v1/executions")
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
    person.lose_one("**/v1/executions?dry_run=true")
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


def test_a_correction_made_while_a_retry_is_sent_is_kept(visit: Visit, stack: Stack) -> None:
    stack.rule({"match": "forbidden", "behave": "prompt_blocked"})
    execution = stack.submit(["a forbidden oak", "a forbidden elm"])
    stack.wait(execution, 60)
    person = visit(at=f"batches/{execution}")
    waiting = person.hold("**/retry")
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


def test_corrections_are_painted_once_although_the_answer_is_lost(
    visit: Visit, stack: Stack
) -> None:
    stack.rule({"match": "forbidden", "behave": "prompt_blocked"})
    execution = stack.submit(["a forbidden ash"])
    stack.wait(execution, 60)
    person = visit(at=f"batches/{execution}", expects=(0,))
    statuses: list[int] = []

    def lose_the_answer(route: Any) -> None:
        statuses.append(route.fetch().status)
        route.abort("internetdisconnected")

    person.page.route("**/retry", lose_the_answer, times=1)
    prompt = f"a kind ash {uuid4()}"
    person.page.locator('[data-index="0"]').get_by_text("Edit prompt").click()
    person.write("Prompt 1", prompt)
    person.press("Add to the retry")
    person.press("Paint 1 prompt again")
    person.see("You are offline")
    stack.wait(execution, 60)
    person.page.reload()
    person.press("Paint 1 prompt again")
    person.page.get_by_role("button", name="Paint 1 prompt again").wait_for(state="detached")
    stack.wait(execution, 60)
    assert (statuses, len(stack.calls(prompt))) == ([202], 1)


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
    person.lose_one("**/results?*status=failed*")
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
