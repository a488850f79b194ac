"""sql/tools/migrate.py on real servers, with a login that may create roles and is no superuser."""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from local.processes.postgres import PostgresServer
from sql.tools import migrate
from sql.tools.migrate import HistoryEdited, MigrationFailed
from tests.support.databases import MIGRATOR, Server, Urls, connected
from tests.support.postgres_versions import OLDEST, PACKAGED, oldest_binaries
from tests.support.wire import Wire

pytestmark = pytest.mark.timeout(120)

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 30


@pytest.fixture(
    scope="module", params=[PACKAGED, OLDEST], ids=lambda version: f"PostgreSQL {version}"
)
def any_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The tests' server, and a server with the oldest supported PostgreSQL."""
    if request.param == PACKAGED:
        yield request.getfixturevalue("server")
        return
    postgres = PostgresServer(
        tmp_path_factory.mktemp("oldest"), fsync=False, binaries=oldest_binaries()
    )
    try:
        server = Server(postgres.start())
        assert server.version // 10000 == OLDEST
        yield server
    finally:
        postgres.destroy()


@pytest.fixture
def empty(any_server: Server) -> Iterator[Urls]:
    """An unmigrated database."""
    urls = any_server.create_empty_database()
    yield urls
    any_server.drop(urls)


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A directory with migrations made by the test."""
    write(tmp_path, "0001_things", "CREATE TABLE public.things (n integer);")
    write(tmp_path, "0002_one", "INSERT INTO public.things VALUES (1);")
    return tmp_path


def write(directory: Path, name: str, text: str) -> None:
    (directory / f"{name}.sql").write_text(text + "\n")


def rows(urls: Urls, query: str) -> list[tuple]:
    with connected(urls.superuser) as connection:
        return connection.execute(query.encode()).fetchall()


def things(urls: Urls) -> list[int]:
    return [n for (n,) in rows(urls, "SELECT n FROM public.things ORDER BY n")]


def applied(urls: Urls) -> list[str]:
    return [name for (name,) in rows(urls, "SELECT name FROM app_migrations.applied ORDER BY name")]


def fingerprint(urls: Urls) -> list[tuple]:
    """Every object, grant, policy, setting and history row that a migration can change."""
    return rows(
        urls,
        """
        SELECT 'class', oid::text, relname, relacl::text, xmin::text FROM pg_class
        WHERE relnamespace::regnamespace::text !~ '^pg_|^information'
        UNION ALL SELECT 'function', oid::text, proname, proacl::text, xmin::text FROM pg_proc
        WHERE pronamespace::regnamespace::text !~ '^pg_|^information'
        UNION ALL SELECT 'policy', oid::text, polname, polroles::text, xmin::text FROM pg_policy
        UNION ALL SELECT 'role', oid::text, rolname, rolsuper::text || rolcanlogin, NULL
        FROM pg_roles
        UNION ALL SELECT 'setting', setrole::text, setconfig::text, NULL, NULL
        FROM pg_db_role_setting
        UNION ALL SELECT 'member', roleid::text, member::text, admin_option::text, NULL
        FROM pg_auth_members
        UNION ALL SELECT 'schema', oid::text, nspname, nspacl::text, NULL FROM pg_namespace
        WHERE nspname !~ '^pg_'
        UNION ALL SELECT 'database', oid::text, datname, datacl::text, NULL FROM pg_database
        WHERE datname = current_database()
        UNION ALL SELECT 'applied', name, checksum, applied_at::text, xmin::text
        FROM app_migrations.applied ORDER BY 1, 2, 3, 4
        """,
    )


def wait_until(urls: Urls, condition: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    with connected(urls.superuser) as connection:
        query = f"SELECT FROM pg_stat_activity WHERE datname = current_database() AND {condition}"
        while connection.execute(query.encode()).rowcount == 0:
            assert time.monotonic() < deadline, condition
            time.sleep(0.02)


@contextlib.contextmanager
def migrating(urls: Urls, directory: Path, runners: int = 1) -> Iterator[list[Future[list[str]]]]:
    """Runs several migration runners in separate threads."""
    start = threading.Barrier(runners)

    def run() -> list[str]:
        start.wait(PATIENCE_SECONDS)
        return migrate.migrate(urls.migrator, directory=directory)

    with ThreadPoolExecutor(runners) as pool:
        yield [pool.submit(run) for _ in range(runners)]


# --- the migrations of this project -----------------------------------------------------------


def test_all_migrations_apply_with_a_login_that_is_not_a_superuser(empty: Urls) -> None:
    names = [migration.name for migration in migrate.read_migrations()]
    assert migrate.migrate(empty.migrator) == names
    assert applied(empty) == names
    assert rows(empty, f"SELECT rolsuper FROM pg_roles WHERE rolname = '{MIGRATOR}'") == [(False,)]


def test_running_twice_changes_nothing(empty: Urls) -> None:
    migrate.migrate(empty.migrator)
    before = fingerprint(empty)
    assert migrate.migrate(empty.migrator) == []
    assert fingerprint(empty) == before


def test_rows_of_an_earlier_release_survive_the_bounds_of_the_ledger(
    empty: Urls, tmp_path: Path
) -> None:
    for path in sorted(migrate.MIGRATIONS.glob("*.sql")):
        if path.name < "0024":
            shutil.copy(path, tmp_path)
    migrate.migrate(empty.migrator, directory=tmp_path)
    migrate.load_seed(empty.migrator)
    negative = (
        "INSERT INTO public.spend_ledger (client_id, execution_id, month, charged_microusd)"
        " SELECT id, gen_random_uuid(), '2026-11-01', -5 FROM public.clients LIMIT 1"
    )
    with connected(empty.superuser) as connection:
        connection.execute(negative.encode())
    before = rows(empty, "SELECT * FROM public.spend_ledger ORDER BY id")
    migrate.migrate(empty.migrator)
    after = rows(empty, "SELECT * FROM public.spend_ledger ORDER BY id")
    # Later migrations add columns at the end.
    assert [row[: len(before[0])] for row in after] == before
    query = "SELECT bool_and(prompt_index = batch_index) FROM public.workflow_batch_results"
    assert rows(empty, query) == [(True,)]
    # The bound holds for every new row.
    with connected(empty.superuser) as connection, pytest.raises(psycopg.Error) as refused:
        connection.execute(negative.encode())
    assert refused.value.sqlstate == "23514"


def test_a_dry_run_lists_the_migrations_and_applies_none(empty: Urls) -> None:
    names = [migration.name for migration in migrate.read_migrations()]
    assert migrate.migrate(empty.migrator, dry_run=True) == names
    assert rows(empty, "SELECT FROM pg_namespace WHERE nspname LIKE 'app%'") == []
    assert rows(empty, "SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []


# --- a history that differs from the applied one ----------------------------------------------


def edit(directory: Path) -> None:
    write(directory, "0002_one", "INSERT INTO public.things VALUES (2);")


def lose(directory: Path) -> None:
    (directory / "0002_one.sql").unlink()


def insert_before(directory: Path) -> None:
    write(directory, "0001_zeroth", "INSERT INTO public.things VALUES (0);")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit, "0002_one was edited after it was applied; add a new migration"),
        (lose, "0002_one was applied to this database but its file is gone"),
        (insert_before, "0001_zeroth would run after 0002_one; give it a later number"),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True], ids=["", "dry run"])
def test_a_changed_history_is_refused_before_any_migration(
    empty: Urls, history: Path, change: object, message: str, dry_run: bool
) -> None:
    migrate.migrate(empty.migrator, directory=history)
    write(history, "0003_three", "INSERT INTO public.things VALUES (3);")
    before = fingerprint(empty)
    assert callable(change)
    change(history)
    with pytest.raises(HistoryEdited) as refusal:
        migrate.migrate(empty.migrator, directory=history, dry_run=dry_run)
    assert str(refusal.value) == message
    assert things(empty) == [1]
    assert fingerprint(empty) == before


# --- several at once --------------------------------------------------------------------------


def test_simultaneous_runners_apply_each_migration_once(empty: Urls, history: Path) -> None:
    write(history, "0003_slow", "SELECT pg_sleep(0.3); INSERT INTO public.things VALUES (3);")
    with migrating(empty, history, runners=4) as runs:
        outcomes = sorted((run.result(PATIENCE_SECONDS) for run in runs), key=len)
    assert outcomes == [[], [], [], ["0001_things", "0002_one", "0003_slow"]]
    assert things(empty) == [1, 3]


def test_a_waiting_runner_does_not_block_a_concurrent_index_build(
    empty: Urls, history: Path
) -> None:
    migrate.migrate(empty.migrator, directory=history)
    write(
        history,
        "0003_index",
        "-- no transaction\nSELECT pg_sleep(1);\n"
        "CREATE INDEX CONCURRENTLY things_n ON public.things (n);",
    )
    reports: list[str] = []
    with migrating(empty, history) as [first]:
        wait_until(
            empty, "query LIKE '%pg_sleep(1)%' AND state = 'active' AND pid <> pg_backend_pid()"
        )
        second = migrate.migrate(empty.migrator, directory=history, report=reports.append)
        assert (first.result(PATIENCE_SECONDS), second) == (["0003_index"], [])
    assert reports == ["waiting for another migrator"]


# --- failures ---------------------------------------------------------------------------------


def test_a_failed_migration_is_undone_and_the_next_run_continues(
    empty: Urls, history: Path
) -> None:
    write(history, "0003_fails", "INSERT INTO public.things VALUES (3); SELECT 1 / 0;")
    write(history, "0004_four", "INSERT INTO public.things VALUES (4);")
    reports: list[str] = []
    with pytest.raises(MigrationFailed, match=r"^0003_fails failed: division by zero"):
        migrate.migrate(empty.migrator, directory=history, report=reports.append)
    assert reports == ["applied 0001_things", "applied 0002_one"]
    assert applied(empty) == ["0001_things", "0002_one"]
    assert things(empty) == [1]

    write(history, "0003_fails", "INSERT INTO public.things VALUES (3);")
    assert migrate.migrate(empty.migrator, directory=history) == ["0003_fails", "0004_four"]
    assert things(empty) == [1, 3, 4]


def test_an_index_can_be_built_concurrently_and_its_failure_repaired(
    empty: Urls, history: Path
) -> None:
    write(history, "0003_again", "INSERT INTO public.things VALUES (1);")
    write(
        history,
        "0004_unique",
        "-- no transaction\n"
        "DROP INDEX CONCURRENTLY IF EXISTS public.things_n;\n"
        "CREATE UNIQUE INDEX CONCURRENTLY things_n ON public.things (n);",
    )
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('public.things_n')"
    with pytest.raises(MigrationFailed, match=r"^0004_unique failed: could not create"):
        migrate.migrate(empty.migrator, directory=history)
    assert rows(empty, valid) == [(False,)]
    assert "0004_unique" not in applied(empty)

    with connected(empty.migrator) as connection:
        connection.execute("DELETE FROM public.things")
    assert migrate.migrate(empty.migrator, directory=history) == ["0004_unique"]
    assert rows(empty, valid) == [(True,)]
    assert migrate.migrate(empty.migrator, directory=history) == []


def test_a_connection_lost_during_a_migration_leaves_no_part_of_it(
    empty: Urls, history: Path
) -> None:
    write(history, "0003_long", "INSERT INTO public.things VALUES (3); SELECT pg_sleep(600);")
    with migrating(empty, history) as [run]:
        wait_until(empty, "wait_event = 'PgSleep'")
        rows(
            empty,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event = 'PgSleep'",
        )
        with pytest.raises(MigrationFailed, match=r"^0003_long may not have been applied: "):
            run.result(PATIENCE_SECONDS)
    assert things(empty) == [1]
    write(history, "0003_long", "INSERT INTO public.things VALUES (3);")
    assert migrate.migrate(empty.migrator, directory=history) == ["0003_long"]
    assert things(empty) == [1, 3]


@pytest.mark.parametrize(
    ("cue", "missing"),
    [(b"INSERT INTO app_migrations", ["0002_one"]), (b"COMMIT", [])],
    ids=["before the commit", "with the commit's answer"],
)
def test_a_connection_lost_at_the_commit_leaves_all_or_nothing(
    empty: Urls, history: Path, cue: bytes, missing: list[str]
) -> None:
    with Wire(empty.migrator) as wire:

        def cut_the_second(line: str) -> None:
            if line == "applied 0001_things":
                wire.cut_after(cue)

        with pytest.raises(MigrationFailed, match=r"^0002_one may not have been applied: "):
            migrate.migrate(wire.url, directory=history, report=cut_the_second)
    assert migrate.migrate(empty.migrator, directory=history) == missing
    assert things(empty) == [1]


def test_a_killed_runner_does_not_block_the_others(empty: Urls, history: Path) -> None:
    write(history, "0003_long", "INSERT INTO public.things VALUES (3); SELECT pg_sleep(600);")
    program = (
        "import pathlib, sys; from sql.tools import migrate; migrate.SERVER_LOOKS = '100ms'; "
        "migrate.migrate(sys.argv[1], directory=pathlib.Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", program, empty.migrator, str(history)]
    with subprocess.Popen(command, cwd=ROOT) as killed:
        try:
            wait_until(empty, "wait_event = 'PgSleep'")
        finally:
            killed.kill()
    write(history, "0003_long", "INSERT INTO public.things VALUES (3);")
    with migrating(empty, history) as [run]:
        assert run.result(PATIENCE_SECONDS) == ["0003_long"]
    assert things(empty) == [1, 3]


# --- the command ------------------------------------------------------------------------------


def run_make(database_url: str | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    if database_url is not None:
        environment["DATABASE_URL"] = database_url
    return subprocess.run(
        ["make", "--no-print-directory", "migrate", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_lists_the_applied_migrations(server: Server) -> None:
    names = [migration.name for migration in migrate.read_migrations()]
    urls = server.create_empty_database()
    try:
        dry = run_make(urls.migrator, "DRY_RUN=1")
        assert (dry.returncode, dry.stdout.splitlines()) == (0, [f"would apply {n}" for n in names])
        first = run_make(None, f"DATABASE_URL={urls.migrator}")
        assert (first.returncode, first.stdout.splitlines()) == (0, [f"applied {n}" for n in names])
        again = run_make(urls.migrator)
        assert (again.returncode, again.stdout) == (0, "nothing to apply\n")
    finally:
        server.drop(urls)


def test_a_failed_command_prints_its_reason_in_one_line() -> None:
    unset = run_make(None)
    assert unset.returncode != 0
    assert unset.stderr.splitlines()[0] == "migrate: set DATABASE_URL"
    unreachable = run_make("postgresql://someone:the-password@127.0.0.1:1/nowhere")
    assert unreachable.returncode != 0
    assert unreachable.stderr.startswith("migrate: connection failed: ")
    assert "the-password" not in unreachable.stderr + unreachable.stdout
    assert "Traceback" not in unreachable.stderr
