"""What administrators do in the console."""

from typing import Any
from uuid import uuid4

import pytest

from tests.console.conftest import Visit
from tests.e2e.conftest import Stack, workflow
from tests.support.demo_data import ACME
from tests.support.looks import LOOKS

pytestmark = pytest.mark.timeout(120)


def test_an_administrator_invites_a_user(visit: Visit, stack: Stack) -> None:
    person = visit("admin", at="users")
    person.press("Invite")
    email = f"{uuid4().hex[:8]}@client.example"
    person.write("E-mail", email)
    person.write("Name", "Nina New")
    person.page.get_by_label("Client", exact=True).select_option(label="Acme Corporation")
    person.check("invite")
    person.page.locator("dialog").get_by_role("button", name="Invite").click()
    person.see(email)
    person.see("invited", exact=True)
    person.check("users")
    users = stack.call("admin", "GET", "/v1/users").json()["items"]
    [invited] = [user for user in users if user["email"] == email]
    assert (invited["client_id"], invited["role"]) == (str(ACME), "client")


def test_an_administrator_approves_a_request(visit: Visit, stack: Stack) -> None:
    body = {"workflow_id": workflow(stack), "notes": f"For {uuid4()}"}
    request = stack.call("client_a", "POST", "/v1/workflow-requests", json=body).json()
    person = visit("admin", at="requests")
    card = person.page.locator("li", has_text=body["notes"])
    card.get_by_role("button", name="Approve").click()
    card.get_by_text("approved").wait_for()
    person.check("requests")
    found = stack.call("admin", "GET", f"/v1/workflow-requests/{request['id']}").json()
    assert found["status"] == "approved"


def test_an_administrator_changes_a_workflow_and_keeps_what_the_form_does_not_know(
    visit: Visit, stack: Stack
) -> None:
    made = workflow(stack, max_prompts=7, own_setting="kept")
    name = f"Changed {uuid4().hex[:8]}"
    stack.call("admin", "PATCH", f"/v1/workflows/{made}", json={"name": name})
    person = visit("admin", at="workflows")
    person.page.get_by_role("button", name=f"Change {name}").click()
    person.page.get_by_label("Most prompts at once").fill("9")
    person.check("workflow")
    person.press("Save")
    person.page.locator("li", has_text=name).get_by_text("up to 9 at once").wait_for()
    config = stack.call("admin", "GET", f"/v1/workflows/{made}").json()["config"]
    assert (config["max_prompts"], config["own_setting"]) == (9, "kept")


VIEWS = ["clients", "users", "workflows", "requests", "tickets", "lanes", "reports", "batches"]


@pytest.mark.parametrize("look", ["desk", "tablet", "phone-dark"])
def test_every_view_of_administrators_is_accessible_and_fits(visit: Visit, look: str) -> None:
    person = visit("admin", at="clients", **LOOKS.get(look, {}))
    for view in VIEWS:
        person.press(view.capitalize(), exact=True)
        person.page.get_by_role("heading", name=view.capitalize(), exact=True).first.wait_for()
        person.page.locator(".page :is(table, .card, .batch, .empty)").first.wait_for()
        person.check(f"admin-{view}-{look}")


def test_reports_never_show_another_period(visit: Visit) -> None:
    person = visit("admin", at="reports")
    person.page.locator(".reports, .empty").first.wait_for()
    person.page.route("**/v1/analytics/**", lambda route: None)
    person.press("7 days")
    person.page.get_by_label("Loading").wait_for()
    assert person.page.locator(".reports, .empty").count() == 0


def test_a_form_that_was_left_leaves_the_next_alone(visit: Visit) -> None:
    person = visit("admin", at="clients", expects=(422,))
    waiting = person.hold("**/v1/clients/*")
    for _ in range(2):
        person.press("Change Acme Corporation")
        person.press("Save")
        person.page.keyboard.press("Escape")
        person.page.locator("dialog").wait_for(state="detached")
    person.press("New client")
    person.write("Name", "Half a name")
    with person.page.expect_response("**/v1/clients/*"):
        waiting[0].fallback()
    person.page.wait_for_timeout(300)
    name = person.page.get_by_label("Name", exact=True)
    assert name.input_value(timeout=1000) == "Half a name"
    person.page.keyboard.press("Escape")
    problem = {"code": "conflict", "status": 422, "detail": "That cannot be."}
    waiting[1].fulfill(status=422, json=problem)
    person.see("That cannot be.")


def test_a_form_waits_for_what_it_offers(visit: Visit) -> None:
    person = visit("admin", at="workflows")
    waiting = person.hold("**/v1/clients?*")
    person.press("Users", exact=True)
    invite = person.page.get_by_role("button", name="Invite")
    invite.wait_for()
    assert invite.is_disabled()
    waiting[0].fallback()
    invite.click()
    client = person.page.get_by_label("Client", exact=True)
    assert client.input_value() != ""


def test_a_form_whose_answer_was_lost_makes_one_workflow(visit: Visit, stack: Stack) -> None:
    person = visit("admin", at="workflows", expects=(0,))
    answers = iter(["lost"])

    def lose_the_first(route: Any) -> None:
        if route.request.method == "POST" and next(answers, None):
            route.fetch()
            route.abort("internetdisconnected")
        else:
            route.fallback()

    person.page.route("**/v1/workflows", lose_the_first)
    person.page.locator("li.workflow").first.wait_for()
    person.press("New workflow")
    name = f"Once {uuid4().hex[:8]}"
    person.write("Name", name)
    person.press("Save")
    person.page.get_by_role("alert").wait_for()
    person.press("Save")
    person.page.locator("dialog").wait_for(state="detached")
    items = stack.call("admin", "GET", "/v1/workflows?limit=200").json()["items"]
    assert sum(item["name"] == name for item in items) == 1
