"""queries/idempotency_keys: of several requests with the same key, exactly one creates."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest

from masstock.database.connection import Database
from masstock.database.queries import idempotency_keys
from masstock.database.tenants import tenant_transaction
from masstock.database.worker import Worker
from masstock.errors import IdempotencyKeyReused
from masstock.services.tokens import Principal
from tests.support.databases import IDENTITY_KEY, Callers, Urls, connected
from tests.support.demo_data import ACME, ADMIN, JOHN_OF_ACME, MARY_OF_ACME

pytestmark = pytest.mark.timeout(60)

PATIENCE_SECONDS = 30
AT_ONCE = 20
ROUTE = "POST /v1/support-tickets"
INSERT_TICKET = """
    INSERT INTO public.support_tickets (id, client_id, user_id, subject, description)
    VALUES (%(id)s, %(client)s, %(user)s, 'created once', 'x') RETURNING id
"""


@pytest.fixture
def superuser(database: Urls) -> Iterator[psycopg.Connection]:
    with connected(database.superuser) as connection:
        yield connection
        connection.execute("DELETE FROM public.idempotency_keys")
        connection.execute("DELETE FROM public.support_tickets WHERE subject = 'created once'")


@pytest.fixture
def worker(database: Urls, vault: dict[str, str]) -> Iterator[Worker]:
    vault["worker"] = database.worker
    connection = Database("worker")
    yield Worker(connection)
    connection.close()


@pytest.fixture
def requests(database: Urls, vault: dict[str, str]) -> Iterator[ThreadPoolExecutor]:
    """Runs requests at the same time, each with its own connection, as functions do."""
    vault["database"] = database.api
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield pool


def claim(tx: Any, ref: UUID, *, body: str = "body", **key: Any) -> UUID:
    named = {"client_id": ACME, "user_id": JOHN_OF_ACME, "route": ROUTE, "key": "key"} | key
    claimed, is_new = idempotency_keys.claim_key(tx, request_hmac=body, response_ref=ref, **named)
    assert claimed == ref or not is_new
    return claimed


def create(
    *,
    body: str = "body",
    before_end: threading.Event | None = None,
    fail: bool = False,
    backends: list[int] | None = None,
) -> UUID:
    """Creates a ticket for this body, as a route does. The creating request reports its backend,
    waits for `before_end`, and then fails if `fail` is true."""
    database = Database("database")
    try:
        with tenant_transaction(database, Principal(JOHN_OF_ACME, 0), IDENTITY_KEY) as tx:
            ref = uuid4()
            answer = claim(tx, ref, body=body)
            if answer == ref:
                tx.fetch_all(INSERT_TICKET, id=ref, client=ACME, user=JOHN_OF_ACME)
                if backends is not None:
                    backends.append(tx.fetch_all("SELECT pg_backend_pid() AS pid")[0]["pid"])
                if before_end is not None:
                    assert before_end.wait(PATIENCE_SECONDS)
                if fail:
                    raise RuntimeError("the first one fails")
        return answer
    finally:
        database.close()


def wait_for(superuser: psycopg.Connection, waiting: int) -> None:
    """Waits until so many requests wait for the end of another transaction."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    query = (
        "SELECT FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock' AND wait_event = 'transactionid'"
    )
    while superuser.execute(query).rowcount < waiting:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_for_winner(backends: list[int]) -> int:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not backends:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return backends[0]


def tickets(superuser: psycopg.Connection) -> list[UUID]:
    query = "SELECT id FROM public.support_tickets WHERE subject = 'created once'"
    return [ticket for (ticket,) in superuser.execute(query).fetchall()]


# --- several at once --------------------------------------------------------------------------


def test_of_twenty_simultaneous_requests_one_creates_and_all_get_its_resource(
    superuser: psycopg.Connection, requests: ThreadPoolExecutor
) -> None:
    release, backends = threading.Event(), []
    running = [
        requests.submit(create, before_end=release, backends=backends) for _ in range(AT_ONCE)
    ]
    wait_for(superuser, AT_ONCE - 1)
    release.set()
    answers = {request.result(PATIENCE_SECONDS) for request in running}
    assert answers == set(tickets(superuser))
    assert len(answers) == len(backends) == 1


def test_of_simultaneous_requests_with_different_bodies_one_body_wins(
    superuser: psycopg.Connection, requests: ThreadPoolExecutor
) -> None:
    release, backends = threading.Event(), []
    first = requests.submit(create, body="first", before_end=release, backends=backends)
    wait_for_winner(backends)
    same = [requests.submit(create, body="first") for _ in range(5)]
    other = [requests.submit(create, body=f"other {n}") for n in range(5)]
    wait_for(superuser, 10)
    release.set()
    created = first.result(PATIENCE_SECONDS)
    assert {request.result(PATIENCE_SECONDS) for request in same} == {created}
    for request in other:
        with pytest.raises(IdempotencyKeyReused):
            request.result(PATIENCE_SECONDS)
    assert tickets(superuser) == [created]


@pytest.mark.parametrize("how", ["rolled back", "connection lost"])
def test_if_the_first_request_fails_a_waiting_one_creates(
    superuser: psycopg.Connection, requests: ThreadPoolExecutor, how: str
) -> None:
    release, backends = threading.Event(), []
    # A waiting request can have another body: the failed request has stored no key.
    first = requests.submit(create, body="first", before_end=release, fail=True, backends=backends)
    pid = wait_for_winner(backends)
    others = [requests.submit(create, body="second") for _ in range(5)]
    wait_for(superuser, 5)
    if how == "connection lost":
        ended = superuser.execute("SELECT pg_terminate_backend(%s, 10000)", [pid]).fetchone()
        assert ended == (True,)
    else:
        release.set()
    answers = {request.result(PATIENCE_SECONDS) for request in others}
    release.set()
    with pytest.raises(RuntimeError, match="the first one fails"):
        first.result(PATIENCE_SECONDS)
    assert answers == set(tickets(superuser))
    assert len(answers) == 1


# --- one after the other ----------------------------------------------------------------------


def test_a_repeated_request_creates_nothing(
    superuser: psycopg.Connection, requests: ThreadPoolExecutor
) -> None:
    created = requests.submit(create).result(PATIENCE_SECONDS)
    assert requests.submit(create).result(PATIENCE_SECONDS) == created
    with pytest.raises(IdempotencyKeyReused):
        requests.submit(create, body="another").result(PATIENCE_SECONDS)
    assert tickets(superuser) == [created]


@pytest.mark.usefixtures("superuser")
def test_a_key_belongs_to_one_user_and_one_route(callers: Callers) -> None:
    keys = [
        (JOHN_OF_ACME, {}),
        (JOHN_OF_ACME, {"route": "POST /v1/executions"}),
        (JOHN_OF_ACME, {"key": "another"}),
        (MARY_OF_ACME, {"user_id": MARY_OF_ACME}),
        (ADMIN, {"user_id": ADMIN, "client_id": None}),
    ]
    refs = [UUID(int=number) for number in range(len(keys))]
    for _ in range(2):
        answers = []
        for ref, (user, key) in zip(refs, keys, strict=True):
            with callers.writing(user) as tx:
                answers.append(claim(tx, ref, **key))
        assert answers == refs


# --- keys that have expired -------------------------------------------------------------------


def test_a_key_expires_after_a_day_and_can_be_used_again(
    superuser: psycopg.Connection, callers: Callers, worker: Worker
) -> None:
    with callers.writing(JOHN_OF_ACME) as tx:
        for number, key in enumerate(["old", "young"]):
            claim(tx, UUID(int=number), key=key)
    age(superuser, "old", "24 hours 1 second")
    age(superuser, "young", "23 hours 59 minutes")
    worker.fetch_together([idempotency_keys.forget_expired_keys()])
    with callers.writing(JOHN_OF_ACME) as tx:
        assert claim(tx, UUID(int=7), key="old", body="another") == UUID(int=7)
        assert claim(tx, UUID(int=8), key="young") == UUID(int=1)


def test_a_key_that_expires_during_its_lookup_is_claimed_again(
    superuser: psycopg.Connection, callers: Callers, worker: Worker
) -> None:
    with callers.writing(JOHN_OF_ACME) as tx:
        claim(tx, UUID(int=1))
    age(superuser, "key", "25 hours")

    class Interrupted:
        """A transaction in which the sweep runs after the first statement."""

        statements = 0

        def fetch_all(self, query: LiteralString, **values: object) -> list[dict[str, Any]]:
            rows = tx.fetch_all(query, **values)
            if not self.statements:
                worker.fetch_together([idempotency_keys.forget_expired_keys()])
            self.statements += 1
            return rows

    with callers.writing(JOHN_OF_ACME) as tx:
        assert claim(Interrupted(), UUID(int=2), body="another") == UUID(int=2)
    with callers.writing(JOHN_OF_ACME) as tx:
        assert claim(tx, UUID(int=3), body="another") == UUID(int=2)


def age(superuser: psycopg.Connection, key: str, age: str) -> None:
    """Makes the key older by this interval."""
    aged = superuser.execute(
        "UPDATE public.idempotency_keys SET created_at = created_at - %(age)s::interval,"
        " expires_at = expires_at - %(age)s::interval WHERE key = %(key)s",
        {"age": age, "key": key},
    )
    assert aged.rowcount == 1
