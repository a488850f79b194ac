"""masstock_api/problems.py over HTTP: the answers to refused and failed requests."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from werkzeug.test import TestResponse

from masstock.services import s3_client, secret_store
from masstock_api import session
from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, JANE_OF_GLOBEX, WORKFLOW
from tests.support.handler import Api, token

UNKNOWN = "00000000-0000-4000-8000-000000000000"
JSON = {"Content-Type": "application/json"}
LIMIT = 4 * 1024 * 1024


def problem(answer: TestResponse, status: int, code: str) -> dict[str, Any]:
    """Asserts that the answer has RFC 9457's form, and returns the problem."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    body: dict[str, Any] = answer.json  # pyright: ignore
    assert (body["status"], body["code"]) == (status, code)
    assert body["type"].endswith("#" + code)
    assert body["title"]
    assert body["detail"]
    assert body["instance"] == answer.request.path
    assert body["request_id"] == answer.headers["X-Request-Id"]
    assert ("errors" in body) == (code == "validation_failed")
    return body


def pointers(answer: TestResponse) -> set[str]:
    return {error["pointer"] for error in problem(answer, 422, "validation_failed")["errors"]}


# --- routes and methods ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/nothing", "/v1", "/v1/nothing", "/v2/me", "/v1/users/x/y", "/%00"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_an_unknown_route_is_not_found(api: Api, method: str, path: str) -> None:
    answer = api.call(None, method, path)
    assert answer.status_code == 404
    if method != "HEAD":
        problem(answer, 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/users", "GET, HEAD, POST"),
        ("POST", f"/v1/users/{UNKNOWN}", "DELETE, GET, HEAD, PATCH"),
        ("GET", f"/v1/executions/{UNKNOWN}/cancel", "POST"),
        ("HEAD", f"/v1/executions/{UNKNOWN}/cancel", "POST"),
        ("OPTIONS", "/v1/me", "GET, HEAD"),
        ("DELETE", "/health", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_answered_with_the_allowed_ones(
    api: Api, method: str, path: str, allow: str
) -> None:
    answer = api.call("admin", method, path)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == allow
    if method != "HEAD":
        problem(answer, 405, "method_not_allowed")


# --- bodies ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"{'a': 1}", b'{"a": NaN}', b"\xff", b"[" * 100_000, b'{"subject": "x"} x'],
)
def test_a_body_that_is_not_json_is_refused(api: Api, body: bytes) -> None:
    answer = api.call("client_a", "POST", "/v1/support-tickets", data=body, headers=JSON)
    problem(answer, 400, "malformed_json")


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_of_another_type_is_refused(api: Api, media_type: str) -> None:
    answer = api.call(
        "client_a",
        "POST",
        "/v1/support-tickets",
        data=b'{"subject": "x", "description": "x"}',
        headers={"Content-Type": media_type},
    )
    problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_the_type_of_a_body_can_have_any_form_of_rfc_9110(api: Api, media_type: str) -> None:
    answer = api.call(
        "client_a",
        "POST",
        "/v1/support-tickets",
        data=b'{"subject": "x", "description": "x"}',
        headers={"Content-Type": media_type},
    )
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("media_type", "character"),
    [("application/json", "x"), ("application/json", "é"), ("application/octet+json", "x")],
)
def test_a_body_over_4_mb_is_too_large(api: Api, media_type: str, character: str) -> None:
    """A character of two bytes counts as two."""

    def send(size: int) -> TestResponse:
        frame = '{"subject": "x", "description": "x", "padding": ""}'
        text = character * ((size - len(frame)) // len(character.encode()))
        body = frame.replace('""', f'"{text}"').encode()
        return api.call(
            "client_a",
            "POST",
            "/v1/support-tickets",
            data=body + b" " * (size - len(body)),
            headers={"Content-Type": media_type},
        )

    assert pointers(send(LIMIT)) == {"/padding"}
    problem(send(LIMIT + 1), 413, "body_too_large")


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1/support-tickets", {}, {"/subject", "/description"}),
        ("/v1/support-tickets", [], {""}),
        ("/v1/support-tickets", {"subject": " ", "description": 1}, {"/subject", "/description"}),
        ("/v1/support-tickets", {"subject": "x", "description": "x", "no": 1}, {"/no"}),
        ("/v1/support-tickets", {"subject": "x", "description": "x", "a/b~c": 1}, {"/a~1b~0c"}),
        ("/v1/workflow-requests", {"workflow_id": "x"}, {"/workflow_id"}),
        ("/v1/workflow-requests", {"workflow_id": UNKNOWN}, {"/workflow_id"}),
        ("/v1/workflow-requests", {"workflow_id": 1, "notes": 2}, {"/workflow_id", "/notes"}),
        ("/v1/executions", {"workflow_id": str(WORKFLOW)}, {"/prompts"}),
        (
            "/v1/executions",
            {"workflow_id": str(WORKFLOW), "prompts": ["x", " ", {"prompt": ""}]},
            {"/prompts/1", "/prompts/2/prompt"},
        ),
        ("/v1/executions", {"workflow_id": str(WORKFLOW), "prompts": ["x"]}, {"/api_key"}),
    ],
)
def test_every_mistake_in_a_body_has_a_pointer(
    api: Api, path: str, body: Any, expected: set[str]
) -> None:
    assert pointers(api.call("client_a", "POST", path, json=body)) == expected


@pytest.mark.parametrize("value", ["1", 1.5, True, -1])
def test_only_a_number_is_accepted_as_a_number(api: Api, value: Any) -> None:
    config = {"workflow_type": "nano_banana", "model": "x", "max_prompts": value}
    answer = api.call("admin", "PATCH", f"/v1/workflows/{WORKFLOW}", json={"config": config})
    assert pointers(answer) == {"/config/max_prompts"}


def test_a_whole_number_can_have_a_decimal_point(api: Api) -> None:
    body = b'{"monthly_budget_microusd": 4669.0}'
    answer = api.call("admin", "PATCH", f"/v1/clients/{ACME}", data=body, headers=JSON)
    assert answer.json is not None
    assert answer.json["monthly_budget_microusd"] == 4669


@pytest.mark.parametrize("host", ["x" * 64 + ".example", "a..example", "[::1"])
def test_a_webhook_to_an_impossible_host_is_refused(api: Api, host: str) -> None:
    body = {"webhook_url": f"https://{host}/hook"}
    assert pointers(api.call("admin", "PATCH", f"/v1/clients/{ACME}", json=body)) == {
        "/webhook_url"
    }


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("GET", "/v1/users?what=1", {}),
        ("GET", "/v1/users?cursor=x", {}),
        ("GET", "/v1/users/x", {}),
        ("POST", "/v1/users", {"json": {}}),
        ("POST", "/v1/users", {"data": b"{", "headers": JSON}),
        ("POST", "/v1/users", {}),
        ("POST", "/v1/users", {"data": b" " * (LIMIT + 1), "headers": JSON}),
        ("PATCH", f"/v1/users/{JANE_OF_GLOBEX}", {"json": {"what": 1}}),
        ("DELETE", "/v1/users/x", {}),
        ("POST", "/v1/clients", {"json": {"name": "x"}}),
        ("PATCH", f"/v1/clients/{ACME}", {"json": {"what": 1}}),
        ("POST", f"/v1/clients/{ACME}/webhook-secret", {"json": {"what": 1}}),
        ("POST", "/v1/workflows", {"json": {"name": "x"}}),
        ("PATCH", f"/v1/workflows/{WORKFLOW}", {"json": {"what": 1}}),
        ("DELETE", "/v1/workflows/x", {}),
        ("GET", "/v1/analytics/clients?what=1", {}),
        ("GET", "/v1/analytics/workflows?from=never", {}),
    ],
)
def test_a_client_user_on_an_admin_route_gets_403_even_if_the_request_is_invalid(
    api: Api, method: str, path: str, options: dict[str, Any]
) -> None:
    problem(api.call("client_a", method, path, **options), 403, "forbidden")
    assert api.call("admin", method, path, **options).status_code in (400, 413, 415, 422)


@pytest.mark.parametrize("path", [f"/v1/executions/{UNKNOWN}/cancel"])
def test_a_route_without_body_fields_refuses_every_field(api: Api, path: str) -> None:
    assert pointers(api.call("client_a", "POST", path, json={"what": 1})) == {"/what"}
    malformed = api.call("client_a", "POST", path, data=b"{", headers=JSON)
    problem(malformed, 400, "malformed_json")
    assert api.call("client_a", "POST", path, json={}).status_code == 404
    assert api.call("client_a", "POST", path).status_code == 404


def test_a_user_of_a_missing_client_is_refused(api: Api) -> None:
    body = {"email": "new@acme.example", "name": "New", "role": "client", "client_id": UNKNOWN}
    assert pointers(api.call("admin", "POST", "/v1/users", json=body)) == {"/client_id"}
    answer = api.call("admin", "PATCH", f"/v1/users/{JANE_OF_GLOBEX}", json={"client_id": UNKNOWN})
    assert pointers(answer) == {"/client_id"}


@pytest.mark.parametrize("spelling", ["true", "True"])
def test_a_flag_can_be_written_with_a_capital(api: Api, spelling: str) -> None:
    body = {"workflow_id": str(WORKFLOW), "prompts": ["x"], "api_key": "a-key-of-mine"}
    # Client A has a small budget since an earlier test.
    answer = api.call("client_b", "POST", f"/v1/executions?dry_run={spelling}", json=body)
    assert answer.json is not None
    assert answer.json["dry_run"] is True


# --- parameters --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/executions?limit=0", {"limit"}),
        ("/v1/executions?limit=201", {"limit"}),
        ("/v1/executions?limit=1&limit=2", {"limit"}),
        ("/v1/executions?limit=٣", {"limit"}),
        ("/v1/executions?status=done&user_id=x&from=never", {"status", "user_id", "from"}),
        ("/v1/executions?what=1", {"what"}),
        ("/v1/executions/x", {"execution_id"}),
        (f"/v1/executions/{UNKNOWN}/results/-1/image", {"batch_index"}),
        (f"/v1/executions/{UNKNOWN}/results/10000/image", {"batch_index"}),
        (f"/v1/clients/{ACME}?x=1", {"x"}),
        ("/health?x=1", {"x"}),
    ],
)
def test_every_wrong_parameter_is_named(api: Api, path: str, expected: set[str]) -> None:
    assert pointers(api.call("client_a", "GET", path)) == expected


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "path", ["users", "clients", "workflows", "workflow-requests", "support-tickets", "executions"]
)
def test_writes_refuse_unknown_parameters(api: Api, method: str, path: str) -> None:
    where = f"/v1/{path}" if method == "POST" else f"/v1/{path}/{UNKNOWN}"
    if (method, path) == ("PATCH", "executions"):
        where, method = f"{where}/cancel", "POST"
    assert pointers(api.call("admin", method, where + "?x=1", json={})) == {"x"}


@pytest.mark.parametrize("cursor", ["x", "", "AAAA", "é", "a" * 5000])
@pytest.mark.parametrize(
    "path", ["/v1/executions", "/v1/users", f"/v1/executions/{UNKNOWN}/results"]
)
def test_an_invented_cursor_is_refused(api: Api, path: str, cursor: str) -> None:
    answer = api.call("admin", "GET", path, query_string={"cursor": cursor})
    problem(answer, 400, "invalid_cursor")


def test_a_cursor_of_another_list_is_refused(api: Api) -> None:
    page = api.call("admin", "GET", "/v1/users?limit=1").json
    assert page is not None
    answer = api.call("admin", "GET", "/v1/clients", query_string={"cursor": page["next_cursor"]})
    problem(answer, 400, "invalid_cursor")


@pytest.mark.parametrize("key", ["", "é", "x" * 256, "a\tb"])
def test_a_malformed_idempotency_key_is_refused(api: Api, key: str) -> None:
    answer = api.call(
        "client_a",
        "POST",
        "/v1/support-tickets",
        json={"subject": "x", "description": "x"},
        headers={"Idempotency-Key": key},
    )
    assert pointers(answer) == {"Idempotency-Key"}


# --- the caller --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization",
    [None, "Bearer", "Bearer ", "Basic eDp5", "Bearer x", f"Bearer {'x' * 20_000}", "Bearer é"],
)
def test_a_401_names_the_authentication_scheme(api: Api, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = api.call(None, "GET", "/v1/me", headers=headers)
    problem(answer, 401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="masstock"'


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/clients"),
        ("PATCH", f"/v1/clients/{ACME}"),
        ("GET", "/v1/users?x=1"),
        ("DELETE", "/v1/users/x"),
    ],
)
def test_without_a_token_the_request_is_not_read(api: Api, method: str, path: str) -> None:
    answer = api.call(None, method, path, data=b"{", headers=JSON)
    problem(answer, 401, "unauthenticated")


@pytest.mark.parametrize("claims", [{"exp": 1}, {"aud": "x"}, {"iss": "x"}, {"nbf": 10**10}])
def test_a_token_for_another_time_audience_or_issuer_is_refused(
    api: Api, claims: dict[str, Any]
) -> None:
    bearer = f"Bearer {token(JANE_OF_GLOBEX, **claims)}"
    problem(
        api.call(None, "GET", "/v1/me", headers={"Authorization": bearer}), 401, "unauthenticated"
    )


def test_an_unknown_user_is_refused(api: Api) -> None:
    bearer = f"Bearer {token(UNKNOWN)}"
    answer = api.call(None, "GET", "/v1/me", headers={"Authorization": bearer})
    problem(answer, 403, "not_provisioned")


# --- failures of our own services ----------------------------------------------------------------


@pytest.fixture
def without_database(api: Api) -> Iterator[None]:
    """The api without a database: the URL in the secret leads to a closed port."""
    database_id = session.settings().database_secret_id
    session.database().close()
    secret_store._cache[database_id] = (float("inf"), "postgresql://x:x@127.0.0.1:9/x")
    yield
    session.database().close()
    secret_store.forget_secrets()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/health", None),
        ("GET", "/v1/me", None),
        ("GET", "/v1/users", None),
        ("POST", "/v1/support-tickets", {"subject": "x", "description": "x"}),
        ("DELETE", f"/v1/support-tickets/{UNKNOWN}", None),
    ],
)
def test_without_a_database_the_answer_is_503_with_retry_after(
    api: Api, without_database: None, method: str, path: str, body: Any
) -> None:
    answer = api.call("admin", method, path, json=body)
    problem(answer, 503, "database_unavailable")
    assert int(answer.headers["Retry-After"]) > 0


def test_the_api_works_again_when_the_database_is_back(api: Api) -> None:
    assert api.call(None, "GET", "/health").status_code == 200


def test_a_replaced_identity_key_is_read_again_after_one_refused_request(api: Api) -> None:
    identity_id = session.settings().identity_secret_id
    for method, body in (("GET", None), ("PATCH", {"name": "Acme"})):
        secret_store._cache[identity_id] = (
            float("inf"),
            "the key that functions had before: 32 bytes",
        )
        path = f"/v1/clients/{ACME}"
        problem(api.call("admin", method, path, json=body), 503, "database_unavailable")
        assert api.call("admin", method, path, json=body).status_code == 200


@pytest.fixture
def superuser(database: Urls) -> Iterator[psycopg.Connection]:
    with connected(database.superuser) as connection:
        yield connection


@pytest.fixture
def refusing(superuser: psycopg.Connection) -> Iterator[None]:
    """Makes the insertion of a ticket fail with the SQLSTATE in its subject."""
    superuser.execute(
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'busy' USING ERRCODE = NEW.subject; END $$"
    )
    superuser.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON public.support_tickets"
        " FOR EACH ROW EXECUTE FUNCTION public.refuse()"
    )
    yield
    superuser.execute("DROP FUNCTION public.refuse() CASCADE")


@pytest.mark.parametrize("sqlstate", ["57014", "53300", "55P03", "40P01"])
def test_a_busy_database_is_503_with_retry_after(api: Api, refusing: None, sqlstate: str) -> None:
    body = {"subject": sqlstate, "description": "x"}
    answer = api.call("client_a", "POST", "/v1/support-tickets", json=body)
    problem(answer, 503, "database_unavailable")
    assert int(answer.headers["Retry-After"]) > 0


def test_without_storage_the_sweep_removes_a_deleted_executions_images(
    api: Api, superuser: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    [(execution,)] = superuser.execute(
        """
        INSERT INTO public.workflow_executions (workflow_id, client_id, user_id, status, input_data)
        SELECT %s, client_id, id, 'failed', '{"prompts": ["x"]}' FROM public.users WHERE id = %s
        RETURNING id::text
        """,
        [WORKFLOW, JANE_OF_GLOBEX],
    ).fetchall()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    s3_client.s3.cache_clear()
    try:
        answer = api.call("client_b", "DELETE", f"/v1/executions/{execution}")
    finally:
        s3_client.s3.cache_clear()
    assert answer.status_code == 204
    query = "SELECT FROM app_private.deleted_executions WHERE execution_id = %s"
    assert superuser.execute(query, [execution]).fetchall()


def test_an_unexpected_error_does_not_quote_postgres(
    api: Api, superuser: psycopg.Connection
) -> None:
    table = "ALTER TABLE public.support_tickets "
    superuser.execute(table + "ADD CONSTRAINT unforeseen CHECK (subject <> 'unforeseen')")
    try:
        body = {"subject": "unforeseen", "description": "x"}
        answer = api.call("client_a", "POST", "/v1/support-tickets", json=body)
    finally:
        superuser.execute(table + "DROP CONSTRAINT unforeseen")
    assert "unforeseen" not in str(problem(answer, 500, "internal_error"))
