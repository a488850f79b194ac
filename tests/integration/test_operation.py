"""A declared route is complete: a new operation for administrators refuses bad requests and client
users, and is described, without a line about any of that."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
from aws_lambda_powertools.event_handler import Response

from masstock.database.queries import clients
from masstock_api import app, operation
from masstock_api.operation import Answer
from masstock_api.request import Request
from masstock_api.responses import json_answer
from tests.support.demo_data import ACME
from tests.support.handler import Api
from tools import openapi

PATH = f"/v1/budgets/{ACME}"


@contextmanager
def registered() -> Iterator[None]:
    """Registers the last declaration, for one block."""
    declared = operation._declared.pop()
    lists = (app.app._static_routes, app.app._dynamic_routes, app.app._route_keys)
    before = [list(each) for each in lists]
    app.OPERATIONS[declared.name] = declared
    app._register(declared)
    try:
        yield
    finally:
        del app.OPERATIONS[declared.name]
        for each, kept in zip(lists, before, strict=True):
            each[:] = kept


@pytest.fixture
def get_budget() -> Iterator[None]:
    """The declaration of a new route, in one place."""

    @operation.operation(
        "GET", "/v1/budgets/<client_id>", Answer(200, "ClientOrganization"), admins=True
    )
    def get_budget(request: Request, client_id: UUID) -> Response[str]:
        """The client whose budget it is."""
        return json_answer(clients.fetch_client(request.reading(), client_id))

    with registered():
        yield
    assert get_budget.__name__ not in app.OPERATIONS


@pytest.mark.usefixtures("get_budget")
@pytest.mark.parametrize(
    ("who", "path", "status"),
    [
        ("admin", PATH, 200),
        ("admin", f"/v1/budgets/{UUID(int=58)}", 404),
        ("admin", f"{PATH}?month=5", 422),
        ("admin", "/v1/budgets/acme", 422),
        ("client_a", PATH, 403),
        ("client_b", PATH, 403),
        ("client_a", f"{PATH}?month=5", 403),
        ("client_a", "/v1/budgets/acme", 403),
        (None, PATH, 401),
        (None, "/v1/budgets/acme", 401),
    ],
)
def test_new_route_for_administrators_refuses_everything_else(
    api: Api, who: str | None, path: str, status: int
) -> None:
    assert api.call(who, "GET", path).status_code == status


@pytest.mark.usefixtures("get_budget")
def test_new_route_answers_405_to_other_methods(api: Api) -> None:
    answer = api.call("admin", "DELETE", PATH)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.usefixtures("get_budget")
def test_new_route_is_described_with_every_status() -> None:
    described = openapi.build()["paths"]["/v1/budgets/{client_id}"]["get"]
    ours = {"200", "401", "403", "422", "500", "503"}
    assert set(described["responses"]) == ours | {"413", "429", "504"}
    [parameter] = described["parameters"]
    assert (parameter["name"], parameter["schema"]["format"]) == ("client_id", "uuid")


@pytest.mark.usefixtures("get_budget")
def test_new_route_must_be_in_the_access_list() -> None:
    from tests.e2e.test_access import ROWS

    assert {row["do"] for row in ROWS} == set(app.OPERATIONS) - {"get_budget"}


def test_operation_for_administrators_is_closed_even_if_its_handler_asks_nobody(api: Api) -> None:
    @operation.operation("GET", "/v1/secrets", Answer(200, "Health"), admins=True)
    def get_secrets(_: Request) -> Response[str]:
        return json_answer('{"status":"ok"}')

    with registered():
        assert api.call("admin", "GET", "/v1/secrets").status_code == 200
        assert api.call("mary", "GET", "/v1/secrets").status_code == 403
    assert get_secrets.__name__ not in app.OPERATIONS
