"""ETag, If-None-Match, If-Match and HEAD, on every GET route and every write that supports them."""

import gzip
from typing import Any
from uuid import uuid4

import pytest
from werkzeug.test import TestResponse

from tests.support.demo_data import ACME, DEMO_EXECUTION, JOHN_OF_ACME, WORKFLOW
from tests.support.handler import Api

RESOURCES = {
    "users": JOHN_OF_ACME,
    "clients": ACME,
    "workflows": WORKFLOW,
    "workflow-requests": "abc12345-e89b-12d3-a456-426614174003",
    "executions": DEMO_EXECUTION,
    "support-tickets": "bbb23456-e89b-12d3-a456-426614174006",
}
CHANGES = {
    "users": {"name": "John D."},
    "clients": {"name": "Acme"},
    "workflows": {"description": None},
    "workflow-requests": {"notes": "50 more"},
    "support-tickets": {"priority": "low"},
}
READABLE = [
    *(f"/v1/{name}/{row_id}" for name, row_id in RESOURCES.items()),
    *(f"/v1/{name}" for name in RESOURCES),
    f"/v1/executions/{DEMO_EXECUTION}/results",
    f"/v1/executions/{DEMO_EXECUTION}/results/0/image",
    f"/v1/clients/{ACME}/webhook-secret",
    "/v1/me",
    "/v1/analytics/clients",
    "/v1/analytics/workflows",
    "/health",
    "/openapi.json",
    "/docs",
    "/docs/start.js",
]


def paths(*names: str) -> Any:
    return pytest.mark.parametrize("path", [f"/v1/{name}/{RESOURCES[name]}" for name in names])


@pytest.mark.parametrize("path", READABLE)
def test_head_answers_as_get_without_the_body(api: Api, path: str) -> None:
    got = api.call("admin", "GET", path)
    headed = api.call("admin", "HEAD", path)
    assert headed.status_code == got.status_code < 400
    assert headed.data == b""
    volatile = {"X-Request-Id", "apigw-requestid", "Content-Length", "Location"}
    assert {name: value for name, value in headed.headers.items() if name not in volatile} == {
        name: value for name, value in got.headers.items() if name not in volatile
    }


@pytest.mark.parametrize(
    "path",
    [
        f"/v1/executions/{DEMO_EXECUTION}",
        f"/v1/executions/{DEMO_EXECUTION}/results",
        "/v1/results",
    ],
)
def test_what_browsers_poll_is_compressed(api: Api, path: str) -> None:
    accepts = {"Accept-Encoding": "gzip, br"}
    plain = api.call("client_a", "GET", path)
    packed = api.call("client_a", "GET", path, headers=accepts)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    if "ETag" in plain.headers:
        known = {**accepts, "If-None-Match": packed.headers["ETag"]}
        again = api.call("client_a", "GET", path, headers=known)
        assert (again.status_code, again.data) == (304, b"")
        assert "Content-Encoding" not in again.headers


def test_a_refused_head_has_the_status_of_get(api: Api) -> None:
    assert api.call(None, "HEAD", "/v1/me").status_code == 401
    assert api.call("client_b", "HEAD", f"/v1/executions/{DEMO_EXECUTION}").status_code == 404


@paths(*RESOURCES)
@pytest.mark.parametrize("form", ["{tag}", '"x", {tag}', "{strong}", "*"])
def test_an_unchanged_resource_answers_304(api: Api, path: str, form: str) -> None:
    tag = api.call("admin", "GET", path).headers["ETag"]
    wanted = form.format(tag=tag, strong=tag.removeprefix("W/"))
    answer = api.call("admin", "GET", path, headers={"If-None-Match": wanted})
    assert (answer.status_code, answer.data) == (304, b"")
    assert answer.headers["ETag"] == tag


@paths(*CHANGES)
def test_a_changed_resource_is_sent_again(api: Api, path: str) -> None:
    before = api.call("admin", "GET", path)
    change = CHANGES[path.split("/")[2]]
    changed = api.call("admin", "PATCH", path, json=change)
    assert changed.status_code == 200
    answer = api.call("admin", "GET", path, headers={"If-None-Match": before.headers["ETag"]})
    assert answer.status_code == 200
    # PATCH answers with the same body and version as GET.
    assert (answer.json, answer.headers["ETag"]) == (changed.json, changed.headers["ETag"])


@paths(*CHANGES)
def test_a_change_of_an_outdated_version_is_refused(api: Api, path: str) -> None:
    before = api.call("admin", "GET", path).headers["ETag"]
    change = CHANGES[path.split("/")[2]]

    def patch(tag: str) -> TestResponse:
        return api.call("admin", "PATCH", path, json=change, headers={"If-Match": tag})

    first = patch(before)
    assert first.status_code == 200
    second = patch(before)
    assert second.status_code == 412
    assert second.json is not None
    assert second.json["code"] == "precondition_failed"
    assert patch(f'"x", {first.headers["ETag"]}').status_code == 200
    assert patch("*").status_code == 200


@paths(*RESOURCES)
def test_a_delete_of_an_outdated_version_is_refused(api: Api, path: str) -> None:
    answer = api.call("admin", "DELETE", path, headers={"If-Match": '"another"'})
    assert answer.status_code == 412
    assert api.call("admin", "GET", path).status_code == 200


@paths(*RESOURCES)
def test_a_star_does_not_match_a_missing_resource(api: Api, path: str) -> None:
    missing = path.rpartition("/")[0] + f"/{uuid4()}"
    assert api.call("admin", "DELETE", missing, headers={"If-Match": "*"}).status_code == 404


def test_a_created_resource_has_the_same_version_at_its_location(api: Api) -> None:
    created = api.call(
        "client_a", "POST", "/v1/support-tickets", json={"subject": "x", "description": "y"}
    )
    assert created.status_code == 201
    read = api.call("client_a", "GET", created.headers["Location"])
    assert (read.json, read.headers["ETag"]) == (created.json, created.headers["ETag"])
    tag = {"If-Match": created.headers["ETag"]}
    deleted = api.call("client_a", "DELETE", created.headers["Location"], headers=tag)
    assert (deleted.status_code, deleted.data) == (204, b"")
