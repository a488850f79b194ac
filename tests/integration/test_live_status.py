"""The database decides the rights of a user at every request. A warm function caches none."""

from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.demo_data import ACME, ADMIN, GLOBEX, JANE_OF_GLOBEX, JOHN_OF_ACME, MARY_OF_ACME
from tests.support.handler import Api

TICKET = {"subject": "x", "description": "x"}
ADMINISTRATION = [
    ("GET", "/v1/users", None),
    ("GET", f"/v1/users/{JANE_OF_GLOBEX}", None),
    ("POST", "/v1/users", {"email": "x@x.example", "name": "x", "role": "admin"}),
    ("PATCH", f"/v1/users/{ADMIN}", {"role": "admin"}),
    ("DELETE", f"/v1/users/{JANE_OF_GLOBEX}", None),
    ("POST", "/v1/clients", {"name": "x", "email": "x@x.example"}),
    ("PATCH", f"/v1/clients/{ACME}", {"name": "x"}),
    ("GET", "/v1/analytics/clients", None),
    ("GET", "/v1/analytics/workflows", None),
]


def inactive(answer: TestResponse) -> bool:
    assert answer.json is not None
    return (answer.status_code, answer.json.get("code")) == (403, "account_inactive")


def patch(api: Api, path: str, **changes: Any) -> None:
    answer = api.call("admin", "PATCH", path, json=changes)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("status", ["suspended", "deleted"])
@pytest.mark.parametrize("path", [f"/v1/users/{JOHN_OF_ACME}", f"/v1/clients/{ACME}"])
def test_the_next_request_after_a_suspension_or_deletion_is_refused(
    fresh_api: Api, path: str, status: str
) -> None:
    api = fresh_api
    assert api.call("client_a", "GET", "/v1/me").status_code == 200
    patch(api, path, status=status)
    for method, where, body in [
        ("GET", "/v1/me", None),
        ("GET", "/v1/executions", None),
        ("POST", "/v1/support-tickets", TICKET),
        ("GET", "/v1/users", None),
    ]:
        assert inactive(api.call("client_a", method, where, json=body))
    # A colleague is refused only if the client was changed.
    assert inactive(api.call("mary", "GET", "/v1/me")) == ("clients" in path)
    assert api.call("client_b", "GET", "/v1/me").status_code == 200
    patch(api, path, status="active")
    assert api.call("client_a", "GET", "/v1/me").status_code == 200


def test_an_idempotency_key_does_not_help_a_suspended_user(fresh_api: Api) -> None:
    key = {"Idempotency-Key": "k"}
    first = fresh_api.call("client_a", "POST", "/v1/support-tickets", json=TICKET, headers=key)
    assert first.status_code == 201
    patch(fresh_api, f"/v1/users/{JOHN_OF_ACME}", status="suspended")
    again = fresh_api.call("client_a", "POST", "/v1/support-tickets", json=TICKET, headers=key)
    assert inactive(again)


def test_a_deleted_user_is_refused(fresh_api: Api) -> None:
    assert fresh_api.call("admin", "DELETE", f"/v1/users/{JOHN_OF_ACME}").status_code == 204
    assert inactive(fresh_api.call("client_a", "GET", "/v1/me"))
    kept = fresh_api.call("admin", "GET", f"/v1/users/{JOHN_OF_ACME}").json
    assert kept is not None
    assert kept["status"] == "deleted"


def test_a_demoted_administrator_loses_all_rights_at_once(fresh_api: Api) -> None:
    api = fresh_api
    patch(api, f"/v1/users/{MARY_OF_ACME}", role="admin", client_id=None)
    assert api.call("mary", "GET", "/v1/users").status_code == 200
    demotion = {"role": "client", "client_id": str(GLOBEX)}
    answer = api.call("mary", "PATCH", f"/v1/users/{ADMIN}", json=demotion)
    assert answer.status_code == 200
    for method, path, body in ADMINISTRATION:
        refused = api.call("admin", method, path, json=body)
        assert refused.status_code in (403, 404), (method, path, refused.text)
    # Now a user of Globex, without other rights.
    assert api.call("admin", "GET", f"/v1/clients/{ACME}").status_code == 404
    assert api.call("admin", "GET", f"/v1/clients/{GLOBEX}").status_code == 200
    executions = api.call("admin", "GET", "/v1/executions").json
    assert executions is not None
    assert executions["items"] == []


@pytest.mark.parametrize("change", [{"status": "suspended"}, {"status": "deleted"}, None, "demote"])
def test_the_last_active_administrator_stays(fresh_api: Api, change: Any) -> None:
    path = f"/v1/users/{ADMIN}"
    if change is None:
        answer = fresh_api.call("admin", "DELETE", path)
    elif change == "demote":
        demotion = {"role": "client", "client_id": str(ACME)}
        answer = fresh_api.call("admin", "PATCH", path, json=demotion)
    else:
        answer = fresh_api.call("admin", "PATCH", path, json=change)
    assert answer.status_code == 409, answer.text
    assert fresh_api.call("admin", "GET", "/v1/users").status_code == 200


def test_an_administrator_can_be_deleted_if_another_remains(fresh_api: Api) -> None:
    patch(fresh_api, f"/v1/users/{MARY_OF_ACME}", role="admin", client_id=None)
    assert fresh_api.call("admin", "DELETE", f"/v1/users/{ADMIN}").status_code == 204
    assert inactive(fresh_api.call("admin", "GET", "/v1/me"))
    assert fresh_api.call("mary", "DELETE", f"/v1/users/{MARY_OF_ACME}").status_code == 409


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", f"/v1/users/{JOHN_OF_ACME}", {"role": "admin"}),
        ("PATCH", f"/v1/users/{JOHN_OF_ACME}", {"client_id": str(GLOBEX)}),
        ("PATCH", f"/v1/users/{JOHN_OF_ACME}", {"status": "active"}),
        ("PATCH", f"/v1/clients/{ACME}", {"status": "active"}),
        ("PATCH", f"/v1/clients/{ACME}", {"monthly_budget_microusd": None}),
        ("PATCH", "/v1/workflow-requests/{request}", {"status": "approved"}),
        ("PATCH", "/v1/workflow-requests/{request}", {"client_id": str(GLOBEX)}),
        ("PATCH", "/v1/support-tickets/{ticket}", {"status": "closed"}),
        ("PATCH", "/v1/support-tickets/{ticket}", {"client_id": str(GLOBEX)}),
        ("POST", "/v1/support-tickets", {**TICKET, "status": "closed"}),
        ("POST", "/v1/support-tickets", {**TICKET, "client_id": str(GLOBEX)}),
    ],
)
def test_a_client_user_sets_no_role_no_client_and_no_status(
    fresh_api: Api, method: str, path: str, body: Any
) -> None:
    api = fresh_api
    workflow = {"workflow_id": "789e1234-e89b-12d3-a456-426614174002"}
    request = api.call("client_a", "POST", "/v1/workflow-requests", json=workflow).json
    ticket = api.call("client_a", "POST", "/v1/support-tickets", json=TICKET).json
    assert request is not None
    assert ticket is not None
    where = path.format(request=request["id"], ticket=ticket["id"])
    before = api.call("admin", "GET", where).json
    answer = api.call("client_a", method, where, json=body)
    assert answer.status_code in (403, 422), answer.text
    if method == "PATCH":
        assert api.call("admin", "GET", where).json == before
