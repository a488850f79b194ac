"""SQL injected into one tenant's request cannot act as another tenant, neither in its transaction
nor in later transactions on the same backend."""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

import psycopg
import pytest

from masstock.database.connection import Database, Executor
from sql.tools.identity_key import install_identity_key
from tests.support import tenants
from tests.support.databases import IDENTITY_KEY, Callers, Urls, connected, signed_identity
from tests.support.demo_data import ACME, ADMIN, GLOBEX, JANE_OF_GLOBEX, JOHN_OF_ACME

# All visible rows of all tables and views, as (name, key).
LOOK: LiteralString = """
    SELECT 'users' AS name, id::text AS key FROM public.users
    UNION ALL SELECT 'clients', id::text FROM public.clients
    UNION ALL SELECT 'workflow_requests', id::text FROM public.workflow_requests
    UNION ALL SELECT 'workflow_executions', id::text FROM public.workflow_executions
    UNION ALL SELECT 'workflow_batch_results', id::text FROM public.workflow_batch_results
    UNION ALL SELECT 'support_tickets', id::text FROM public.support_tickets
    UNION ALL SELECT 'idempotency_keys', key FROM public.idempotency_keys
    UNION ALL SELECT 'people', id::text FROM app.people
"""
# The same rows of one tenant, for a login that bypasses row security.
EXPECTED: LiteralString = """
    SELECT 'users' AS name, id::text AS key FROM public.users WHERE id = %(user)s
    UNION ALL SELECT 'clients', id::text FROM public.clients WHERE id = %(client)s
    UNION ALL SELECT 'workflow_requests', id::text FROM public.workflow_requests
        WHERE client_id = %(client)s
    UNION ALL SELECT 'workflow_executions', id::text FROM public.workflow_executions
        WHERE client_id = %(client)s
    UNION ALL SELECT 'workflow_batch_results', id::text FROM public.workflow_batch_results
        WHERE client_id = %(client)s
    UNION ALL SELECT 'support_tickets', id::text FROM public.support_tickets
        WHERE client_id = %(client)s
    UNION ALL SELECT 'idempotency_keys', key FROM public.idempotency_keys WHERE user_id = %(user)s
    UNION ALL SELECT 'people', id::text FROM public.users WHERE client_id = %(client)s
"""

type Seen = set[tuple[str, str]]


def look(tx: Executor) -> Seen:
    return {(row["name"], row["key"]) for row in tx.fetch_all(LOOK)}


@pytest.fixture(scope="module")
def rows_of(database: Urls) -> Iterator[Callable[[UUID], Seen]]:
    """The exact rows that each client user must see."""
    with connected(database.superuser) as superuser:
        tenants.lay_out(superuser)

        def rows(user_id: UUID) -> Seen:
            client = {JOHN_OF_ACME: ACME, JANE_OF_GLOBEX: GLOBEX}[user_id]
            return set(superuser.execute(EXPECTED, {"user": user_id, "client": client}).fetchall())

        yield rows


class Attack(NamedTuple):
    """Statements injected into a request of Acme. `refused` is the SQLSTATE of the last statement.
    None means that it runs and must have no effect."""

    statements: list[LiteralString]
    refused: str | None = None


DENIED = "42501"
READ_ONLY = "25006"
NOT_SIGNED = "MS401"

ATTACKS: dict[str, Attack] = {
    # --- another identity, in this transaction
    "claims of another": Attack(["SELECT set_config('request.jwt.claims', %(claims)s, true)"]),
    "claims of another within the statement": Attack(
        [
            """
            WITH forged AS MATERIALIZED (
                SELECT set_config('request.jwt.claims', %(claims)s, true) AS claims)
            SELECT t.id, forged.claims IS NULL FROM forged, public.support_tickets t
            """
        ]
    ),
    "claims of another by a subquery in the filter": Attack(
        [
            """
            SELECT t.id FROM public.support_tickets t
            WHERE set_config('request.jwt.claims', %(claims)s, true) IS NOT NULL
            """
        ]
    ),
    "claims of another under the own seal": Attack(
        [
            """
            SELECT set_config('request.jwt.claims', %(claims)s, true),
                   set_config('app.seal', current_setting('app.seal'), true)
            """
        ]
    ),
    "claims of another under an invented seal": Attack(
        [
            """
            SELECT set_config('request.jwt.claims', %(claims)s, true),
                   set_config('app.seal', repeat('0', 64), true)
            """
        ]
    ),
    "claims of another under an empty seal": Attack(
        [
            """
            SELECT set_config('request.jwt.claims', %(claims)s, true),
                   set_config('app.seal', '', true)
            """
        ]
    ),
    "claims of the administrator in the administrator's role": Attack(
        [
            "SELECT set_config('request.jwt.claims', %(admin_claims)s, true)",
            "SET LOCAL ROLE masstock_admin",
        ]
    ),
    "claims in Supabase's older settings": Attack(
        [
            """
            SELECT set_config('request.jwt.claim.sub', %(b)s::text, true),
                   set_config('request.jwt.claim.role', 'service_role', true)
            """
        ]
    ),
    "another identity under the own signature": Attack(
        ["SELECT * FROM app.enter(%(b)s, %(exp)s, %(mac)s)"], NOT_SIGNED
    ),
    "another identity under an invented signature": Attack(
        ["SELECT * FROM app.begin_request(%(b)s, %(exp)s, repeat('0', 64))"], NOT_SIGNED
    ),
    "another identity without a signature": Attack(
        ["SELECT * FROM app.enter(%(b)s, %(exp)s, NULL)"], NOT_SIGNED
    ),
    # --- another role
    "the administrator's role": Attack(["SET LOCAL ROLE masstock_admin"]),
    "no role": Attack(["SET LOCAL ROLE NONE"]),
    "the administrator's role by set_config": Attack(
        ["SELECT set_config('role', 'masstock_admin', true)"]
    ),
    "the owner's role": Attack(["SET LOCAL ROLE masstock_owner"], DENIED),
    "the owner's role by set_config": Attack(
        ["SELECT set_config('role', 'masstock_owner', true)"], DENIED
    ),
    "the helpers' role": Attack(["SET LOCAL ROLE masstock_authz"], DENIED),
    "the worker's role": Attack(["SET LOCAL ROLE masstock_worker"], DENIED),
    "another login": Attack(["SET SESSION AUTHORIZATION masstock_worker"], DENIED),
    "another login by set_config": Attack(
        ["SELECT set_config('session_authorization', 'masstock_owner', false)"], DENIED
    ),
    # --- the keys, and values made with them
    "the keys": Attack(["SELECT * FROM app_private.keys"], DENIED),
    "a seal by the sealing function": Attack(["SELECT app_private.seal(%(b)s::text)"], DENIED),
    "a signature by the signing function": Attack(["SELECT app_private.mac(1, 'x')"], DENIED),
    "a key of the attacker's": Attack(
        ["SELECT app_private.set_key(1, repeat('x', 32)::bytea)"], DENIED
    ),
    "a helper of the attacker's": Attack(
        [
            """
            CREATE OR REPLACE FUNCTION app.uid() RETURNS uuid LANGUAGE sql AS
            'SELECT ''b0b00000-e89b-42d3-a456-426614174012''::uuid'
            """
        ],
        DENIED,
    ),
    "row security switched off": Attack(
        ["SET LOCAL row_security = off", "SELECT id FROM public.support_tickets"], DENIED
    ),
    "triggers switched off": Attack(["SET LOCAL session_replication_role = replica"], DENIED),
    # --- a leftover object that shadows a table
    "a temporary table": Attack(["CREATE TEMP TABLE support_tickets (id uuid)"], DENIED),
    "a temporary table by query": Attack(
        ["SELECT * INTO TEMP support_tickets FROM public.support_tickets"], DENIED
    ),
    "a temporary view": Attack(
        ["CREATE TEMP VIEW users AS SELECT * FROM public.users"],
        DENIED,
    ),
    "a temporary function": Attack(
        ["CREATE FUNCTION pg_temp.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT now()'"],
        DENIED,
    ),
    "a function in public": Attack(
        ["CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT now()'"],
        DENIED,
    ),
    "a table in public": Attack(["CREATE TABLE public.x (id uuid)"], DENIED),
    "a schema": Attack(["CREATE SCHEMA masstock_api"], DENIED),
    "a rule": Attack(
        ["CREATE RULE x AS ON SELECT TO public.users DO INSTEAD SELECT * FROM public.clients"],
        DENIED,
    ),
    "a policy": Attack(["CREATE POLICY x ON public.users USING (true)"], DENIED),
    # --- leftovers in the session
    "claims for the session": Attack(
        ["SELECT set_config('request.jwt.claims', %(claims)s, false)"]
    ),
    "claims that are not JSON for the session": Attack(["SET request.jwt.claims = 'not json'"]),
    "a seal for the session": Attack(
        ["SELECT set_config('app.seal', current_setting('app.seal'), false)"]
    ),
    "the administrator's role for the session": Attack(["SET ROLE masstock_admin"]),
    "the administrator's role for the session by set_config": Attack(
        ["SELECT set_config('role', 'masstock_admin', false)"]
    ),
    "a search path for the session": Attack(["SET search_path = pg_temp, app, public"]),
    "a search path that hides the catalogue": Attack(["SET search_path = public, app, pg_catalog"]),
    "no row security for the session": Attack(["SET row_security = off"]),
    "read-only transactions for the session": Attack(["SET default_transaction_read_only = on"]),
    "serializable transactions for the session": Attack(
        ["SET default_transaction_isolation = 'serializable'"]
    ),
    "a prepared statement named like the driver's": Attack(
        ["PREPARE _pg3_0 AS SELECT id FROM public.users", "PREPARE _pg3_1 AS SELECT 1"]
    ),
    "a prepared statement of every table": Attack(["PREPARE spy AS " + LOOK]),
    "a held cursor": Attack(["DECLARE spy CURSOR WITH HOLD FOR " + LOOK]),
    "a held cursor that re-reads": Attack(
        ["DECLARE spy SCROLL CURSOR WITH HOLD FOR SELECT id::text FROM public.support_tickets"]
    ),
    "a channel": Attack(["LISTEN spy"]),
}
MODES = ("reading", "writing")
# Errors that can end the attacker's own request.
SELF_INFLICTED = (psycopg.errors.InvalidTextRepresentation, psycopg.errors.InsufficientPrivilege)


def values_of(attack_by: UUID) -> dict[str, object]:
    _, exp, mac = signed_identity(attack_by)
    return {
        "b": JANE_OF_GLOBEX,
        "exp": exp,
        "mac": mac,
        "claims": f'{{"sub": "{JANE_OF_GLOBEX}", "role": "authenticated"}}',
        "admin_claims": f'{{"sub": "{ADMIN}", "role": "authenticated"}}',
    }


def named_in(statement: LiteralString, values: dict[str, object]) -> dict[str, Any]:
    # Postgres needs the type of every parameter, even of an unused one.
    return {name: value for name, value in values.items() if f"%({name})s" in statement}


def inject(tx: Executor, attack: Attack, others: Seen) -> None:
    """Runs the attack in a request and asserts that it sees nothing of another tenant."""
    values = values_of(JOHN_OF_ACME)
    for statement in attack.statements:
        answer = repr(tx.fetch_all(statement, **named_in(statement, values)))
        for _, key in others - {("users", str(JANE_OF_GLOBEX)), ("people", str(JANE_OF_GLOBEX))}:
            assert key not in answer


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("attack", ATTACKS)
def test_injected_sql_never_acts_as_another_tenant(
    callers: Callers, rows_of: Callable[[UUID], Seen], attack: str, mode: str
) -> None:
    acme, globex = rows_of(JOHN_OF_ACME), rows_of(JANE_OF_GLOBEX)
    assert not acme & globex
    backend = backend_of(callers.database)
    refusals = {ATTACKS[attack].refused}
    state: str | None = None
    try:
        if mode == "reading":
            refusals |= {READ_ONLY} if ATTACKS[attack].refused == DENIED else set()
            inject(callers.reading(JOHN_OF_ACME), ATTACKS[attack], globex)
        else:
            with callers.writing(JOHN_OF_ACME) as tx:
                inject(tx, ATTACKS[attack], globex)
                with suppress(*SELF_INFLICTED):
                    assert look(tx) <= acme
    except psycopg.Error as error:
        state = error.sqlstate
    if mode == "writing" or len(ATTACKS[attack].statements) == 1:
        assert state in refusals

    # The next caller and the attacker see exactly their own rows.
    assert look(callers.reading(JANE_OF_GLOBEX)) == globex
    with callers.writing(JANE_OF_GLOBEX) as tx:
        assert tx.caller.client_id == GLOBEX
        assert look(tx) == globex
        assert seen(what_was_left(tx)) <= globex
        tx.fetch_all("UPDATE public.support_tickets SET subject = subject")
    assert look(callers.reading(JOHN_OF_ACME)) == acme
    assert backend_of(callers.database) == backend


def backend_of(database: Database) -> int:
    return database.flight([("SELECT pg_backend_pid() AS pid", {})])[0][0]["pid"]


def what_was_left(tx: Executor) -> list[Any]:
    """The rows of the prepared statement `spy`, if it exists."""
    known = tx.fetch_all("SELECT name FROM pg_prepared_statements WHERE name = 'spy'")
    return tx.fetch_all("EXECUTE spy") if known else []


def test_a_held_cursor_contains_only_its_owners_rows(
    callers: Callers, rows_of: Callable[[UUID], Seen]
) -> None:
    with callers.writing(JOHN_OF_ACME) as tx:
        tx.fetch_all("DECLARE spy CURSOR WITH HOLD FOR " + LOOK)
    with callers.writing(JANE_OF_GLOBEX) as tx:
        look(tx)
    with callers.writing(JOHN_OF_ACME) as tx:
        held = {(row["name"], row["key"]) for row in tx.fetch_all("FETCH ALL FROM spy")}
    assert held == rows_of(JOHN_OF_ACME)


def test_a_prepared_statement_sees_the_rows_of_the_current_caller(
    callers: Callers, rows_of: Callable[[UUID], Seen]
) -> None:
    with callers.writing(JOHN_OF_ACME) as tx:
        tx.fetch_all("PREPARE spy AS " + LOOK)
        assert seen(tx.fetch_all("EXECUTE spy")) == rows_of(JOHN_OF_ACME)
    with callers.writing(JANE_OF_GLOBEX) as tx:
        assert seen(tx.fetch_all("EXECUTE spy")) == rows_of(JANE_OF_GLOBEX)
    assert callers.database.flight([("EXECUTE spy", {})]) == [[]]


def seen(rows: list[dict[str, Any]]) -> Seen:
    return {(row["name"], row["key"]) for row in rows}


def test_a_seal_ends_with_its_transaction(
    callers: Callers, rows_of: Callable[[UUID], Seen]
) -> None:
    with callers.writing(JOHN_OF_ACME) as tx:
        [sealed] = tx.fetch_all(
            "SELECT current_setting('app.seal') AS seal,"
            " current_setting('request.jwt.claims') AS claims"
        )
    replay: LiteralString = (
        "SELECT set_config('app.seal', %(seal)s, true),"
        " set_config('request.jwt.claims', %(claims)s, true)"
    )
    # A replay fails for another tenant, for the same user, and without an identity.
    with callers.writing(JANE_OF_GLOBEX) as tx:
        tx.fetch_all(replay, **sealed)
        assert look(tx) == set()
    with callers.writing(JOHN_OF_ACME) as tx:
        tx.fetch_all(replay, **sealed)
        assert look(tx) == set()
    assert (
        callers.database.flight([("BEGIN", {}), (replay, sealed), (LOOK, {}), ("COMMIT", {})])[2]
        == []
    )


def test_a_seal_is_valid_only_on_its_own_backend(database: Urls, callers: Callers) -> None:
    with callers.writing(JOHN_OF_ACME) as tx, connected(database.api) as other:
        [sealed] = tx.fetch_all("SELECT current_setting('app.seal') AS seal")
        with other.transaction():
            other.execute(
                "SELECT set_config('app.seal', %s, true),"
                " set_config('request.jwt.claims', %s, true)",
                [sealed["seal"], f'{{"sub": "{JOHN_OF_ACME}"}}'],
            )
            assert other.execute(LOOK).fetchall() == []


@pytest.mark.parametrize("ending", ["COMMIT", "ROLLBACK"])
def test_identity_and_persona_end_with_the_transaction(database: Urls, ending: str) -> None:
    with connected(database.api) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT * FROM app.enter(%s, %s, %s)", signed_identity(ADMIN))
        assert connection.execute("SELECT current_user").fetchone() == ("masstock_admin",)
        connection.execute(ending.encode())
        assert connection.execute(
            "SELECT current_user, current_setting('app.seal', true),"
            " current_setting('request.jwt.claims', true)"
        ).fetchone() == ("masstock_api", "", "")
        assert connection.execute(LOOK).fetchall() == []


# --- signatures ----------------------------------------------------------------------------------


def refusal_of(connection: psycopg.Connection, identity: tuple[Any, Any, Any]) -> str | None:
    try:
        connection.execute("SELECT * FROM app.enter(%s::uuid, %s::bigint, %s::text)", identity)
    except psycopg.DatabaseError as error:
        return error.sqlstate
    return None


USER, EXPIRES, MAC = signed_identity(JOHN_OF_ACME, seconds=120)
_, _, ADMINS_MAC = signed_identity(ADMIN, seconds=120)
SIGNATURES: dict[str, tuple[UUID | None, int | None, str | None]] = {
    "expired": signed_identity(JOHN_OF_ACME, seconds=-2),
    "valid for more than five minutes": signed_identity(JOHN_OF_ACME, seconds=3600),
    "signed with another key": signed_identity(JOHN_OF_ACME, key="x" * 32),
    "signed with an empty key": signed_identity(JOHN_OF_ACME, key=""),
    "of another user": (ADMIN, EXPIRES, MAC),
    "prolonged": (USER, EXPIRES + 1, MAC),
    "cut short": (USER, EXPIRES, MAC[:-1]),
    "empty": (USER, EXPIRES, ""),
    "in capitals": (USER, EXPIRES, MAC.upper()),
    "missing": (USER, EXPIRES, None),
    "without an expiry": (USER, None, MAC),
    "without a user": (None, EXPIRES, MAC),
}


@pytest.mark.parametrize("flaw", SIGNATURES)
def test_a_signature_is_refused_when(database: Urls, flaw: str) -> None:
    with connected(database.api) as connection:
        assert refusal_of(connection, SIGNATURES[flaw]) == NOT_SIGNED


def test_a_valid_signature_is_accepted(database: Urls) -> None:
    with connected(database.api) as connection:
        assert refusal_of(connection, signed_identity(JOHN_OF_ACME, seconds=290)) is None


def test_an_unknown_user_and_a_bad_signature_are_different_errors(database: Urls) -> None:
    with connected(database.api) as connection, pytest.raises(psycopg.DatabaseError) as refused:
        connection.execute(
            "SELECT * FROM app.enter(%s::uuid, %s::bigint, %s::text)",
            signed_identity(UUID(int=7)),
        )
    diag = refused.value.diag
    assert (diag.sqlstate, diag.constraint_name) == ("MS403", "not_provisioned")


@pytest.mark.parametrize("role", ["masstock_worker", "anon", "authenticated"])
def test_only_the_api_can_call_enter(database: Urls, role: str) -> None:
    with connected(database.superuser) as connection, connection.transaction(force_rollback=True):
        connection.execute(
            psycopg.sql.SQL("SET LOCAL ROLE {}").format(psycopg.sql.Identifier(role))
        )
        assert refusal_of(connection, signed_identity(JOHN_OF_ACME)) == DENIED


def test_no_view_of_the_server_shows_a_signed_identity(database: Urls, callers: Callers) -> None:
    with callers.writing(JANE_OF_GLOBEX) as victim, connected(database.api) as spy:
        texts = [
            spy.execute("SELECT query FROM pg_stat_activity").fetchall(),
            victim.fetch_all("SELECT statement FROM pg_prepared_statements"),
            victim.fetch_all("SELECT statement FROM pg_cursors"),
        ]
    assert "app.enter" in repr(texts[0])
    assert not re.search("[0-9a-f]{64}", repr(texts))
    assert str(JANE_OF_GLOBEX) not in repr(texts)


def test_a_replaced_identity_key_is_no_longer_trusted(fresh_database: Urls) -> None:
    replacement = "another identity key, just as long as the other"
    install_identity_key(fresh_database.migrator, replacement)
    with connected(fresh_database.api) as connection:
        assert refusal_of(connection, signed_identity(JOHN_OF_ACME)) == NOT_SIGNED
        assert refusal_of(connection, signed_identity(JOHN_OF_ACME, key=replacement)) is None


@pytest.mark.parametrize("length", [0, 31, 65])
def test_an_identity_key_of_a_wrong_length_is_refused(fresh_database: Urls, length: int) -> None:
    with pytest.raises(psycopg.DatabaseError, match="32 to 64 bytes"):
        install_identity_key(fresh_database.migrator, "x" * length)


@pytest.mark.parametrize("message", ["", "x", "b|1", "ümläut 🙂", "m" * 500])
@pytest.mark.parametrize("key", ["k" * 32, "ключ" * 8, "0" * 63, IDENTITY_KEY])
def test_the_database_computes_a_standard_hmac(database: Urls, key: str, message: str) -> None:
    with connected(database.superuser) as connection, connection.transaction(force_rollback=True):
        connection.execute("SELECT app_private.set_key(1, %s)", [key.encode()])
        row = connection.execute("SELECT app_private.mac(1, %s)", [message]).fetchone()
    assert row == (hmac.new(key.encode(), message.encode(), hashlib.sha256).hexdigest(),)


def test_every_database_has_its_own_seal_key(fresh_database: Urls) -> None:
    with connected(fresh_database.superuser) as connection:
        rows = connection.execute("SELECT count(DISTINCT ipad) FROM app_private.keys").fetchone()
    assert rows == (2,)
