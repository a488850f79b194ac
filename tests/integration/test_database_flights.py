"""`masstock.database.connection`: one flight per read, and the errors after a lost connection."""

import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest

from masstock.database.connection import Database
from masstock.database.tenants import TenantReader, TenantTransaction, tenant_transaction
from masstock.database.worker import Worker
from masstock.errors import DatabaseUnavailable, OutcomeUnknown
from masstock.services.tokens import Principal
from tests.support.databases import IDENTITY_KEY, Callers, Urls, connected
from tests.support.demo_data import ACME, ADMIN, GLOBEX, JANE_OF_GLOBEX, JOHN_OF_ACME, MARY_OF_ACME
from tests.support.wire import Wire

pytestmark = pytest.mark.timeout(60)

INSERT_TICKET = """
    INSERT INTO public.support_tickets (id, client_id, user_id, subject, description)
    VALUES (%(id)s, %(client)s, %(user)s, 'x', 'x') RETURNING id
"""
TICKET = UUID(int=77)


@pytest.fixture
def superuser(database: Urls) -> Iterator[psycopg.Connection]:
    with connected(database.superuser) as connection:
        yield connection
        connection.execute("DELETE FROM public.support_tickets WHERE id = %s", [TICKET])


@pytest.fixture
def wire(database: Urls) -> Iterator[Wire]:
    with Wire(database.api) as wire:
        yield wire


@pytest.fixture
def far(wire: Wire, vault: dict[str, str]) -> Iterator[Callers]:
    """The api's open connection through the proxy."""
    vault["far"] = wire.url
    connection = Database("far")
    connection.flight([("SELECT 1", {})])
    wire.flights = 0
    yield Callers(connection)
    connection.close()


def backend_of(callers: Callers) -> int:
    return callers.database.flight([("SELECT pg_backend_pid() AS pid", {})])[0][0]["pid"]


def end_backend(superuser: psycopg.Connection, pid: int) -> None:
    """Terminates the backend and waits for its end."""
    ended = superuser.execute("SELECT pg_terminate_backend(%s, 10000)", [pid]).fetchone()
    assert ended == (True,)


def insert_ticket(tx: Any) -> None:
    tx.fetch_all(INSERT_TICKET, id=TICKET, client=ACME, user=JOHN_OF_ACME)


def tickets(superuser: psycopg.Connection) -> int:
    query = "SELECT FROM public.support_tickets WHERE id = %s"
    return superuser.execute(query, [TICKET]).rowcount


def last_login(superuser: psycopg.Connection, user_id: UUID) -> tuple[Any, Any]:
    row = superuser.execute(
        "SELECT last_login, updated_at FROM public.users WHERE id = %s", [user_id]
    ).fetchone()
    assert row is not None
    return row[0], row[1]


# --- flights ----------------------------------------------------------------------------------


def test_a_read_is_one_flight(far: Callers, wire: Wire) -> None:
    for expected in (1, 2, 3):
        far.reading(JOHN_OF_ACME).fetch_all("SELECT id FROM public.users")
        assert wire.flights == expected


def test_a_large_read_is_one_flight(far: Callers, wire: Wire) -> None:
    rows = far.reading(JOHN_OF_ACME).fetch_all(
        "SELECT repeat('x', 1000) AS x FROM generate_series(1, 3000)"
    )
    assert len(rows) == 3000
    assert wire.flights == 1


def test_a_write_takes_one_flight_per_statement_and_two_more(far: Callers, wire: Wire) -> None:
    with far.writing(JOHN_OF_ACME) as tx:
        tx.fetch_all("SELECT 1")
        tx.fetch_all("SELECT 2")
    assert wire.flights == 4


def test_an_engine_step_is_one_flight(database: Urls, vault: dict[str, str]) -> None:
    with Wire(database.worker) as wire:
        vault["worker"] = wire.url
        connection = Database("worker")
        connection.flight([("SELECT 1", {})])
        wire.flights = 0
        rows = Worker(connection).fetch_together(
            [("SELECT 1 AS n", {}), ("SELECT %(n)s::integer AS n", {"n": 2})]
        )
        connection.close()
        assert rows == [[{"n": 1}], [{"n": 2}]]
        assert wire.flights == 1


# --- flights larger than the buffers of a socket --------------------------------------------------

LARGE = 50 * 1024 * 1024
LENGTH = "SELECT length(%(text)s::text) AS length"


@pytest.mark.parametrize("megabytes", [1, 12, 24, 50])
def test_a_large_flight_is_sent_to_its_end(far: Callers, wire: Wire, megabytes: int) -> None:
    text = "x" * (megabytes * 1024 * 1024)
    with far.writing(JOHN_OF_ACME) as tx:
        assert tx.fetch_all(LENGTH, text=text) == [{"length": len(text)}]
    assert wire.flights == 3


def test_a_large_flight_is_sent_to_its_end_without_a_proxy(callers: Callers) -> None:
    with callers.writing(JOHN_OF_ACME) as tx:
        assert tx.fetch_all(LENGTH, text="x" * LARGE) == [{"length": LARGE}]


def test_a_large_flight_is_sent_to_its_end_on_a_narrow_wire(
    database: Urls, vault: dict[str, str]
) -> None:
    """50 MB at 20 MB/s; the sender waits for the wire hundreds of times."""
    with Wire(database.api, bytes_per_second=20 * 1024 * 1024) as wire:
        vault["narrow"] = wire.url
        connection = Database("narrow")
        with Callers(connection).writing(JOHN_OF_ACME) as tx:
            assert tx.fetch_all(LENGTH, text="x" * LARGE) == [{"length": LARGE}]
        connection.close()


def test_an_error_before_a_large_statement_does_not_stop_its_flight(
    far: Callers, wire: Wire
) -> None:
    """The server still reads what it skips."""
    with pytest.raises(psycopg.errors.DivisionByZero):
        far.database.flight([("SELECT 1/0", {}), (LENGTH, {"text": "x" * LARGE})])
    assert far.reading(JOHN_OF_ACME).fetch_all("SELECT 1 AS n") == [{"n": 1}]
    assert wire.connections == 1


def test_a_backend_that_ends_during_a_large_flight_is_a_lost_connection(
    far: Callers, superuser: psycopg.Connection
) -> None:
    end_backend_soon = "SELECT pg_terminate_backend(pg_backend_pid())"
    with pytest.raises(psycopg.OperationalError) as lost:
        far.database.flight([(end_backend_soon, {}), (LENGTH, {"text": "x" * LARGE})])
    assert lost.value.sqlstate in (None, "57P01")
    assert far.reading(JOHN_OF_ACME).fetch_all("SELECT 1 AS n") == [{"n": 1}]


# --- a connection that died while nobody used it -------------------------------------------------


def test_a_read_replaces_a_connection_that_was_lost_while_idle(
    callers: Callers, superuser: psycopg.Connection
) -> None:
    for _ in range(2):
        pid = backend_of(callers)
        end_backend(superuser, pid)
        assert callers.reading(JOHN_OF_ACME).fetch_all("SELECT id FROM public.users")
        assert backend_of(callers) != pid


def test_a_write_replaces_a_connection_that_was_lost_while_idle(
    callers: Callers, superuser: psycopg.Connection
) -> None:
    end_backend(superuser, backend_of(callers))
    with callers.writing(JOHN_OF_ACME) as tx:
        insert_ticket(tx)
    assert tickets(superuser) == 1


def test_an_engine_step_replaces_a_connection_that_was_lost_while_idle(
    database: Urls, vault: dict[str, str], superuser: psycopg.Connection
) -> None:
    vault["worker"] = database.worker
    connection = Database("worker")
    [[row]] = connection.flight([("SELECT pg_backend_pid() AS pid", {})])
    end_backend(superuser, row["pid"])
    assert Worker(connection).fetch_all("SELECT 1 AS n") == [{"n": 1}]
    connection.close()


# --- a connection lost in flight -----------------------------------------------------------------


def test_a_lost_read_is_sent_again(far: Callers, wire: Wire) -> None:
    wire.cut_before(b"app.enter")
    rows = far.reading(JOHN_OF_ACME).fetch_all("SELECT id FROM public.users")
    assert rows == [{"id": JOHN_OF_ACME}]
    assert wire.connections == 2


def test_a_read_with_a_lost_answer_is_sent_again(far: Callers, wire: Wire) -> None:
    wire.cut_after(b"app.enter")
    rows = far.reading(JOHN_OF_ACME).fetch_all("SELECT id FROM public.users")
    assert rows == [{"id": JOHN_OF_ACME}]


def test_a_read_with_a_terminated_backend_is_sent_again(
    callers: Callers, superuser: psycopg.Connection
) -> None:
    rows = callers.reading(JOHN_OF_ACME).fetch_all(
        # Terminates its own backend if it is the first one.
        "SELECT pg_backend_pid() <> %(first)s OR pg_terminate_backend(pg_backend_pid()) AS second",
        first=backend_of(callers),
    )
    assert rows == [{"second": True}]


def test_a_read_that_is_lost_twice_raises_database_unavailable(far: Callers, wire: Wire) -> None:
    wire.cut_before(b"app.enter", times=2)
    with pytest.raises(DatabaseUnavailable):
        far.reading(JOHN_OF_ACME).fetch_all("SELECT id FROM public.users")
    assert far.reading(JOHN_OF_ACME).fetch_all("SELECT id FROM public.users")


def test_a_write_lost_before_its_commit_changes_nothing(
    callers: Callers, superuser: psycopg.Connection
) -> None:
    def write() -> None:
        with callers.writing(JOHN_OF_ACME) as tx:
            insert_ticket(tx)
            end_backend(superuser, tx.fetch_all("SELECT pg_backend_pid() AS pid")[0]["pid"])
            tx.fetch_all("SELECT 1")

    with pytest.raises(DatabaseUnavailable):
        write()
    assert tickets(superuser) == 0
    assert callers.reading(JOHN_OF_ACME).fetch_all("SELECT id FROM public.users")


def test_a_write_lost_at_its_first_statement_raises_database_unavailable(
    far: Callers, wire: Wire, superuser: psycopg.Connection
) -> None:
    wire.cut_before(b"app.enter")
    with pytest.raises(DatabaseUnavailable), far.writing(JOHN_OF_ACME) as tx:
        insert_ticket(tx)
    assert tickets(superuser) == 0


def test_a_write_with_a_lost_commit_raises_outcome_unknown(
    far: Callers, wire: Wire, superuser: psycopg.Connection
) -> None:
    wire.cut_before(b"COMMIT\0")
    with pytest.raises(OutcomeUnknown), far.writing(JOHN_OF_ACME) as tx:
        insert_ticket(tx)
    assert tickets(superuser) == 0


def test_a_write_with_an_unanswered_commit_raises_outcome_unknown(
    far: Callers, wire: Wire, superuser: psycopg.Connection
) -> None:
    wire.cut_after(b"COMMIT\0")
    with pytest.raises(OutcomeUnknown), far.writing(JOHN_OF_ACME) as tx:
        insert_ticket(tx)
    assert tickets(superuser) == 1
    assert far.reading(JOHN_OF_ACME).fetch_all("SELECT id FROM public.users")


def test_a_lost_engine_step_raises_database_unavailable(
    database: Urls, vault: dict[str, str]
) -> None:
    with Wire(database.worker) as wire:
        vault["worker"] = wire.url
        connection = Database("worker")
        connection.flight([("SELECT 1", {})])
        wire.cut_before(b"SELECT 2")
        with pytest.raises(DatabaseUnavailable):
            Worker(connection).fetch_all("SELECT 2")
        assert Worker(connection).fetch_all("SELECT 3 AS n") == [{"n": 3}]
        connection.close()


def test_an_unreachable_database_raises_database_unavailable(
    vault: dict[str, str], wire: Wire
) -> None:
    wire.cut_before(b"", times=9)
    vault["nowhere"] = wire.url
    with pytest.raises(DatabaseUnavailable):
        Callers(Database("nowhere")).reading(JOHN_OF_ACME).fetch_all("SELECT 1")


def test_a_changed_password_is_fetched_again(
    database: Urls, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = iter([database.api.replace("password-of", "former-password-of"), database.api])
    forgotten: list[bool] = []
    monkeypatch.setattr("masstock.database.connection.read_secret", lambda _: next(urls))
    monkeypatch.setattr(
        "masstock.database.connection.forget_secrets", lambda: forgotten.append(True)
    )
    connection = Database("database")
    assert connection.flight([("SELECT 1 AS n", {})]) == [[{"n": 1}]]
    assert forgotten == [True]
    connection.close()


# --- errors --------------------------------------------------------------------------------------


def test_an_error_in_a_read_leaves_the_connection_usable(callers: Callers) -> None:
    pid = backend_of(callers)
    for _ in range(3):
        with pytest.raises(psycopg.errors.DivisionByZero):
            callers.reading(JOHN_OF_ACME).fetch_all("SELECT 1/0")
        assert callers.reading(JANE_OF_GLOBEX).fetch_all("SELECT id FROM public.clients") == [
            {"id": GLOBEX}
        ]
    assert backend_of(callers) == pid


def test_a_read_that_writes_is_refused(callers: Callers, superuser: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        insert_ticket(callers.reading(JOHN_OF_ACME))
    with pytest.raises(psycopg.errors.ActiveSqlTransaction):
        callers.reading(JOHN_OF_ACME).fetch_all(
            "SELECT set_config('transaction_read_only', 'off', true)"
        )
    assert tickets(superuser) == 0


def test_an_error_in_a_write_changes_nothing_and_leaves_the_connection_usable(
    callers: Callers, superuser: psycopg.Connection
) -> None:
    def write(then: Callable[[TenantTransaction], object]) -> None:
        with callers.writing(JOHN_OF_ACME) as tx:
            insert_ticket(tx)
            then(tx)

    pid = backend_of(callers)
    with pytest.raises(psycopg.errors.DivisionByZero):
        write(lambda tx: tx.fetch_all("SELECT 1/0"))
    with pytest.raises(ZeroDivisionError):
        write(lambda _: 1 / 0)
    assert tickets(superuser) == 0
    assert backend_of(callers) == pid


def test_a_deferred_constraint_that_fails_at_commit_is_a_known_outcome(
    callers: Callers, superuser: psycopg.Connection
) -> None:
    superuser.execute(
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '23514'; END $$"
    )
    superuser.execute(
        "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON public.support_tickets"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.refuse()"
    )
    try:
        with pytest.raises(psycopg.errors.CheckViolation), callers.writing(JOHN_OF_ACME) as tx:
            insert_ticket(tx)
    finally:
        superuser.execute("DROP FUNCTION public.refuse() CASCADE")
    assert tickets(superuser) == 0
    assert callers.reading(JOHN_OF_ACME).fetch_all("SELECT id FROM public.users")


def test_a_statement_timeout_is_not_a_lost_connection(callers: Callers) -> None:
    callers.database.flight([("SET statement_timeout = '50ms'", {})])
    with pytest.raises(psycopg.errors.QueryCanceled):
        callers.reading(JOHN_OF_ACME).fetch_all("SELECT pg_sleep(5)")


# --- the caller ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user_id", "is_admin", "client_id"),
    [(ADMIN, True, None), (JOHN_OF_ACME, False, ACME), (JANE_OF_GLOBEX, False, GLOBEX)],
)
def test_the_database_says_who_the_caller_is(
    callers: Callers, user_id: UUID, is_admin: bool, client_id: UUID | None
) -> None:
    reader = callers.reading(user_id)
    reader.fetch_all("SELECT 1")
    with callers.writing(user_id) as tx:
        pass
    for caller in (reader.caller, tx.caller):
        assert (caller.user_id, caller.is_admin, caller.client_id) == (user_id, is_admin, client_id)


# --- logins --------------------------------------------------------------------------------------


def test_a_login_is_recorded_once_per_token(
    far: Callers, wire: Wire, superuser: psycopg.Connection
) -> None:
    def read(issued_at: float) -> int:
        before = wire.flights
        principal = Principal(MARY_OF_ACME, int(issued_at))
        TenantReader(far.database, principal, IDENTITY_KEY).fetch_all("SELECT 1")
        return wire.flights - before

    never, updated_at = last_login(superuser, MARY_OF_ACME)
    assert never is None
    assert read(time.time()) == 2
    first, unchanged = last_login(superuser, MARY_OF_ACME)
    assert first is not None
    assert unchanged == updated_at

    assert read(first.timestamp() - 1) == 1
    assert read(0) == 1
    assert last_login(superuser, MARY_OF_ACME)[0] == first

    superuser.execute(
        "UPDATE public.users SET last_login = last_login - interval '1 hour' WHERE id = %s",
        [MARY_OF_ACME],
    )
    assert read(first.timestamp() - 60) == 2
    assert last_login(superuser, MARY_OF_ACME)[0] > first


def test_a_write_records_a_login_too(callers: Callers, superuser: psycopg.Connection) -> None:
    superuser.execute("UPDATE public.users SET last_login = NULL WHERE id = %s", [JANE_OF_GLOBEX])
    principal = Principal(JANE_OF_GLOBEX, int(time.time()))
    with tenant_transaction(callers.database, principal, IDENTITY_KEY):
        pass
    assert last_login(superuser, JANE_OF_GLOBEX)[0] is not None


def test_a_read_succeeds_even_if_the_login_cannot_be_recorded(
    far: Callers, wire: Wire, superuser: psycopg.Connection
) -> None:
    superuser.execute("UPDATE public.users SET last_login = NULL WHERE id = %s", [JANE_OF_GLOBEX])
    wire.cut_before(b"app.record_login")
    rows = far.reading(JANE_OF_GLOBEX).fetch_all("SELECT id FROM public.users")
    assert rows == [{"id": JANE_OF_GLOBEX}]
    assert last_login(superuser, JANE_OF_GLOBEX)[0] is None


FLUSH = b"H\x00\x00\x00\x04"


def test_nothing_follows_the_sync_that_ends_a_flight(far: Callers, wire: Wire) -> None:
    """A pooler assigns a session to a late Flush and waits for an answer that never comes."""
    wire.cut_before(FLUSH)
    far.reading(JOHN_OF_ACME).fetch_all("SELECT 1")
    with far.writing(JOHN_OF_ACME) as tx:
        tx.fetch_all("SELECT 1")
    with pytest.raises(psycopg.errors.DivisionByZero):
        far.reading(JOHN_OF_ACME).fetch_all("SELECT 1 / 0")
    assert wire.connections == 1
