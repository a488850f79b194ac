"""Values that are valid JSON, but that Postgres or arithmetic cannot hold: 422 with a pointer."""

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from werkzeug.test import TestResponse

from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, DEMO_EXECUTION, JOHN_OF_ACME, WORKFLOW
from tests.support.handler import Api

JSON = {"Content-Type": "application/json"}
CONFIG: dict[str, Any] = {"workflow_type": "nano_banana", "model": "x"}
HALF = "\ud800"
DEEP: Any = "bottom"
for _ in range(900):
    DEEP = [DEEP]
REQUEST = "abc12345-e89b-12d3-a456-426614174003"
TICKET = "bbb23456-e89b-12d3-a456-426614174006"
SUBMISSION = {"workflow_id": str(WORKFLOW), "prompts": ["x"], "api_key": "a-key-of-mine"}
# Every body with a text in it, and the pointers to its texts.
TEXTS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("admin", "POST", "/v1/users", {"email": "@", "name": "@", "role": "admin"}),
    ("admin", "PATCH", f"/v1/users/{JOHN_OF_ACME}", {"email": "@", "name": "@"}),
    ("admin", "POST", "/v1/clients", {"name": "@", "email": "@", "webhook_url": "@"}),
    ("admin", "PATCH", f"/v1/clients/{ACME}", {"name": "@", "email": "@", "webhook_url": "@"}),
    (
        "admin",
        "POST",
        "/v1/workflows",
        {"name": "@", "description": "@", "config": {**CONFIG, "model": "@", "mine": ["@"]}},
    ),
    (
        "admin",
        "PATCH",
        f"/v1/workflows/{WORKFLOW}",
        {"name": "@", "description": "@", "config": {**CONFIG, "mine": {"a": {"b": "@"}}}},
    ),
    ("client_a", "POST", "/v1/workflow-requests", {"workflow_id": str(WORKFLOW), "notes": "@"}),
    ("client_a", "PATCH", f"/v1/workflow-requests/{REQUEST}", {"notes": "@"}),
    ("client_a", "POST", "/v1/support-tickets", {"subject": "@", "description": "@"}),
    ("client_a", "PATCH", f"/v1/support-tickets/{TICKET}", {"subject": "@", "description": "@"}),
    (
        "client_a",
        "POST",
        "/v1/executions",
        {
            **SUBMISSION,
            "prompts": ["@", {"prompt": "@", "custom_id": "@"}],
            "api_key": "@",
            "aspect_ratio": "@",
            "webhook_url": "@",
        },
    ),
    ("client_a", "POST", "/v1/executions", {**SUBMISSION, "reference_images": ["@"]}),
    ("client_a", "POST", f"/v1/executions/{DEMO_EXECUTION}/retry", {"@": 1}),
    ("client_a", "POST", "/v1/uploads", {"content_type": "@"}),
]


@pytest.fixture
def superuser(database: Urls) -> Iterator[psycopg.Connection]:
    with connected(database.superuser) as connection:
        yield connection


def pointers(answer: TestResponse) -> set[str]:
    assert answer.status_code == 422, answer.text
    assert answer.json is not None
    assert answer.json["code"] == "validation_failed"
    return {error["pointer"] for error in answer.json["errors"]}


def put(value: Any, text: str) -> Any:
    """The value with the text in each place of an @."""
    if isinstance(value, dict):
        return {put(name, text): put(member, text) for name, member in value.items()}
    if isinstance(value, list):
        return [put(member, text) for member in value]
    return text if value == "@" else value


def places(value: Any, text: str, path: str = "") -> Iterator[str]:
    """The pointers to each @, which the text replaces."""
    members = value.items() if isinstance(value, dict) else enumerate(value)
    for name, member in members:
        if name == "@":
            yield f"{path}/{text}"
        elif isinstance(member, dict | list):
            yield from places(member, text, f"{path}/{name}")
        elif member == "@":
            yield f"{path}/{name}"


@pytest.mark.parametrize(("who", "method", "path", "body"), TEXTS)
@pytest.mark.parametrize("text", [HALF, f"before {HALF} after", "\udfff\ud800"])
def test_half_of_a_surrogate_pair_is_refused_in_every_text(
    api: Api, who: str, method: str, path: str, body: dict[str, Any], text: str
) -> None:
    answer = api.call(who, method, path, json=put(body, text))
    assert pointers(answer) == set(places(body, re.sub("[\ud800-\udfff]", "\ufffd", text)))


@pytest.mark.parametrize(("who", "method", "path", "body"), TEXTS)
def test_the_character_zero_is_refused_in_every_text(
    api: Api, who: str, method: str, path: str, body: dict[str, Any]
) -> None:
    assert pointers(api.call(who, method, path, json=put(body, "a\x00b")))


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"mine": DEEP}, "/config/mine"),
        ({"mine": {"a" + HALF: 1}}, "/config/mine/a\ufffd"),
        ({HALF: 1}, "/config/\ufffd"),
        ({"mine": "\x00"}, "/config/mine"),
        ({"mine": ["x", 10**400]}, "/config/mine/1"),
        ({"microusd_per_image": 10**30}, "/config/microusd_per_image"),
        ({"microusd_per_image": 10**9 + 1}, "/config/microusd_per_image"),
        ({"microusd_per_image": 1e300}, "/config/microusd_per_image"),
        ({"max_concurrency": 10**30}, "/config/max_concurrency"),
        ({"max_concurrency": 10_001}, "/config/max_concurrency"),
        ({"max_prompts": 10**30}, "/config/max_prompts"),
        *(
            ({"model": name}, "/config/model")
            for name in (
                "m\n",
                "m\nx",
                "m x",
                "m?x",
                "m#x",
                "m%2fx",
                "a/../b",
                "..",
                ".",
                "../b",
                "/m",
                "models/m",
                "m:x",
                "m\\x",
                "é",
                "m\u2028",
                "-m",
                "m" * 201,
                "",
            )
        ),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_config_that_cannot_work_is_refused_where_it_is_made(
    api: Api, method: str, change: dict[str, Any], pointer: str
) -> None:
    path = "/v1/workflows" if method == "POST" else f"/v1/workflows/{WORKFLOW}"
    body = {"name": "x", "config": CONFIG | change}
    [found] = pointers(api.call("admin", method, path, json=body))
    assert found == pointer or (change.get("mine") is DEEP and found.startswith(pointer + "/0"))


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" + "0" * 400, "1" + "0" * 5000])
@pytest.mark.parametrize(
    ("method", "path", "body", "pointer"),
    [
        ("POST", "/v1/workflows", '{"name": "x", "config": {"mine": @}}', "/config/mine"),
        (
            "PATCH",
            f"/v1/clients/{ACME}",
            '{"monthly_budget_microusd": @}',
            "/monthly_budget_microusd",
        ),
        ("POST", "/v1/support-tickets", '{"what": [1, @]}', "/what/1"),
    ],
)
def test_a_number_beyond_a_double_is_refused(
    api: Api, method: str, path: str, body: str, pointer: str, number: str
) -> None:
    data = body.replace("@", number).encode()
    assert pointers(api.call("admin", method, path, data=data, headers=JSON)) == {pointer}


@pytest.mark.parametrize("depth", [65, 1_000, 20_000, 100_000])
def test_a_deep_config_is_refused_with_a_pointer_into_it(api: Api, depth: int) -> None:
    nested = b'{"a":' * depth + b"1" + b"}" * depth
    body = b'{"config": {"workflow_type": "nano_banana", "model": "x", "mine": ' + nested + b"}}"
    answer = api.call("admin", "PATCH", f"/v1/workflows/{WORKFLOW}", data=body, headers=JSON)
    [pointer] = pointers(answer)
    assert pointer.startswith("/config/mine/a")


def test_large_and_odd_values_that_fit_are_kept(api: Api) -> None:
    mine = {
        "deep": [[[[[[["x"]]]]]]],
        "large": 10**300,
        "small": 5e-324,
        "text": "\U0010ffff\ufffe\u2028\x01",
        "model_dump": 1,
        "__class__": 2,
        "": 3,
    }
    config = CONFIG | {"model": "m.x_y-2", "microusd_per_image": 10**9, **mine}
    made = api.call("admin", "POST", "/v1/workflows", json={"name": "x", "config": config})
    assert made.status_code == 201, made.text
    assert made.json is not None
    assert made.json["config"] == config
    body = {**SUBMISSION, "workflow_id": made.json["id"]}
    answer = api.call("client_a", "POST", "/v1/executions", json=body)
    assert answer.status_code == 202, answer.text
    assert answer.json is not None
    assert answer.json["estimate_microusd"] == 10**9


@pytest.mark.parametrize(
    "change",
    [{"microusd_per_image": 10**30}, {"model": "a/../b"}, {"model": ""}, {"workflow_type": "x"}],
)
@pytest.mark.parametrize("dry_run", ["true", "false"])
def test_a_stored_config_that_cannot_work_is_named_by_its_submissions(
    api: Api, superuser: psycopg.Connection, change: dict[str, Any], dry_run: str
) -> None:
    row = superuser.execute(
        "INSERT INTO public.workflows (name, config) VALUES ('old', %s) RETURNING id::text",
        [Jsonb(CONFIG | change)],
    ).fetchone()
    assert row is not None
    body = {**SUBMISSION, "workflow_id": row[0]}
    answer = api.call("client_a", "POST", f"/v1/executions?dry_run={dry_run}", json=body)
    assert pointers(answer) == {"/workflow_id"}
    assert f"/config/{next(iter(change))}" in answer.text


@pytest.mark.parametrize(
    "query",
    [
        "q=%00",
        "q=%ED%A0%80",
        "from=0001-01-01T00:00:00%2B23:59",
        "to=9999-12-31T23:59:59-23:59",
        "limit=99999999999999999999",
        "cursor=%00",
        "cursor=%F0%9F%98%80",
    ],
)
def test_no_parameter_breaks_a_list(api: Api, query: str) -> None:
    assert api.call("admin", "GET", f"/v1/users?{query}").status_code in (200, 400, 422)
