"""Decisions about input that programs read differently: e-mail addresses, keys, charsets, names."""

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from werkzeug.test import TestResponse

from tests.integration.test_preconditions import waiting_for_another
from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, JOHN_OF_ACME, MARY_OF_ACME, WORKFLOW
from tests.support.handler import Api

TICKET = b'{"subject": "caf\xc3\xa9", "description": "x"}'
# One address in four forms: as written, in another case, decomposed, and both.
FORMS = [
    "Jos\u00e9.M\u00fcller@Example.com",
    "jos\u00e9.m\u00dcLLER@EXAMPLE.com",
    "jose\u0301.mu\u0308ller@example.com",
    "JOSE\u0301.MU\u0308LLER@EXAMPLE.COM",
]


@pytest.fixture
def superuser(fresh_database: Urls) -> Iterator[psycopg.Connection]:
    with connected(fresh_database.superuser) as connection:
        yield connection


def create(api: Api, email: str, **more: Any) -> TestResponse:
    body = {"email": email, "name": "x", "role": "client", "client_id": str(ACME), **more}
    return api.call("admin", "POST", "/v1/users", json=body)


def code(answer: TestResponse) -> tuple[int, str]:
    assert answer.json is not None, answer.text
    return answer.status_code, answer.json["code"]


# --- e-mail addresses ---------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS[1:])
def test_an_address_in_another_case_or_unicode_form_is_the_same(fresh_api: Api, form: str) -> None:
    first = create(fresh_api, FORMS[0])
    assert first.status_code == 201
    assert first.json is not None
    assert first.json["email"] == FORMS[0]
    assert code(create(fresh_api, form)) == (409, "conflict")
    path = f"/v1/users/{MARY_OF_ACME}"
    assert code(fresh_api.call("admin", "PATCH", path, json={"email": form})) == (409, "conflict")


def test_a_user_may_change_the_case_of_the_own_address(fresh_api: Api) -> None:
    made = create(fresh_api, FORMS[0])
    path = made.headers["Location"]
    for form in FORMS:
        answer = fresh_api.call("admin", "PATCH", path, json={"email": form})
        assert answer.status_code == 200, answer.text
        assert answer.json is not None
        assert answer.json["email"] == form


def test_users_who_have_one_address_already_keep_their_rows(
    fresh_api: Api, superuser: psycopg.Connection
) -> None:
    """A database that an older version filled."""
    superuser.execute("ALTER TABLE public.users DISABLE TRIGGER USER")
    superuser.execute(
        "UPDATE public.users SET email = 'Twin@x.example' WHERE id = %s", [JOHN_OF_ACME]
    )
    superuser.execute(
        "UPDATE public.users SET email = 'twin@x.example' WHERE id = %s", [MARY_OF_ACME]
    )
    superuser.execute("ALTER TABLE public.users ENABLE TRIGGER USER")
    for user in (JOHN_OF_ACME, MARY_OF_ACME):
        path = f"/v1/users/{user}"
        assert fresh_api.call("admin", "PATCH", path, json={"name": "New"}).status_code == 200
    path = f"/v1/users/{MARY_OF_ACME}"
    same = {"email": "TWIN@x.example"}
    assert fresh_api.call("admin", "PATCH", path, json=same).status_code == 409
    other = {"email": "other@x.example"}
    assert fresh_api.call("admin", "PATCH", path, json=other).status_code == 200
    assert create(fresh_api, "tWIN@x.example").status_code == 409


def test_of_two_at_once_one_gets_the_address(
    fresh_api: Api, fresh_database: Urls, superuser: psycopg.Connection
) -> None:
    answers: list[TestResponse] = []
    sender = threading.Thread(target=lambda: answers.append(create(fresh_api, "RACE@x.example")))
    with connected(fresh_database.superuser) as other:
        with other.transaction():
            other.execute(
                "INSERT INTO public.users (email, name, role)"
                " VALUES ('race@x.example', 'x', 'admin')"
            )
            sender.start()
            waiting_for_another(superuser)
        sender.join(20)
    assert code(answers[0]) == (409, "conflict")


@pytest.mark.parametrize("form", FORMS)
def test_a_user_is_found_by_each_form_of_the_address(fresh_api: Api, form: str) -> None:
    create(fresh_api, FORMS[0])
    found = fresh_api.call("admin", "GET", "/v1/users", query_string={"q": form}).json
    assert found is not None
    assert [user["email"] for user in found["items"]] == [FORMS[0]]


# --- API keys -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "status"),
    [
        (" " * 8, 422),
        (" " * 512, 422),
        (" a-key-of-mine", 422),
        ("a-key-of-mine ", 422),
        ("a-key-of-mine\t", 422),
        ("a key of mine", 200),
        ("a-key-of-mine", 200),
        ("!" * 8, 200),
    ],
)
def test_an_api_key_neither_begins_nor_ends_with_a_space(api: Api, key: str, status: int) -> None:
    body = {"workflow_id": str(WORKFLOW), "prompts": ["x"], "api_key": key}
    answer = api.call("client_a", "POST", "/v1/executions?dry_run=true", json=body)
    assert answer.status_code == status, answer.text
    if status == 422:
        assert answer.json is not None
        assert [error["pointer"] for error in answer.json["errors"]] == ["/api_key"]


# --- charsets -----------------------------------------------------------------------------------


def send(api: Api, content_type: str, body: bytes) -> TestResponse:
    headers = {"Content-Type": content_type}
    return api.call("client_a", "POST", "/v1/support-tickets", data=body, headers=headers)


@pytest.mark.parametrize(
    "charset",
    ["utf-16", "UTF-16LE", "utf-32", "iso-8859-1", "windows-1252", "us-ascii", "utf-7", "x"],
)
def test_a_body_in_another_charset_is_refused(api: Api, charset: str) -> None:
    for header in (f"charset={charset}", f'charset="{charset}"', f"v=1; Charset={charset}"):
        answer = send(api, f"application/json; {header}", TICKET)
        assert code(answer) == (415, "unsupported_media_type")


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf-8"', "utf8"])
def test_a_body_that_says_it_is_utf_8_is_read(api: Api, charset: str) -> None:
    answer = send(api, f"application/json; charset={charset}", TICKET)
    assert answer.status_code == 201
    assert answer.json is not None
    assert answer.json["subject"] == "café"


@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_a_body_that_is_not_utf_8_is_malformed(api: Api, charset: str) -> None:
    answer = send(api, "application/json", TICKET.decode().encode(charset))
    assert code(answer) == (400, "malformed_json")


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "path", "body"),
    [
        ("client_a", "/v1/support-tickets", '{"subject": "a", "subject": "b", "description": "x"}'),
        ("client_a", "/v1/support-tickets", '{"subject": "a", "subject": "a", "description": "x"}'),
        (
            "admin",
            "/v1/workflows",
            '{"name": "x", "config": {"model": "x", "mine": {"a": 1, "\\u0061": 2}}}',
        ),
        ("client_a", "/v1/executions", '{"prompts": [{"prompt": "a", "prompt": "b"}]}'),
    ],
)
def test_a_name_that_an_object_has_twice_is_malformed(
    api: Api, who: str, path: str, body: str
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = api.call(who, "POST", path, data=body, headers=headers)
    assert code(answer) == (400, "malformed_json")


CONFIG = {"workflow_type": "nano_banana", "model": "gemini-2.5-flash-image"}


@pytest.mark.parametrize("name", ["aspectRatio", "max_prompt", "model_name"])
def test_a_config_name_that_resembles_a_setting_is_refused(fresh_api: Api, name: str) -> None:
    config = {**CONFIG, name: "1:1", "mine": [1]}
    made = fresh_api.call("admin", "POST", "/v1/workflows", json={"name": "x", "config": config})
    path = f"/v1/workflows/{WORKFLOW}"
    changed = fresh_api.call("admin", "PATCH", path, json={"config": config})
    for answer in (made, changed):
        assert code(answer) == (422, "validation_failed")
        assert answer.json is not None
        assert [error["pointer"] for error in answer.json["errors"]] == [f"/config/{name}"]
    refused = fresh_api.call("client_a", "PATCH", path, json={"config": config})
    assert code(refused) == (403, "forbidden")


def test_other_config_names_and_image_size_are_kept(fresh_api: Api) -> None:
    config = {**CONFIG, "image_size": "1K", "mine": {"a": [1]}}
    made = fresh_api.call("admin", "POST", "/v1/workflows", json={"name": "x", "config": config})
    assert made.status_code == 201, made.text
    assert made.json is not None
    assert made.json["config"] == config


def test_a_stored_workflow_with_a_misspelt_setting_stays_valid(
    fresh_api: Api, superuser: psycopg.Connection
) -> None:
    superuser.execute(
        'UPDATE public.workflows SET config = config || \'{"aspectRatio": "1:1"}\' WHERE id = %s',
        [WORKFLOW],
    )
    body = {"workflow_id": str(WORKFLOW), "prompts": ["x"], "api_key": "a-key-of-mine"}
    answer = fresh_api.call("client_a", "POST", "/v1/executions?dry_run=true", json=body)
    assert answer.status_code == 200, answer.text
    path = f"/v1/workflows/{WORKFLOW}"
    assert fresh_api.call("admin", "PATCH", path, json={"name": "New"}).status_code == 200
