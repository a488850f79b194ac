"""local/entry.py: only the console's own page gets tokens."""

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Response

from local.entry import PATH, LocalEntry

TOKENS = {"admin": "a-token", "client_a": "another", "client_b": "a third"}
OWN = {"Host": "127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}
CLIENT = Client(LocalEntry(Response("the api"), TOKENS, 8000, practice=True))


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000"])
def test_the_page_gets_a_token_for_each_demo_user(host: str) -> None:
    answer = CLIENT.get(PATH, headers={**OWN, "Host": host})
    assert {one["name"]: one["token"] for one in answer.json["items"]} == {
        "Acme": "another",
        "Beta": "a third",
        "Administrator": "a-token",
    }
    assert answer.json["practice"] is True
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "127.0.0.1:8000"},
        {**OWN, "Sec-Fetch-Site": "same-site"},
        {**OWN, "Sec-Fetch-Site": "cross-site"},
        {**OWN, "Sec-Fetch-Site": "none"},
        {**OWN, "Host": "127.0.0.1:8001"},
        {**OWN, "Host": "evil.example:8000"},
        {**OWN, "Host": "127.0.0.1.evil.example:8000"},
        {**OWN, "Host": "0.0.0.0:8000"},
        {**OWN, "Host": "127.0.0.1"},
    ],
)
def test_everybody_else_is_refused(headers: dict[str, str]) -> None:
    answer = CLIENT.get(PATH, headers=headers)
    assert answer.status_code == 403
    assert "token" not in answer.text


def test_only_get_is_answered_and_other_paths_reach_the_api() -> None:
    assert CLIENT.post(PATH, headers=OWN).status_code == 403
    assert CLIENT.get("/v1/me").text == "the api"
    assert CLIENT.get(f"{PATH}/", headers=OWN).text == "the api"
