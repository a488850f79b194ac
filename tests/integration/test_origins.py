"""masstock_api/cors.py over HTTP: which pages can call the api and read its answers."""

from collections.abc import Callable
from typing import Any

import pytest

from masstock import settings
from tests.support.handler import Api

OURS = "https://app.masstock.example"
STAGING = "http://localhost:3000"
THEIRS = "https://evil.example"
PREFLIGHT = {
    "Access-Control-Request-Method": "PATCH",
    "Access-Control-Request-Headers": "authorization, if-match, content-type",
}
EVERY_KIND = [
    ("client_a", "GET", "/v1/me", 200),
    ("client_a", "HEAD", "/v1/me", 200),
    ("client_a", "GET", "/v1/nothing", 404),
    (None, "GET", "/v1/me", 401),
    ("client_a", "PUT", "/v1/me", 405),
    ("client_a", "POST", "/v1/executions", 415),
    (None, "GET", "/health", 200),
]

type Allow = Callable[[str], None]


@pytest.fixture
def allow(api: Api, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that sets the template's parameter."""

    def to(origins: str) -> None:
        monkeypatch.setenv("CORS_ALLOW_ORIGINS", origins)
        settings._parsed.clear()

    yield to
    settings._parsed.clear()


def cors(answer: Any) -> dict[str, str]:
    return {
        name.removeprefix("Access-Control-"): value
        for name, value in answer.headers.items()
        if name.startswith("Access-Control-")
    }


@pytest.mark.parametrize(("who", "method", "path", "status"), EVERY_KIND)
def test_without_the_parameter_no_page_can_call(
    api: Api, who: str | None, method: str, path: str, status: int
) -> None:
    answer = api.call(who, method, path, headers={"Origin": OURS})
    assert answer.status_code == status
    assert cors(answer) == {}
    assert "Vary" not in answer.headers
    assert api.call(None, "OPTIONS", path, headers={"Origin": OURS, **PREFLIGHT}).status_code >= 400


@pytest.mark.parametrize(("who", "method", "path", "status"), EVERY_KIND)
@pytest.mark.parametrize("origin", [OURS, STAGING])
def test_pages_of_an_allowed_origin_can_read_every_answer(
    api: Api, allow: Allow, who: str | None, method: str, path: str, status: int, origin: str
) -> None:
    allow(f"{OURS},{STAGING}")
    answer = api.call(who, method, path, headers={"Origin": origin})
    assert answer.status_code == status
    assert answer.headers["Vary"] == "Origin"
    seen = cors(answer)
    assert seen["Allow-Origin"] == origin
    exposed = {name.strip() for name in seen["Expose-Headers"].split(",")}
    assert {"ETag", "Location", "Retry-After", "X-Request-Id"} <= exposed
    assert "Allow-Credentials" not in seen


@pytest.mark.parametrize("origin", [THEIRS, OURS + ".evil.example", OURS.upper(), "null", ""])
def test_pages_of_other_origins_can_read_no_answer(api: Api, allow: Allow, origin: str) -> None:
    allow(OURS)
    answer = api.call("client_a", "GET", "/v1/me", headers={"Origin": origin})
    assert cors(answer) == {}
    assert answer.headers["Vary"] == "Origin"
    document = api.call(None, "GET", "/openapi.json", headers={"Origin": origin})
    assert document.headers["Vary"] == "Accept-Encoding, Origin"
    preflight = api.call(None, "OPTIONS", "/v1/me", headers={"Origin": origin, **PREFLIGHT})
    assert preflight.status_code == 405
    assert cors(preflight) == {}


def test_a_preflight_lists_all_methods_and_headers_of_the_api(api: Api, allow: Allow) -> None:
    allow(OURS)
    path = "/v1/users/123e4567-e89b-12d3-a456-426614174000"
    answer = api.call(None, "OPTIONS", path, headers={"Origin": OURS, **PREFLIGHT})
    assert (answer.status_code, answer.data) == (204, b"")
    told = cors(answer)
    assert told["Allow-Origin"] == OURS
    assert {"GET", "HEAD", "POST", "PATCH", "DELETE"} == set(told["Allow-Methods"].split(", "))
    assert {
        *("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match"),
    } == set(told["Allow-Headers"].split(", "))
    assert int(told["Max-Age"]) > 0
    assert answer.headers["X-Request-Id"]


def test_a_star_allows_every_page(api: Api, allow: Allow) -> None:
    allow("*")
    for origin in (OURS, THEIRS, "null"):
        answer = api.call("client_a", "GET", "/v1/me", headers={"Origin": origin})
        assert cors(answer)["Allow-Origin"] == "*"
        preflight = api.call(None, "OPTIONS", "/v1/me", headers={"Origin": origin, **PREFLIGHT})
        assert preflight.status_code == 204


def test_options_without_preflight_headers_is_a_wrong_method(api: Api, allow: Allow) -> None:
    allow(OURS)
    answer = api.call(None, "OPTIONS", "/v1/me", headers={"Origin": OURS})
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
