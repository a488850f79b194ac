"""The migrated database has exactly the row security that row_security.yaml states."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest
import yaml
from psycopg.errors import InsufficientPrivilege
from psycopg.types.json import Json

from tests.support import tenants
from tests.support.databases import Urls, connected, signed_identity
from tests.support.demo_data import (
    ACME,
    ADMIN,
    DEMO_EXECUTION,
    GLOBEX,
    JANE_OF_GLOBEX,
    JOHN_OF_ACME,
    MARY_OF_ACME,
    WORKFLOW,
)

RULES = yaml.safe_load(Path(__file__).with_name("row_security.yaml").read_text())
COMMANDS = ("SELECT", "INSERT", "UPDATE", "DELETE")
PERSONAS = (
    "admin",
    "client",
    "worker",
    "no_identity",
    "unsealed_admin",
    "forged_client",
    "forged_admin",
    "supabase_client",
    "supabase_admin",
    "anon",
)
SUSPENDED = ("suspended", "deleted")
RUNTIME_ROLES = ("masstock_api", "masstock_admin", "masstock_worker", "anon", "authenticated")
# The schemas of Postgres itself. All others are ours.
SYSTEM_SCHEMAS = "('pg_catalog', 'information_schema', 'pg_toast')"

type Session = Callable[[str], psycopg.Connection]


@pytest.fixture(scope="module")
def superuser(database: Urls) -> Iterator[psycopg.Connection]:
    with connected(database.superuser) as connection:
        tenants.lay_out(connection)
        yield connection


@pytest.fixture(scope="module")
def session(database: Urls, superuser: psycopg.Connection) -> Iterator[Session]:
    """One connection for each kind of login, opened at its first use."""
    with ExitStack() as stack:
        known: dict[str, psycopg.Connection] = {}

        def open_session(persona: str) -> psycopg.Connection:
            if persona not in known:
                match persona:
                    case "worker":
                        url = database.worker
                    case "supabase_client" | "supabase_admin" | "anon":
                        url = database.superuser
                    case _:
                        url = database.api
                known[persona] = stack.enter_context(connected(url))
            return known[persona]

        yield open_session


@pytest.fixture(scope="module", autouse=True)
def authenticator(superuser: psycopg.Connection) -> Iterator[None]:
    """The login of Supabase's API. app.uid() trusts its claims."""
    if superuser.execute("SELECT FROM pg_roles WHERE rolname = 'authenticator'").rowcount:
        yield
        return
    superuser.execute("CREATE ROLE authenticator NOLOGIN NOINHERIT")
    superuser.execute("GRANT anon, authenticated TO authenticator")
    yield
    superuser.execute("DROP ROLE authenticator")


@contextmanager
def acting_as(persona: str, connection: psycopg.Connection) -> Iterator[None]:
    """A transaction in which the connection acts as the persona. It is rolled back."""
    with connection.transaction(force_rollback=True):
        match persona:
            case "admin":
                enter(connection, ADMIN)
            case "client":
                enter(connection, JOHN_OF_ACME)
            case "unsealed_admin":
                connection.execute("SET LOCAL ROLE masstock_admin")
            case "forged_client":
                forge(connection, JOHN_OF_ACME)
            case "forged_admin":
                forge(connection, ADMIN)
                connection.execute("SET LOCAL ROLE masstock_admin")
            case "supabase_client":
                enter_through_supabase(connection, "authenticated", JOHN_OF_ACME)
            case "supabase_admin":
                enter_through_supabase(connection, "authenticated", ADMIN)
            case "anon":
                enter_through_supabase(connection, "anon", JOHN_OF_ACME)
        yield


def enter(connection: psycopg.Connection, user_id: UUID) -> None:
    connection.execute("SELECT * FROM app.enter(%s, %s, %s)", signed_identity(user_id))


def claim(connection: psycopg.Connection, user_id: UUID) -> None:
    connection.execute(
        "SELECT set_config('request.jwt.claims', %s::text, true)", [Json({"sub": str(user_id)})]
    )


def forge(connection: psycopg.Connection, user_id: UUID) -> None:
    claim(connection, user_id)
    connection.execute("SELECT set_config('app.seal', %s, true)", ["0" * 64])


def enter_through_supabase(connection: psycopg.Connection, role: str, user_id: UUID) -> None:
    connection.execute("SET LOCAL SESSION AUTHORIZATION authenticator")
    connection.execute("SELECT set_config('role', %s, true)", [role])
    claim(connection, user_id)


def outcome(connection: psycopg.Connection, table: str, command: str, whose: str) -> str:
    try:
        with connection.transaction(force_rollback=True):
            cursor = connection.execute(
                tenants.statement(table, command), tenants.parameters(table, whose)
            )
            return "touched" if cursor.rowcount else "nothing"
    except InsufficientPrivilege:
        return "refused"


def expected(rule: str, command: str, whose: str) -> str:
    if rule == "all" or (rule == "own" and whose == "own"):
        return "touched"
    if rule == "own" and command == "INSERT":
        return "refused"
    return "refused" if rule == "refused" else "nothing"


# --- the table of row_security.yaml ------------------------------------------------------------


def test_row_security_yaml_has_every_table(
    superuser: psycopg.Connection,
) -> None:
    rows = superuser.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'p', 'f', 'v', 'm')"
    ).fetchall()
    assert {name for (name,) in rows} == set(RULES["tables"]) == set(tenants.ROWS)
    for table, personas in RULES["tables"].items():
        assert tuple(personas) == PERSONAS, table


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("persona", PERSONAS)
@pytest.mark.parametrize("table", RULES["tables"])
def test_a_persona_reaches_exactly_the_permitted_rows(
    session: Session, table: str, persona: str, command: str
) -> None:
    rule = RULES["tables"][table][persona][COMMANDS.index(command)]
    connection = session(persona)
    with acting_as(persona, connection):
        for whose in ("own", "other"):
            assert outcome(connection, table, command, whose) == expected(rule, command, whose), (
                f"{whose} row: the table says {rule}"
            )


# Without the tables that the api cannot read at all.
READABLE = [name for name, rules in RULES["tables"].items() if rules["client"][0] != "refused"]


@pytest.mark.parametrize("table", READABLE)
@pytest.mark.parametrize(
    "persona", ["no_identity", "unsealed_admin", "forged_client", "forged_admin"]
)
def test_every_table_is_empty_without_a_sealed_identity(
    session: Session, persona: str, table: str
) -> None:
    connection = session(persona)
    with acting_as(persona, connection):
        query = psycopg.sql.SQL("SELECT * FROM public.{}").format(psycopg.sql.Identifier(table))
        assert connection.execute(query).fetchall() == []


VIEWS = [name for name in RULES["relations"] if name.startswith("app.")]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "persona", ["no_identity", "unsealed_admin", "forged_client", "forged_admin"]
)
def test_a_view_is_empty_without_a_sealed_identity(
    session: Session, persona: str, view: str
) -> None:
    connection = session(persona)
    with acting_as(persona, connection), suppress(InsufficientPrivilege):
        query = psycopg.sql.SQL("SELECT * FROM {}").format(psycopg.sql.Identifier(*view.split(".")))
        assert connection.execute(query).fetchall() == []


def test_a_client_user_sees_no_name_of_another_tenant(session: Session) -> None:
    connection = session("client")
    with acting_as("client", connection):
        people = connection.execute("SELECT id FROM app.people").fetchall()
    assert {user_id for (user_id,) in people} == {JOHN_OF_ACME, MARY_OF_ACME}


# --- states and columns that ALL (own client) excludes -------------------------------------------

# "ALL (own client)" excludes states, approvals, output and the names of other users.
FORBIDDEN_TO_CLIENTS: dict[str, LiteralString] = {
    "approve their request": (
        "UPDATE public.workflow_requests SET status = 'approved' WHERE id = %(request)s"
    ),
    "create an approved request": (
        "INSERT INTO public.workflow_requests (client_id, workflow_id, status)"
        " VALUES (%(client)s, %(workflow)s, 'approved')"
    ),
    "request a retired workflow": (
        "INSERT INTO public.workflow_requests (client_id, workflow_id)"
        " VALUES (%(client)s, %(retired_workflow)s)"
    ),
    "give a request to another tenant": (
        "UPDATE public.workflow_requests SET client_id = %(other_client)s WHERE id = %(request)s"
    ),
    "complete an execution": (
        "UPDATE public.workflow_executions SET status = 'completed' WHERE id = %(live)s"
    ),
    "write output_data": (
        "UPDATE public.workflow_executions SET output_data = '{}' WHERE id = %(live)s"
    ),
    "rewrite input_data": (
        "UPDATE public.workflow_executions SET input_data = '{}' WHERE id = %(live)s"
    ),
    "give an execution to another tenant": (
        "UPDATE public.workflow_executions SET client_id = %(other_client)s WHERE id = %(live)s"
    ),
    "create a completed execution": (
        "INSERT INTO public.workflow_executions"
        " (workflow_id, client_id, user_id, input_data, status)"
        " VALUES (%(workflow)s, %(client)s, %(user)s, '{}', 'completed')"
    ),
    "create an execution with output": (
        "INSERT INTO public.workflow_executions"
        " (workflow_id, client_id, user_id, input_data, output_data)"
        " VALUES (%(workflow)s, %(client)s, %(user)s, '{}', '{}')"
    ),
    "create an execution in a later run": (
        "INSERT INTO public.workflow_executions (workflow_id, client_id, user_id, input_data, run)"
        " VALUES (%(workflow)s, %(client)s, %(user)s, '{}', 7)"
    ),
    "start an execution in a colleague's name": (
        "INSERT INTO public.workflow_executions (workflow_id, client_id, user_id, input_data)"
        " VALUES (%(workflow)s, %(client)s, %(colleague)s, '{}')"
    ),
    "start an execution in a stranger's name": (
        "INSERT INTO public.workflow_executions (workflow_id, client_id, user_id, input_data)"
        " VALUES (%(workflow)s, %(client)s, %(other_user)s, '{}')"
    ),
    "start a retired workflow": (
        "INSERT INTO public.workflow_executions (workflow_id, client_id, user_id, input_data)"
        " VALUES (%(retired_workflow)s, %(client)s, %(user)s, '{}')"
    ),
    "write a result's url": (
        "UPDATE public.workflow_batch_results SET result_url = 'x' WHERE id = %(result)s"
    ),
    "write a result's storage path": (
        "UPDATE public.workflow_batch_results SET result_storage_path = 'x' WHERE id = %(result)s"
    ),
    "close a ticket": "UPDATE public.support_tickets SET status = 'closed' WHERE id = %(ticket)s",
    "give a ticket to another tenant": (
        "UPDATE public.support_tickets SET client_id = %(other_client)s WHERE id = %(ticket)s"
    ),
    "give a ticket to a colleague": (
        "UPDATE public.support_tickets SET user_id = %(colleague)s WHERE id = %(ticket)s"
    ),
    "open a ticket in a colleague's name": (
        "INSERT INTO public.support_tickets (client_id, user_id, subject, description)"
        " VALUES (%(client)s, %(colleague)s, 'x', 'x')"
    ),
    "create a closed ticket": (
        "INSERT INTO public.support_tickets (client_id, user_id, subject, description, status)"
        " VALUES (%(client)s, %(user)s, 'x', 'x', 'closed')"
    ),
    "become an admin": "UPDATE public.users SET role = 'admin' WHERE id = %(user)s",
    "change their client": (
        "UPDATE public.users SET client_id = %(other_client)s WHERE id = %(user)s"
    ),
    "write last_login": "UPDATE public.users SET last_login = now() WHERE id = %(user)s",
    "activate their client": "UPDATE public.clients SET status = 'active' WHERE id = %(client)s",
    "reconfigure a workflow": "UPDATE public.workflows SET config = '{}' WHERE id = %(workflow)s",
    "empty a table": "TRUNCATE public.workflow_requests",
    "copy a file into a table": "COPY public.workflow_requests FROM '/dev/null'",
    "add a trigger": (
        "CREATE TRIGGER x BEFORE INSERT ON public.users EXECUTE FUNCTION public.touch_updated_at()"
    ),
}
VALUES = {
    "request": tenants.REQUEST["own"],
    "live": tenants.LIVE_EXECUTION["own"],
    "result": tenants.RESULT["own"],
    "ticket": tenants.TICKET["own"],
    "client": ACME,
    "other_client": GLOBEX,
    "user": JOHN_OF_ACME,
    "other_user": JANE_OF_GLOBEX,
    "colleague": MARY_OF_ACME,
    "workflow": WORKFLOW,
    "retired_workflow": tenants.RETIRED_WORKFLOW,
}


@pytest.mark.parametrize("persona", ["client", "supabase_client"])
@pytest.mark.parametrize("deed", FORBIDDEN_TO_CLIENTS)
def test_a_client_user_cannot(session: Session, persona: str, deed: str) -> None:
    connection = session(persona)
    with acting_as(persona, connection), pytest.raises(InsufficientPrivilege):
        connection.execute(FORBIDDEN_TO_CLIENTS[deed], VALUES)


ENDED = [
    ("workflow_requests", "approved", "UPDATE public.workflow_requests SET notes = 'x'"),
    ("workflow_requests", "rejected", "DELETE FROM public.workflow_requests"),
    ("workflow_executions", "pending", "DELETE FROM public.workflow_executions"),
    ("workflow_executions", "processing", "DELETE FROM public.workflow_executions"),
    ("support_tickets", "closed", "UPDATE public.support_tickets SET subject = 'x'"),
    ("support_tickets", "in_progress", "UPDATE public.support_tickets SET subject = 'x'"),
]


@pytest.mark.parametrize(("table", "status", "attempt"), ENDED)
def test_a_client_user_cannot_change_a_row_that_its_state_closes(
    superuser: psycopg.Connection, table: str, status: str, attempt: str
) -> None:
    row = tenants.ROWS[table][1]["own"]
    with superuser.transaction(force_rollback=True):
        query = psycopg.sql.SQL("UPDATE public.{} SET status = %s WHERE id = %s")
        superuser.execute(query.format(psycopg.sql.Identifier(table)), [status, row])
        superuser.execute("SET LOCAL SESSION AUTHORIZATION masstock_api")
        enter(superuser, JOHN_OF_ACME)
        assert superuser.execute(f"{attempt} WHERE id = %s", [row]).rowcount == 0


def test_a_worker_cannot_change_an_ended_execution(session: Session) -> None:
    connection = session("worker")
    with acting_as("worker", connection):
        for attempt in (
            "UPDATE public.workflow_executions SET status = 'failed' WHERE id = %(id)s",
            "UPDATE public.workflow_batch_results SET attempts = 9 WHERE execution_id = %(id)s",
        ):
            assert connection.execute(attempt, {"id": DEMO_EXECUTION}).rowcount == 0


@pytest.mark.parametrize("column", ["key", "request_hmac", "user_id", "response_ref"])
def test_a_worker_cannot_read_idempotency_keys(session: Session, column: str) -> None:
    connection = session("worker")
    with acting_as("worker", connection), pytest.raises(InsufficientPrivilege):
        connection.execute(f"SELECT {column} FROM public.idempotency_keys")


def test_a_worker_can_delete_only_expired_keys(superuser: psycopg.Connection) -> None:
    with superuser.transaction(force_rollback=True):
        superuser.execute(
            "UPDATE public.idempotency_keys SET expires_at = now() - interval '1 s'"
            " WHERE key = 'key of acme'"
        )
        superuser.execute("SET LOCAL SESSION AUTHORIZATION masstock_worker")
        rows = superuser.execute("DELETE FROM public.idempotency_keys WHERE expires_at < now()")
        assert rows.rowcount == 1
        rows = superuser.execute("DELETE FROM public.idempotency_keys WHERE expires_at > now()")
        assert rows.rowcount == 0


@pytest.mark.parametrize("command", ["INSERT", "UPDATE"])
@pytest.mark.parametrize("role", RULES["columns"])
def test_a_role_can_write_exactly_its_columns(
    superuser: psycopg.Connection, role: str, command: str
) -> None:
    rows = superuser.execute(
        "SELECT c.relname, array_agg(a.attname::text) FROM pg_class c"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')"
        " AND has_column_privilege(%s, c.oid, a.attnum, %s) GROUP BY 1",
        [role, command],
    ).fetchall()
    says = {
        table: set(commands[command])
        for table, commands in RULES["columns"][role].items()
        if command in commands
    }
    assert {table: set(columns) for table, columns in rows} == says


@pytest.mark.parametrize("privilege", ["TRUNCATE", "REFERENCES", "TRIGGER"])
def test_no_runtime_role_can_truncate_or_reference_a_table(
    superuser: psycopg.Connection, privilege: str
) -> None:
    rows = superuser.execute(
        "SELECT r.role, c.relname FROM pg_class c, unnest(%s::text[]) AS r (role)"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')"
        " AND has_table_privilege(r.role, c.oid, %s)",
        [list(RUNTIME_ROLES), privilege],
    ).fetchall()
    assert rows == []


# --- transitions: functions with their owner's rights --------------------------------------------

TRANSITIONS = [
    ("SELECT app.cancel_execution(%s, 'x')", tenants.LIVE_EXECUTION),
    ("SELECT app.reopen_failed(%s, NULL, 60)", tenants.ENDED_EXECUTION),
    ("SELECT app.create_archive(gen_random_uuid(), %s, NULL)", tenants.ENDED_EXECUTION),
    ("SELECT app.archive_state(%s)", tenants.ARCHIVE),
]


@pytest.mark.parametrize(("call", "execution"), TRANSITIONS)
@pytest.mark.parametrize(
    "persona", ["no_identity", "unsealed_admin", "forged_client", "forged_admin", "client"]
)
def test_a_transition_reaches_only_the_callers_executions(
    session: Session,
    superuser: psycopg.Connection,
    call: str,
    execution: dict[str, tenants.Key],
    persona: str,
) -> None:
    look = "SELECT (SELECT json_agg(e) FROM public.workflow_executions e)::text"
    before = superuser.execute(look).fetchone()
    connection = session(persona)
    with acting_as(persona, connection):
        assert connection.execute(call, [execution["other"]]).fetchone() == (None,)
        if persona != "client":
            assert connection.execute(call, [execution["own"]]).fetchone() == (None,)
    assert superuser.execute(look).fetchone() == before


@pytest.mark.parametrize(
    "persona", ["no_identity", "unsealed_admin", "forged_client", "forged_admin"]
)
def test_no_login_is_recorded_without_a_sealed_identity(
    superuser: psycopg.Connection, persona: str
) -> None:
    look = "SELECT array_agg(last_login ORDER BY id) FROM public.users"
    before = superuser.execute(look).fetchone()
    with superuser.transaction(force_rollback=True):
        superuser.execute("SET LOCAL SESSION AUTHORIZATION masstock_api")
        with acting_as(persona, superuser):
            superuser.execute("SELECT app.record_login()")
            superuser.execute("RESET SESSION AUTHORIZATION")
            assert superuser.execute(look).fetchone() == before


# --- live status ---------------------------------------------------------------------------------


def visible_rows(connection: psycopg.Connection) -> int:
    counts = [
        connection.execute(
            psycopg.sql.SQL("SELECT count(*) FROM public.{}").format(psycopg.sql.Identifier(table))
        ).fetchone()
        for table in READABLE
    ]
    names = connection.execute(
        "SELECT (SELECT count(*) FROM app.people) + (SELECT count(*) FROM app.workflow_names)"
    ).fetchone()
    return sum(count[0] for count in [*counts, names] if count)


@contextmanager
def changed(connection: psycopg.Connection, change: str, back: str, row: UUID) -> Iterator[None]:
    connection.execute(change, [row])
    try:
        yield
    finally:
        connection.execute(back, [row])


LOSSES = [
    pytest.param(
        user_id,
        f"UPDATE public.{table} SET status = '{status}' WHERE id = %s",
        f"UPDATE public.{table} SET status = 'active' WHERE id = %s",
        row,
        id=f"{status} {name}",
    )
    for status in SUSPENDED
    for name, user_id, table, row in (
        ("user", JOHN_OF_ACME, "users", JOHN_OF_ACME),
        ("client", JOHN_OF_ACME, "clients", ACME),
        ("admin", ADMIN, "users", ADMIN),
    )
]
DEMOTED = pytest.param(
    ADMIN,
    "UPDATE public.users SET role = 'client' WHERE id = %s",
    "UPDATE public.users SET role = 'admin' WHERE id = %s",
    ADMIN,
    id="demoted admin",
)


@pytest.mark.parametrize(("user_id", "change", "back", "row"), [*LOSSES, DEMOTED])
def test_a_user_who_lost_access_sees_no_row_in_an_open_transaction(
    session: Session,
    superuser: psycopg.Connection,
    user_id: UUID,
    change: str,
    back: str,
    row: UUID,
) -> None:
    connection = session("client")
    with connection.transaction(force_rollback=True):
        enter(connection, user_id)
        assert visible_rows(connection) > 0
        with changed(superuser, change, back, row):
            assert visible_rows(connection) == 0


@pytest.mark.parametrize(("user_id", "change", "back", "row"), [*LOSSES, DEMOTED])
def test_a_user_who_lost_access_cannot_begin_a_request(
    session: Session,
    superuser: psycopg.Connection,
    user_id: UUID,
    change: str,
    back: str,
    row: UUID,
) -> None:
    connection = session("client")
    with changed(superuser, change, back, row):
        with (
            connection.transaction(force_rollback=True),
            pytest.raises(psycopg.DatabaseError) as e,
        ):
            enter(connection, user_id)
        assert e.value.sqlstate == "MS403"


def test_a_demoted_admin_with_a_client_enters_as_a_client_user(
    session: Session, superuser: psycopg.Connection
) -> None:
    connection = session("client")
    demote = f"UPDATE public.users SET role = 'client', client_id = '{ACME}' WHERE id = %s"
    promote = "UPDATE public.users SET role = 'admin', client_id = NULL WHERE id = %s"
    with (
        changed(superuser, demote, promote, ADMIN),
        connection.transaction(force_rollback=True),
    ):
        enter(connection, ADMIN)
        assert connection.execute("SELECT current_user").fetchone() == ("masstock_api",)
        assert connection.execute("SELECT id FROM public.clients").fetchall() == [(ACME,)]


def test_a_client_user_without_a_client_cannot_enter(
    session: Session, superuser: psycopg.Connection
) -> None:
    connection = session("client")
    leave = "UPDATE public.users SET client_id = NULL WHERE id = %s"
    join = f"UPDATE public.users SET client_id = '{ACME}' WHERE id = %s"
    with changed(superuser, leave, join, JOHN_OF_ACME):
        with (
            connection.transaction(force_rollback=True),
            pytest.raises(psycopg.DatabaseError) as e,
        ):
            enter(connection, JOHN_OF_ACME)
        assert e.value.sqlstate == "MS403"


# --- the catalogue -------------------------------------------------------------------------------


def test_every_table_has_forced_row_security(superuser: psycopg.Connection) -> None:
    rows = superuser.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'p') AND NOT (relrowsecurity AND relforcerowsecurity)"
    ).fetchall()
    assert rows == []


def test_the_owner_sees_every_row_in_a_migration(superuser: psycopg.Connection) -> None:
    rows = superuser.execute(
        "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace"
        " AND c.relkind IN ('r', 'p') AND NOT EXISTS (SELECT FROM pg_policy p"
        " WHERE p.polrelid = c.oid AND p.polcmd = '*' AND p.polroles = ARRAY[c.relowner]"
        " AND pg_get_expr(p.polqual, c.oid) = 'true'"
        " AND pg_get_expr(p.polwithcheck, c.oid) = 'true')"
    ).fetchall()
    assert rows == []


def test_no_policy_applies_to_public(superuser: psycopg.Connection) -> None:
    rows = superuser.execute(
        "SELECT tablename, policyname FROM pg_policies"
        " WHERE schemaname = 'public' AND 'public' = ANY (roles)"
    ).fetchall()
    assert rows == []


def test_helpers_in_policies_run_once_per_statement(superuser: psycopg.Connection) -> None:
    # In a subquery it is an InitPlan, which runs once. Without one it is 30 to 750 times slower.
    rows = superuser.execute(
        "SELECT tablename, policyname, concat(qual, ' ', with_check) FROM pg_policies"
        " WHERE schemaname = 'public'"
    ).fetchall()
    for table, policy, text in rows:
        bare = text.replace("( SELECT app.", "")
        assert "app." not in bare, f"{table}: {policy}"


@pytest.mark.parametrize("role", [*RUNTIME_ROLES, "masstock_owner", "masstock_authz"])
def test_a_role_has_no_powers_beyond_its_grants(superuser: psycopg.Connection, role: str) -> None:
    row = superuser.execute(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication"
        " FROM pg_roles WHERE rolname = %s",
        [role],
    ).fetchone()
    assert row == (False,) * 5


@pytest.mark.parametrize("role", ["masstock_owner", "masstock_authz", "masstock_admin"])
def test_a_role_used_only_by_set_role_cannot_log_in(
    superuser: psycopg.Connection, role: str
) -> None:
    query = "SELECT rolcanlogin FROM pg_roles WHERE rolname = %s"
    assert superuser.execute(query, [role]).fetchone() == (False,)


@pytest.mark.parametrize("role", RUNTIME_ROLES)
def test_a_runtime_role_owns_nothing(superuser: psycopg.Connection, role: str) -> None:
    rows = superuser.execute(
        "SELECT classid::regclass, objid FROM pg_shdepend"
        " WHERE deptype = 'o' AND refclassid = 'pg_authid'::regclass AND refobjid = %s::regrole",
        [role],
    ).fetchall()
    assert rows == []


def test_the_api_can_enter_only_the_admin_role_and_inherits_none(
    superuser: psycopg.Connection,
) -> None:
    rows = superuser.execute(
        "SELECT m.rolname, r.rolname FROM pg_roles m, pg_roles r WHERE m.oid <> r.oid"
        " AND m.rolname IN ('masstock_api', 'masstock_admin', 'masstock_worker')"
        " AND pg_has_role(m.oid, r.oid, 'MEMBER')"
    ).fetchall()
    assert rows == [("masstock_api", "masstock_admin")]
    usage = "SELECT pg_has_role('masstock_api', 'masstock_admin', 'USAGE')"
    assert superuser.execute(usage).fetchone() == (False,)


def test_a_function_can_be_called_only_by_the_listed_roles(superuser: psycopg.Connection) -> None:
    rows = superuser.execute(
        "SELECT n.nspname || '.' || p.proname, array_agg(r.rolname::text)"
        f" FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace, pg_roles r"
        f" WHERE n.nspname NOT IN {SYSTEM_SCHEMAS} AND n.nspname <> 'auth'"
        " AND NOT r.rolsuper AND has_function_privilege(r.oid, p.oid, 'EXECUTE')"
        " AND NOT pg_has_role(r.oid, p.proowner, 'MEMBER')"
        " AND r.rolname NOT LIKE 'pg\\_%' GROUP BY 1"
    ).fetchall()
    assert {name: set(roles) for name, roles in rows} == {
        name: set(roles) for name, roles in RULES["functions"].items()
    }


def test_a_relation_outside_of_public_can_be_read_only_by_the_listed_roles(
    superuser: psycopg.Connection,
) -> None:
    rows = superuser.execute(
        "SELECT n.nspname || '.' || c.relname, array_agg(r.rolname::text)"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_roles r"
        f" WHERE n.nspname NOT IN {SYSTEM_SCHEMAS} AND n.nspname <> 'public'"
        " AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')"
        " AND NOT r.rolsuper AND NOT pg_has_role(r.oid, c.relowner, 'MEMBER')"
        " AND has_any_column_privilege(r.oid, c.oid, 'SELECT')"
        " AND r.rolname NOT IN ('pg_read_all_data', 'pg_write_all_data') GROUP BY 1"
    ).fetchall()
    assert {name: set(roles) for name, roles in rows} == {
        name: set(roles) for name, roles in RULES["relations"].items()
    }


def test_public_can_call_none_of_our_functions(superuser: psycopg.Connection) -> None:
    rows = superuser.execute(
        "SELECT p.oid::regprocedure::text FROM pg_proc p"
        " JOIN pg_namespace n ON n.oid = p.pronamespace"
        " CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a"
        f" WHERE n.nspname NOT IN {SYSTEM_SCHEMAS} AND n.nspname <> 'auth' AND a.grantee = 0"
    ).fetchall()
    assert rows == []


def test_definer_functions_pin_their_search_path(
    superuser: psycopg.Connection,
) -> None:
    rows = superuser.execute(
        "SELECT p.oid::regprocedure::text, p.proconfig FROM pg_proc p"
        " JOIN pg_namespace n ON n.oid = p.pronamespace"
        f" WHERE n.nspname NOT IN {SYSTEM_SCHEMAS} AND p.prosecdef"
    ).fetchall()
    assert len(rows) >= 5
    for function, settings in rows:
        assert 'search_path=""' in (settings or []), function


def test_no_role_can_create_an_object_that_shadows_a_table(superuser: psycopg.Connection) -> None:
    rows = superuser.execute(
        "SELECT r.role, 'TEMPORARY' FROM unnest(%(roles)s::text[]) AS r (role)"
        " WHERE has_database_privilege(r.role, current_database(), 'TEMPORARY')"
        " UNION ALL SELECT r.role, 'CREATE' FROM unnest(%(roles)s::text[]) AS r (role)"
        " WHERE has_database_privilege(r.role, current_database(), 'CREATE')"
        " UNION ALL SELECT r.role, n.nspname FROM unnest(%(roles)s::text[]) AS r (role),"
        " pg_namespace n WHERE has_schema_privilege(r.role, n.oid, 'CREATE')",
        {"roles": list(RUNTIME_ROLES)},
    ).fetchall()
    assert rows == []


@pytest.mark.parametrize("role", ["masstock_api", "masstock_worker"])
def test_the_search_path_has_temporary_relations_last(
    superuser: psycopg.Connection, role: str
) -> None:
    row = superuser.execute("SELECT rolconfig FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    assert row is not None
    assert "search_path=pg_catalog, public, pg_temp" in row[0]


@pytest.mark.parametrize("role", [*RUNTIME_ROLES, "service_role"])
def test_no_runtime_role_can_read_the_keys(superuser: psycopg.Connection, role: str) -> None:
    rows = superuser.execute(
        "SELECT has_schema_privilege(%(role)s, 'app_private', 'USAGE'),"
        " has_table_privilege(%(role)s, 'app_private.keys', 'SELECT')",
        {"role": role},
    ).fetchone()
    assert rows == (False, False)
