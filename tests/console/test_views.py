"""Every view of a client, on a desk and on a phone, in light and dark, by mouse and by keyboard."""

from typing import Any

import pytest

from tests.console.conftest import Visit
from tests.e2e.conftest import Stack
from tests.support.looks import LOOKS

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def execution(stack: Stack) -> str:
    stack.rule({"match": "forbidden", "behave": "prompt_blocked"})
    prompts = [f"a lighthouse at {time}" for time in ("dawn", "noon", "dusk", "night")]
    made = stack.submit([*prompts, "a forbidden lighthouse"], name="Lighthouses")
    stack.wait(made, 60)
    return made


@pytest.mark.parametrize("look", LOOKS)
def test_every_view_is_accessible_and_fits(visit: Visit, execution: str, look: str) -> None:
    person = visit(at="new", **LOOKS[look])
    person.page.get_by_label("Prompts", exact=True).wait_for()
    person.check(f"new-batch-{look}")
    person.page.goto(f"{person.base}/#/batches")
    person.see("Lighthouses")
    person.check(f"batches-{look}")
    person.page.goto(f"{person.base}/#/batches/{execution}")
    person.picture(0)
    person.check(f"batch-{look}")
    person.page.locator('[data-index="0"] .picture').click()
    person.see("Image 1 of 5")
    person.check(f"viewer-{look}")
    person.page.keyboard.press("Escape")
    person.page.goto(f"{person.base}/#/library")
    person.picture(0)
    person.check(f"library-{look}")
    person.page.goto(f"{person.base}/#/usage")
    person.see("By month")
    person.check(f"usage-{look}")


@pytest.mark.parametrize(
    ("view", "path", "empty"),
    [
        ("batches", "/v1/executions?*", "No batches yet"),
        ("library", "/v1/results?*", "No pictures yet"),
        ("usage", "/v1/usage", "Nothing was painted yet"),
    ],
)
def test_a_view_has_a_loading_an_error_and_an_empty_state(
    visit: Visit, view: str, path: str, empty: str
) -> None:
    person = visit(at="new", expects=(500,))
    waiting = person.hold(f"**{path}")
    with person.page.expect_request(f"**{path}"):
        person.page.goto(f"{person.base}/#/{view}")
    person.page.get_by_label("Loading").wait_for()
    person.check(f"{view}-loading")
    problem = {"code": "internal_error", "status": 500, "detail": "…", "request_id": "r-1"}
    waiting[0].fulfill(status=500, json=problem)
    person.see("The server has a problem")
    person.check(f"{view}-error")
    person.page.unroute(f"**{path}")
    nothing = {"spent_microusd": 0, "reserved_microusd": 0, "budget_left_microusd": None}
    body = {"items": [], "next_cursor": None, "month": "2026-11-01", **nothing}
    body["monthly_budget_microusd"] = None
    person.page.route(f"**{path}", lambda route: route.fulfill(json=body))
    person.press("Try again")
    person.see(empty)
    person.check(f"{view}-empty")


def test_the_library_finds_words(visit: Visit, execution: str) -> None:
    person = visit(at="library")
    person.page.get_by_label("Search the library").fill("lighthouse dusk")
    person.page.get_by_text("a lighthouse at noon").first.wait_for(state="detached")
    person.see("a lighthouse at dusk")
    person.page.get_by_label("Search the library").fill("zebracorn")
    person.see("No picture found")
    person.check("library-empty")


def test_a_batch_is_made_and_looked_at_by_keyboard_alone(visit: Visit, stack: Stack) -> None:
    stack.rule()
    person = visit()
    keyboard = person.page.keyboard
    prompts = person.page.get_by_label("Prompts", exact=True)
    prompts.wait_for()
    for _ in range(20):
        if prompts.evaluate("(field) => field === document.activeElement"):
            break
        keyboard.press("Tab")
    keyboard.type("a gate\na door")
    button = person.page.get_by_role("button", name="Paint 2 images")
    key = person.page.get_by_label("API key of the image model", exact=True)
    for _ in range(40):
        keyboard.press("Tab")
        if key.evaluate("(field) => field === document.activeElement"):
            break
    keyboard.type(stack.api_key)
    button.wait_for()
    keyboard.press("Tab")
    keyboard.press("Enter")
    person.picture(1)
    first = person.page.locator('[data-index="0"] .picture')
    for _ in range(40):
        keyboard.press("Tab")
        if first.evaluate("(tile) => tile === document.activeElement"):
            break
    keyboard.press("ArrowRight")
    keyboard.press("Enter")
    person.see("Image 2 of 2")
    keyboard.press("Escape")
    assert person.page.locator('[data-index="1"] .picture').evaluate(
        "(tile) => tile === document.activeElement"
    )


def test_without_a_network_the_page_says_so_and_recovers(visit: Visit, execution: str) -> None:
    person = visit(at="batches", expects=(0,))
    person.see("Lighthouses")
    person.offline(True)
    person.press("Usage")
    person.see("You are offline")
    person.check("offline")
    person.offline(False)
    person.press("Batches")
    person.see("Lighthouses")


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "not_provisioned", "Nearly there"),
        (403, "account_inactive", "This account is suspended"),
        (500, "internal_error", "The server has a problem"),
    ],
)
def test_a_refusal_at_the_door_says_why_and_what_to_do(
    visit: Visit, status: int, code: str, words: str
) -> None:
    person = visit(None, expects=(status,))
    problem = {"code": code, "status": status, "detail": "…", "request_id": "r-1"}
    person.page.route("**/v1/me", lambda route: route.fulfill(status=status, json=problem))
    person.press("Enter as Acme")
    person.see(words)
    person.check(f"door-{code}")
    person.page.unroute("**/v1/me")
    person.press("Try again")
    person.page.get_by_label("Prompts", exact=True).wait_for()


def test_a_busy_server_is_asked_again(visit: Visit, execution: str) -> None:
    person = visit(at="usage", expects=(429,))
    answers = iter([429])

    def first_busy(route: Any) -> None:
        if next(answers, None):
            route.fulfill(status=429, json={"message": "Too Many Requests"})
        else:
            route.fallback()

    person.page.route("**/v1/executions?*", first_busy)
    person.press("Batches")
    person.see("The server is busy.")
    person.see("Lighthouses")


@pytest.mark.parametrize(("who", "home"), [("client_a", "New batch"), ("admin", "Clients")])
def test_a_tab_in_the_background_shows_its_page(visit: Visit, who: str, home: str) -> None:
    """Such a tab draws nothing. Each effect begins 100 ms late, often after the module is here."""
    person = visit(who)
    person.page.add_init_script("window.requestAnimationFrame = () => 0")
    for _ in range(5):
        person.page.reload()
        person.page.get_by_role("heading", name=home, exact=True).wait_for()


def test_nothing_of_a_user_is_left_for_the_next(visit: Visit) -> None:
    person = visit(None)
    person.press("Enter as Acme")
    person.write("Prompts", "a secret of Acme")
    person.page.get_by_label("Account of").click()
    person.press("Sign out")
    assert "secret" not in person.page.evaluate("JSON.stringify(sessionStorage)")
    person.press("Enter as Beta")
    assert person.page.get_by_label("Prompts", exact=True).input_value() == ""


def test_a_late_failure_of_an_older_search_is_not_shown(visit: Visit, execution: str) -> None:
    person = visit(at="library", expects=(500,))
    person.picture(0)
    waiting = person.hold("**/v1/results?*q=noon*")
    search = person.page.get_by_label("Search the library")
    with person.page.expect_request("**/v1/results?*q=noon*"):
        search.fill("noon")
    search.fill("lighthouse dusk")
    person.page.get_by_text("a lighthouse at noon").first.wait_for(state="detached")
    with person.page.expect_response("**/v1/results?*q=noon*"):
        waiting[0].fulfill(status=500, json={"code": "internal_error", "status": 500})
    person.page.wait_for_timeout(300)
    assert person.page.get_by_role("alert").count() == 0


def test_a_search_does_not_change_the_picture_that_is_open(visit: Visit, execution: str) -> None:
    person = visit(at="library")
    person.picture(0)
    waiting = person.hold("**/v1/results?*q=zebracorn*")
    with person.page.expect_request("**/v1/results?*q=zebracorn*"):
        person.page.get_by_label("Search the library").fill("zebracorn")
    person.page.locator('[data-index="1"] .picture').click()
    title = person.page.locator("dialog h2").text_content()
    prompt = person.page.locator("dialog .prompt").text_content()
    with person.page.expect_response("**/v1/results?*q=zebracorn*"):
        waiting[0].fallback()
    person.page.wait_for_timeout(300)
    assert person.page.locator("dialog h2").text_content() == title
    assert person.page.locator("dialog .prompt").text_content() == prompt


def test_a_batch_that_cannot_be_read_says_so_and_is_read_again(
    visit: Visit, execution: str
) -> None:
    person = visit(at="usage", expects=(500,))
    path = f"**/v1/executions/{execution}"
    problem = {"code": "internal_error", "status": 500, "detail": "…", "request_id": "r-1"}
    person.page.route(path, lambda route: route.fulfill(status=500, json=problem))
    person.page.goto(f"{person.base}/#/batches/{execution}")
    person.see("The server has a problem")
    person.page.unroute(path)
    person.see("Lighthouses")


@pytest.mark.parametrize(("user", "found"), [("Acme", "a plan of Acme"), ("Beta", "")])
def test_an_ended_session_goes_on_for_its_user_alone(visit: Visit, user: str, found: str) -> None:
    person = visit(None, expects=(401,))
    person.press("Enter as Acme")
    person.write("Prompts", "a plan of Acme")
    person.page.evaluate("sessionStorage.setItem('api-key', 'the-key-of-acme')")
    problem = {"code": "unauthenticated", "status": 401, "detail": "…", "request_id": "r-1"}
    person.page.route("**/v1/**", lambda route: route.fulfill(status=401, json=problem))
    person.press("Batches")
    person.see("Your session has ended")
    person.page.unroute("**/v1/**")
    person.press(f"Enter as {user}")
    person.press("New batch")
    assert person.page.get_by_label("Prompts", exact=True).input_value() == found
    kept = person.page.evaluate("sessionStorage.getItem('api-key')")
    assert kept == ("the-key-of-acme" if found else None)
    assert person.page.evaluate("sessionStorage.getItem('practice')") == "1"
