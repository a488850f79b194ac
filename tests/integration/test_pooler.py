"""Behind a pooler in transaction mode, where each transaction can get another session."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest

from masstock.database.connection import Database
from masstock.database.tenants import TenantReader, tenant_transaction
from masstock.database.worker import Worker
from masstock.services.tokens import Principal
from tests.security.test_sealed_identity import (
    ATTACKS,
    EXPECTED,
    MODES,
    SELF_INFLICTED,
    Seen,
    inject,
    look,
    seen,
    what_was_left,
)
from tests.support import tenants
from tests.support.databases import IDENTITY_KEY, Callers, Urls, connected
from tests.support.demo_data import ACME, ADMIN, GLOBEX, JANE_OF_GLOBEX, JOHN_OF_ACME
from tests.support.pgbouncer import PgBouncer, backends

POOL = 10
REQUESTS = 200
ROUNDS = 8
CLIENTS = {JOHN_OF_ACME: ACME, JANE_OF_GLOBEX: GLOBEX}

# Every row that the caller can write, locked in a fixed order. In different orders, transactions
# would deadlock.
TOUCH_ALL: LiteralString = """
    WITH writable AS (SELECT id FROM public.support_tickets ORDER BY id FOR UPDATE)
    UPDATE public.support_tickets t SET subject = t.subject
    FROM writable WHERE t.id = writable.id
    RETURNING t.client_id
"""

LEFT_BEHIND: LiteralString = """
    SELECT current_user::text AS role, app.uid() AS uid,
           nullif(current_setting('request.jwt.claims', true), '') AS claims,
           nullif(current_setting('app.seal', true), '') AS seal,
           (SELECT count(*) FROM pg_prepared_statements) AS prepared
"""


@pytest.fixture(scope="module")
def rows_of(database: Urls) -> Iterator[Callable[[UUID], Seen]]:
    """The exact rows that each client user must see."""
    with connected(database.superuser) as superuser:
        tenants.lay_out(superuser)

        def rows(user_id: UUID) -> Seen:
            values = {"user": user_id, "client": CLIENTS[user_id]}
            return set(superuser.execute(EXPECTED, values).fetchall())

        yield rows


@pytest.fixture(scope="module")
def pool(database: Urls) -> Iterator[PgBouncer]:
    """A pool of ten sessions."""
    bouncer = PgBouncer(database.api, POOL)
    yield bouncer
    bouncer.stop()


@pytest.fixture(scope="module")
def narrow_pool(database: Urls) -> Iterator[PgBouncer]:
    """A pool of one session, so that each caller gets the state that the previous one left."""
    bouncer = PgBouncer(database.api, 1)
    yield bouncer
    bouncer.stop()


def test_200_simultaneous_requests_share_ten_sessions_but_no_identity(
    database: Urls,
    pool: PgBouncer,
    rows_of: Callable[[UUID], Seen],
    vault: dict[str, str],
) -> None:
    vault["pool"] = pool.url(database.api)
    expected = {user: rows_of(user) for user in CLIENTS}
    # Idempotency keys are visible to their user only.
    everybodys = {row for rows in expected.values() for row in rows if row[0] != "idempotency_keys"}

    def request(number: int) -> None:
        user = (JOHN_OF_ACME, JANE_OF_GLOBEX, ADMIN)[number % 3]
        choice = random.Random(number)
        with closing(Database("pool")) as connection:
            for _ in range(ROUNDS):
                reader = TenantReader(connection, Principal(user, 0), IDENTITY_KEY)
                found = look(reader)
                assert reader.caller.is_admin == (user == ADMIN)
                if user in CLIENTS:
                    assert found == expected[user]
                else:
                    assert found > everybodys
                if choice.random() < 0.3:
                    write(connection, user)

    def write(connection: Database, user: UUID) -> None:
        with tenant_transaction(connection, Principal(user, 0), IDENTITY_KEY) as tx:
            [mine] = tx.fetch_all(
                "SELECT app.uid() AS user_id, app.client_id() AS client_id, app.is_admin() AS admin"
            )
            assert mine == {
                "user_id": user,
                "client_id": CLIENTS.get(user),
                "admin": user == ADMIN,
            }
            touched = {row["client_id"] for row in tx.fetch_all(TOUCH_ALL)}
            assert touched == (set(CLIENTS.values()) if user == ADMIN else {CLIENTS[user]})

    with ThreadPoolExecutor(REQUESTS) as crowd:
        for outcome in [crowd.submit(request, number) for number in range(REQUESTS)]:
            outcome.result(timeout=120)
    assert 1 < backends(database.superuser, "masstock_api") <= POOL


def test_no_session_keeps_an_identity(
    database: Urls, pool: PgBouncer, vault: dict[str, str]
) -> None:
    vault["pool"] = pool.url(database.api)
    with closing(Database("pool")) as connection:
        for _ in range(5 * POOL):
            TenantReader(connection, Principal(JOHN_OF_ACME, 0), IDENTITY_KEY).fetch_all("SELECT 1")
            [[left]] = connection.flight([(LEFT_BEHIND, {})])
            assert left == {
                "role": "masstock_api",
                "uid": None,
                "claims": None,
                "seal": None,
                "prepared": 0,
            }


def test_the_engine_works_through_the_pool(
    database: Urls, pool: PgBouncer, vault: dict[str, str]
) -> None:
    vault["worker pool"] = pool.url(database.worker)

    def step(_: int) -> int:
        with closing(Database("worker pool")) as connection:
            worker = Worker(connection)
            counts = {
                worker.fetch_all("SELECT count(*) AS n FROM public.workflow_executions")[0]["n"]
                for _ in range(ROUNDS)
            }
            assert len(counts) == 1
            return counts.pop()

    with ThreadPoolExecutor(50) as crowd:
        assert len(set(crowd.map(step, range(50)))) == 1


def test_a_session_is_free_after_the_answer_to_its_flight(
    database: Urls, narrow_pool: PgBouncer, vault: dict[str, str]
) -> None:
    """Two functions share one session. Neither waits for the other's next request, which might not
    come. If one had to wait, the pool would end the wait with an error."""
    vault["narrow"] = narrow_pool.url(database.api)
    with closing(Database("narrow")) as one, closing(Database("narrow")) as other:
        readers = [
            TenantReader(each, Principal(JOHN_OF_ACME, 0), IDENTITY_KEY) for each in (one, other)
        ]
        for _ in range(1500):
            for reader in readers:
                reader.fetch_all("SELECT 1")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("attack", ATTACKS)
def test_injected_sql_does_not_affect_the_next_caller_of_the_session(
    database: Urls,
    narrow_pool: PgBouncer,
    rows_of: Callable[[UUID], Seen],
    vault: dict[str, str],
    attack: str,
    mode: str,
) -> None:
    """Two functions with separate connections share one session."""
    vault["narrow"] = narrow_pool.url(database.api)
    acme, globex = rows_of(JOHN_OF_ACME), rows_of(JANE_OF_GLOBEX)
    with closing(Database("narrow")) as attacker, closing(Database("narrow")) as bystander:
        session = session_of(bystander)
        assert session_of(attacker) == session
        johns, janes = Callers(attacker), Callers(bystander)
        with suppress(psycopg.Error):
            if mode == "reading":
                inject(johns.reading(JOHN_OF_ACME), ATTACKS[attack], globex)
            else:
                with johns.writing(JOHN_OF_ACME) as tx:
                    inject(tx, ATTACKS[attack], globex)
                    with suppress(*SELF_INFLICTED):
                        assert look(tx) <= acme

        assert look(janes.reading(JANE_OF_GLOBEX)) == globex
        with janes.writing(JANE_OF_GLOBEX) as tx:
            assert tx.caller.client_id == GLOBEX
            assert look(tx) == globex
            assert seen(what_was_left(tx)) <= globex
        assert look(johns.reading(JOHN_OF_ACME)) == acme
        assert session_of(attacker) == session_of(bystander) == session


def session_of(database: Database) -> int:
    return database.flight([("SELECT pg_backend_pid() AS pid", {})])[0][0]["pid"]
