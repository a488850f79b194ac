"""A Supabase project: the migrations change nothing of Supabase's, its API shows the same rows as
ours, and existing tables are adopted with every row."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from local.processes.postgres import PostgresServer
from masstock.database.connection import Database
from masstock.database.tenants import TenantReader
from masstock.services.tokens import Principal
from sql.tools import migrate
from sql.tools.baseline import TABLES, CannotAdopt
from sql.tools.identity_key import install_identity_key
from tests.support.databases import IDENTITY_KEY, connected
from tests.support.postgres_versions import OLDEST, PACKAGED, oldest_binaries

pytestmark = pytest.mark.timeout(120)

type Rows = dict[str, str]
type Fresh = tuple["Project", list[tuple]]
type Adopted = tuple["Project", Rows, Rows]

HERE = Path(__file__).parent
FIRST = (HERE.parents[1] / "sql/migrations/0001_create_seed_tables.sql").read_text()
PASSWORD = "password"
# An older project lacks the indexes that the document lists under "Performance Indexes".
LACKING = ("idx_users_updated_at", "idx_workflows_updated_at", "idx_support_tickets_priority")


@dataclass(frozen=True, slots=True)
class Project:
    """One database of a server shaped like Supabase's. `owner` is the superuser's URL."""

    owner: str

    def url(self, login: str) -> str:
        parts = urlsplit(self.owner)
        netloc = f"{login}:{PASSWORD}@{parts.netloc.rpartition('@')[2]}"
        return parts._replace(netloc=netloc).geturl()

    @property
    def developer(self) -> str:
        return self.url("developer")

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with connected(self.owner) as connection:
            return connection.execute(query.encode(), values or None).fetchall()

    def run(self, script: str, login: str = "developer") -> None:
        with psycopg.connect(self.url(login)) as connection:
            connection.execute(script.encode())

    @contextmanager
    def signed_in(self, user: UUID, login: str = "authenticator") -> Iterator[psycopg.Connection]:
        """A transaction as PostgREST or the storage API begins it after verifying the token.
        Realtime does the same to ask which subscriber may see a changed row."""
        claims = Jsonb({"sub": str(user), "role": "authenticated", "aud": "authenticated"})
        with psycopg.connect(self.url(login)) as connection:
            connection.execute(
                "SELECT set_config('role', 'authenticated', true),"
                " set_config('request.jwt.claims', %s::text, true)",
                [claims],
            )
            yield connection


@pytest.fixture(
    scope="module", params=[PACKAGED, OLDEST], ids=lambda version: f"PostgreSQL {version}"
)
def supabase(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of a new project's database. The tests copy it."""
    binaries = None if request.param == PACKAGED else oldest_binaries()
    directory = tmp_path_factory.mktemp("supabase")
    postgres = PostgresServer(directory, fsync=False, binaries=binaries)
    try:
        url = postgres.start()
        with connected(url) as connection:
            connection.execute("CREATE DATABASE template_database")
        template = urlsplit(url)._replace(path="/template_database").geturl()
        with connected(template) as connection:
            connection.execute((HERE / "supabase.sql").read_bytes())
        yield template
    finally:
        postgres.destroy()


def copy(template: str, name: str) -> Project:
    with connected(urlsplit(template)._replace(path="/postgres").geturl()) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER developer TEMPLATE template_database").format(
                sql.Identifier(name)
            )
        )
    return Project(urlsplit(template)._replace(path=f"/{name}").geturl())


@pytest.fixture(scope="module")
def fresh(supabase: str) -> Fresh:
    """A new project after the migrations, and Supabase's objects before them."""
    project = copy(supabase, "fresh")
    before = theirs(project)
    migrate.migrate(project.developer)
    prepare_api(project)
    project.run((HERE / "seed_rows.sql").read_text())
    return project, before


@pytest.fixture(scope="module")
def adopted(supabase: str) -> Adopted:
    """A migrated project that followed the document exactly, and the fingerprints of its rows
    before and after the migrations."""
    project = seeded(supabase, "adopted")
    before = fingerprints(project)
    assert migrate.migrate(project.developer, baseline=True)[0] == "0001_create_seed_tables"
    after = fingerprints(project)
    prepare_api(project)
    return project, before, after


def seeded(template: str, name: str) -> Project:
    project = copy(template, name)
    tables = re.sub(r"(?m)^(SET LOCAL|RESET) ROLE.*$", "", FIRST)
    tables = tables.replace("gen_random_uuid()", "extensions.uuid_generate_v4()")
    for index in LACKING:
        tables, found = re.subn(rf"(?m)^CREATE INDEX {index}\b.*;$", "", tables)
        assert found == 1
    for script in (
        tables,
        *((HERE / f"seed_{part}.sql").read_text() for part in ("policies", "rows")),
    ):
        project.run(script)
    return project


def prepare_api(project: Project) -> None:
    install_identity_key(project.developer, IDENTITY_KEY)
    with connected(project.owner) as connection:
        connection.execute(f"ALTER ROLE masstock_api PASSWORD '{PASSWORD}'")


@pytest.fixture(params=["fresh", "adopted"])
def project(
    request: pytest.FixtureRequest,
    fresh: Fresh,
    adopted: Adopted,
) -> Project:
    return {"fresh": fresh, "adopted": adopted}[request.param][0]


def theirs(project: Project) -> list[tuple]:
    """Every object, grant, row and role of Supabase."""
    return project.rows(
        """
        WITH schemas AS (
            SELECT oid FROM pg_namespace WHERE nspname IN ('auth', 'storage', 'extensions'))
        SELECT 'schema', nspname, nspacl::text, nspowner::regrole::text FROM pg_namespace
        WHERE oid IN (SELECT oid FROM schemas)
        UNION ALL SELECT 'relation', oid::regclass::text, relacl::text,
            concat(relowner::regrole, relrowsecurity, relforcerowsecurity)
        FROM pg_class WHERE relnamespace IN (SELECT oid FROM schemas)
        UNION ALL SELECT 'column', attrelid::regclass::text, attname, attacl::text
        FROM pg_attribute WHERE attrelid IN (
            SELECT oid FROM pg_class WHERE relnamespace IN (SELECT oid FROM schemas))
        UNION ALL SELECT 'function', oid::regprocedure::text, prosrc,
            concat(proowner::regrole, proacl)
        FROM pg_proc WHERE pronamespace IN (SELECT oid FROM schemas)
        UNION ALL SELECT 'policy', polname, pg_get_expr(polqual, polrelid), polroles::text
        FROM pg_policy
        WHERE polrelid = 'storage.objects'::regclass AND polname = 'Avatars are public'
        UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname, NULL
        FROM pg_trigger WHERE NOT tgisinternal AND tgrelid::regclass::text ~ '^(auth|storage)'
        UNION ALL SELECT 'default', defaclrole::regrole::text, defaclobjtype::text, defaclacl::text
        FROM pg_default_acl
        UNION ALL SELECT 'role', rolname, concat(rolsuper, rolinherit, rolcreaterole, rolcanlogin,
            rolbypassrls), rolconfig::text FROM pg_roles
        WHERE rolname !~ '^(pg_|masstock_)'
        UNION ALL SELECT 'member', roleid::regrole::text, member::regrole::text, admin_option::text
        FROM pg_auth_members WHERE concat(roleid::regrole, member::regrole) !~ 'masstock_|^pg_'
        UNION ALL SELECT 'user', id::text, email, NULL FROM auth.users
        UNION ALL SELECT 'bucket', id, name, public::text FROM storage.buckets
        ORDER BY 1, 2, 3, 4
        """
    )


def fingerprints(project: Project) -> Rows:
    """Maps each table to a hash of all values in the document's columns."""
    found = {}
    for table in TABLES:
        columns = re.search(rf"CREATE TABLE public\.{table} \((.*?)\n\);", FIRST, re.DOTALL)
        assert columns
        names = ", ".join(re.findall(r"(?m)^    ([a-z_]+) ", columns[1]))
        [(found[table],)] = project.rows(
            f"SELECT md5(string_agg(r::text, '|' ORDER BY r.id))"
            f" FROM (SELECT {names} FROM public.{table}) r"
        )
    return found


# --- both -----------------------------------------------------------------------------------------


def people(project: Project) -> dict[str, UUID]:
    return dict(
        project.rows(
            """
            SELECT DISTINCT ON (kind) kind, id FROM (
                SELECT id, CASE WHEN role = 'admin' THEN 'admin' ELSE
                    (SELECT c.status || ' ' || c.name FROM public.clients c WHERE c.id = client_id)
                    END AS kind
                FROM public.users) u
            WHERE kind IN ('admin', 'active Client 1', 'active Client 2', 'suspended Client 7')
            ORDER BY kind, id
            """
        )
    )


def test_supabases_api_shows_the_same_rows_as_ours(project: Project, vault: dict[str, str]) -> None:
    vault["supabase"] = project.url("masstock_api")
    database = Database("supabase")
    users = people(project)
    assert len(users) == 4
    for kind, user in users.items():
        for table in TABLES:
            query = f"SELECT id FROM public.{table} ORDER BY id"
            with project.signed_in(user) as connection:
                there = [row[0] for row in connection.execute(query.encode())]
            if kind.startswith("suspended"):
                # Our api refuses this user.
                assert there == []
                continue
            reader = TenantReader(database, Principal(user, 0), IDENTITY_KEY)
            here = [row["id"] for row in reader.fetch_all(query)]  # type: ignore[arg-type]
            assert there == here, f"{kind}: {table}"
            assert here
    database.close()


def test_realtime_shows_a_subscriber_the_rows_of_the_own_client(project: Project) -> None:
    query = b"SELECT client_id, id FROM public.workflow_batch_results ORDER BY id"
    for kind, user in people(project).items():
        with project.signed_in(user, "supabase_admin") as connection:
            shown = connection.execute(query).fetchall()
        with project.signed_in(user) as connection:
            assert connection.execute(query).fetchall() == shown
        assert bool(shown) != kind.startswith("suspended")
        if kind.startswith("active"):
            assert len({client for client, _ in shown}) == 1


def test_only_the_client_and_admins_see_its_files(project: Project) -> None:
    users = people(project)
    [(all_files,)] = project.rows("SELECT count(*) FROM storage.objects")
    for login in ("authenticator", "supabase_storage_admin"):
        seen = {}
        for kind, user in users.items():
            with project.signed_in(user, login) as connection:
                rows = connection.execute("SELECT bucket_id, name FROM storage.objects").fetchall()
            assert ("avatars", "someone/face.png") in rows
            seen[kind] = {name for bucket, name in rows if bucket == "workflow-results"}
        assert len(seen["admin"]) == all_files - 1
        assert seen["suspended Client 7"] == set()
        first, second = seen["active Client 1"], seen["active Client 2"]
        assert first
        assert second
        assert not first & second
        folders = {name.partition("/")[0] for name in first}
        owners = project.rows(
            "SELECT DISTINCT u.client_id = e.client_id"
            " FROM public.workflow_executions e, public.users u"
            " WHERE e.id::text = ANY(%s) AND u.id = %s",
            list(folders),
            users["active Client 1"],
        )
        assert owners == [(True,)]


def test_without_signing_in_no_row_is_visible(project: Project) -> None:
    for role in ("anon", "authenticated"):
        for table in TABLES:
            with psycopg.connect(project.url("authenticator")) as connection:
                connection.execute(f"SET LOCAL ROLE {role}".encode())
                try:
                    rows = connection.execute(f"SELECT FROM public.{table}".encode()).rowcount
                except psycopg.errors.InsufficientPrivilege:
                    rows = 0
                assert rows == 0, f"{role}: {table}"


def test_claims_set_by_the_apis_login_give_no_identity(project: Project) -> None:
    [admin] = [user for kind, user in people(project).items() if kind == "admin"]
    with psycopg.connect(project.url("masstock_api")) as connection:
        connection.execute(
            "SELECT set_config('request.jwt.claims', %s::text, true)", [Jsonb({"sub": str(admin)})]
        )
        assert connection.execute("SELECT app.uid(), app.is_admin()").fetchone() == (None, False)


def test_supabases_client_users_can_write_what_the_document_allows(project: Project) -> None:
    user = people(project)["active Client 1"]
    with project.signed_in(user) as connection:
        connection.execute(
            "INSERT INTO public.support_tickets (client_id, user_id, subject, description)"
            " SELECT client_id, id, 'via PostgREST', 'fine' FROM public.users"
        )
        connection.rollback()
    for forbidden in (
        "UPDATE public.workflow_requests SET status = 'approved'",
        "UPDATE public.users SET role = 'admin'",
        "UPDATE public.workflow_executions SET status = 'completed'",
        "DELETE FROM public.workflow_batch_results",
        "TRUNCATE public.support_tickets",
    ):
        with (
            project.signed_in(user) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(forbidden.encode())


def test_running_twice_changes_nothing(project: Project) -> None:
    assert migrate.migrate(project.developer) == []


# --- a new project --------------------------------------------------------------------------------


def test_the_migrations_change_nothing_of_supabases(fresh: Fresh) -> None:
    project, before = fresh
    assert theirs(project) == before


def test_the_documents_storage_policies_are_created(fresh: Fresh) -> None:
    project, _ = fresh
    policies = project.rows(
        "SELECT polname, polcmd, polroles::regrole[]::text FROM pg_policy"
        " WHERE polrelid = 'storage.objects'::regclass ORDER BY polname"
    )
    assert policies == [
        ("Admins can access all files", "r", "{authenticated}"),
        ("Avatars are public", "r", "{-}"),
        ("Clients can access their results", "r", "{authenticated}"),
    ]


# --- adopted --------------------------------------------------------------------------------------


def test_adopting_keeps_every_row(adopted: Adopted) -> None:
    project, before, after = adopted
    assert after == before
    assert all(before.values())
    [(results, with_client)] = project.rows(
        "SELECT count(*), count(client_id) FROM public.workflow_batch_results"
    )
    assert results == with_client > 100
    [(counted,)] = project.rows("SELECT sum(executions) FROM app_private.executions_by_client")
    [(executions,)] = project.rows("SELECT count(*) FROM public.workflow_executions")
    assert counted == executions


def catalogue(project: Project) -> list[tuple]:
    """Everything in public, app and app_private that the migrations define."""
    return project.rows(
        """
        WITH schemas AS (
            SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'app', 'app_private'))
        SELECT 'relation', oid::regclass::text,
            concat(relkind, relowner::regrole, relrowsecurity, relforcerowsecurity),
            (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(relacl) a
             WHERE a::text !~ '^(developer|service_role)=')
        FROM pg_class WHERE relnamespace IN (SELECT oid FROM schemas)
        UNION ALL SELECT 'column', attrelid::regclass || '.' || attname,
            concat(format_type(atttypid, atttypmod), attnotnull,
                   pg_get_expr(adbin, adrelid)), attacl::text
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relnamespace IN (SELECT oid FROM schemas) AND attnum > 0 AND relkind IN ('r', 'v')
        UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace IN (SELECT oid FROM schemas) AND contype <> 'n'
        UNION ALL SELECT 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid), NULL
        FROM pg_index JOIN pg_class c ON c.oid = indexrelid
        WHERE relnamespace IN (SELECT oid FROM schemas)
        UNION ALL SELECT 'policy', polrelid::regclass::text, polname,
            concat(polcmd, polroles::regrole[], pg_get_expr(polqual, polrelid),
                   pg_get_expr(polwithcheck, polrelid))
        FROM pg_policy WHERE polrelid::regclass::text !~ '^storage'
        UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid)
        FROM pg_trigger WHERE NOT tgisinternal
        ORDER BY 1, 2, 3, 4
        """
    )


def test_an_adopted_database_equals_a_new_one(fresh: Fresh, adopted: Adopted) -> None:
    """Missing indexes are added. Recursive policies, triggers, grants and foreign defaults are
    removed."""
    assert catalogue(adopted[0]) == catalogue(fresh[0])


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ("DROP TABLE public.support_tickets", "support_tickets.id is missing"),
        ("ALTER TABLE public.clients DROP COLUMN email", "clients.email is missing"),
        (
            "ALTER TABLE public.workflows ALTER config DROP DEFAULT, ALTER config TYPE text",
            "workflows.config is text, not jsonb",
        ),
    ],
)
def test_another_kind_of_database_is_refused_and_unchanged(
    supabase: str, damage: str, complaint: str
) -> None:
    project = seeded(supabase, f"damaged_{abs(hash(damage))}")
    project.run(damage)
    before = catalogue(project)
    with pytest.raises(CannotAdopt, match=complaint):
        migrate.migrate(project.developer, baseline=True)
    assert catalogue(project) == before
    with pytest.raises(migrate.MigrationFailed, match="already exists"):
        migrate.migrate(project.developer)


def test_a_database_is_adopted_once(adopted: Adopted) -> None:
    assert migrate.migrate(adopted[0].developer, baseline=True) == []
