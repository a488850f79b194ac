"""The states that the flows pass by: dialogs, menus, and views with nothing or with an error."""

from typing import Any

import pytest

from tests.console.conftest import Visit
from tests.e2e.conftest import Stack
from tests.support.looks import LOOKS
from tests.support.visitor import Visitor

pytestmark = pytest.mark.timeout(120)

TWO_LOOKS = ["desk", "phone-dark"]
EMPTY = {
    "batches": "No batches yet",
    "clients": "No clients yet",
    "workflows": "No workflows yet",
    "requests": "No requests",
    "tickets": "No tickets",
    "lanes": "No lanes yet",
    "reports": "No batches in this time",
}


@pytest.fixture(scope="module")
def execution(stack: Stack) -> str:
    stack.rule(
        {"match": "forbidden", "behave": "prompt_blocked"},
        {"match": "described", "behave": "refusal_text"},
    )
    prompts = ["a harbour", "a forbidden harbour", "a described harbour"]
    made = stack.submit(prompts, name="Harbours")
    stack.wait(made, 60)
    return made


def has_the_focus(person: Visitor, label: str) -> bool:
    field = person.page.get_by_label(label, exact=True)
    return field.evaluate("(field) => field === document.activeElement")


@pytest.mark.parametrize("look", TWO_LOOKS)
def test_a_dialog_of_administrators_begins_at_its_first_field(
    visit: Visit, execution: str, look: str
) -> None:
    person = visit("admin", at="clients", **LOOKS.get(look, {}))
    for name, label, shot in (
        ("New client", "Name", "client-new"),
        ("Change Acme Corporation", "Name", "client-change"),
    ):
        person.press(name)
        person.page.locator("dialog[open]").wait_for()
        assert has_the_focus(person, label)
        person.check(f"{shot}-{look}")
        person.page.keyboard.press("Escape")
    person.press("Lanes", exact=True)
    person.press("Set limit of")
    person.page.locator("dialog[open]").wait_for()
    assert has_the_focus(person, "Calls a minute")
    person.check(f"lane-{look}")


@pytest.mark.parametrize("look", TWO_LOOKS)
def test_a_form_says_which_field_is_refused(visit: Visit, look: str) -> None:
    person = visit("admin", at="clients", expects=(422,), **LOOKS.get(look, {}))
    person.press("New client")
    person.write("Name", "Initech")
    person.write("E-mail", "hello@initech")
    person.write("Webhook", "ftp://initech.example")
    person.press("Add client")
    webhook = person.page.get_by_label("Webhook", exact=True)
    assert webhook.evaluate("(field) => field.validity.patternMismatch")
    webhook.fill("")
    person.press("Add client")
    person.page.get_by_role("alert").get_by_text("E-mail: Send an e-mail address").wait_for()
    person.check(f"client-refused-{look}")


@pytest.mark.parametrize("look", TWO_LOOKS)
def test_menus_a_failed_picture_and_a_zip_of_many_files(
    visit: Visit, execution: str, look: str
) -> None:
    person = visit(at=f"batches/{execution}", **LOOKS.get(look, {}))
    person.picture(0)
    account = person.page.get_by_label("Account of")
    account.click()
    person.check(f"account-{look}")
    person.page.keyboard.press("Escape")
    person.page.get_by_role("button", name="Sign out").wait_for(state="hidden")
    assert account.evaluate("(summary) => summary === document.activeElement")
    person.page.get_by_label("More").click()
    person.check(f"batch-menu-{look}")
    person.page.get_by_role("heading", name="Harbours").click()
    person.page.get_by_role("button", name="Run again").wait_for(state="hidden")
    person.page.get_by_role("button", name="Image 2, failed").click()
    person.see("Image 2 of 3")
    assert person.page.locator("dialog").get_by_role("button", name="Try again").count() == 0
    person.page.keyboard.press("ArrowRight")
    person.see("The provider says")
    person.check(f"viewer-failed-{look}")
    person.page.locator("dialog").get_by_role("button", name="Try again").click()
    person.see("To be painted again")
    part = {"url": f"{person.base}/part.zip", "expires_at": "2026-11-30T12:00:00Z"}
    sizes = (3_999_000_000, 4_001_000_000, 1_210_000_000)
    parts = [{**part, "size_bytes": size} for size in sizes]
    ready = {"state": "ready", "images": 6_140, "bytes": sum(sizes), "parts": parts}
    person.page.route("**/archive", lambda route: route.fulfill(json=ready))
    person.press("Download ZIP")
    person.see("Your ZIP is ready")
    person.check(f"zip-parts-{look}")


def test_every_view_of_administrators_has_an_error_state(visit: Visit) -> None:
    person = visit("admin", expects=(500,))
    person.page.get_by_role("heading", name="Clients").wait_for()
    problem = {"code": "internal_error", "status": 500, "detail": "…", "request_id": "r-1"}
    person.page.route("**/v1/**", lambda route: route.fulfill(status=500, json=problem))
    for view in ("users", *EMPTY):
        person.press(view.capitalize(), exact=True)
        person.page.get_by_role("heading", name=view.capitalize(), exact=True).wait_for()
        person.see("The server has a problem")
        person.check(f"admin-{view}-error")


@pytest.mark.parametrize("look", TWO_LOOKS)
def test_every_view_of_administrators_has_an_empty_state(visit: Visit, look: str) -> None:
    person = visit("admin", at="usage", **LOOKS.get(look, {}))
    person.page.get_by_role("heading", name="Clients").wait_for()

    def nothing(route: Any) -> None:
        route.fulfill(json={"items": [], "next_cursor": None})

    person.page.route("**/v1/**", nothing)
    for view, words in EMPTY.items():
        person.press(view.capitalize(), exact=True)
        person.page.get_by_role("heading", name=view.capitalize(), exact=True).first.wait_for()
        person.see(words)
        person.check(f"admin-{view}-empty-{look}")
