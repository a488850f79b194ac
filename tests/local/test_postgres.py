"""The embedded PostgreSQL runs for every user in every directory, and survives SIGKILL."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from local.errors import StackError
from local.processes.postgres import PostgresServer
from local.settings import ROOT

pytestmark = pytest.mark.timeout(60)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root must drop its privileges")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory below a private one. All tests share it, because unpacking takes time."""
    private = tmp_path_factory.mktemp("postgres") / "private"
    private.mkdir(mode=0o700)
    yield private / "checkout" / "postgres"
    PostgresServer(private / "checkout" / "postgres").destroy()


def execute(url: str, statement: str) -> list[tuple]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)  # pyright: ignore
        return cursor.fetchall() if cursor.description else []


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_server_is_private_and_keeps_its_data(directory: Path) -> None:
    with PostgresServer(directory) as url:
        execute(url, "CREATE TABLE kept AS SELECT 1 AS one")
        settings = execute(
            url,
            "SELECT current_setting('listen_addresses'),"
            " current_setting('unix_socket_directories'), current_setting('fsync'),"
            " current_setting('max_connections'),"
            " current_setting('server_version_num')::int / 10000",
        )
        assert settings == [("127.0.0.1", "", "on", "200", 18)]
        with pytest.raises(psycopg.OperationalError):
            execute(url.replace("postgres:", "postgres:wrong", 1), "SELECT 1")
    with PostgresServer(directory, fsync=False) as url:
        assert execute(url, "SELECT one FROM kept") == [(1,)]
        assert execute(url, "SELECT current_setting('fsync')") == [("off",)]


def test_committed_data_survives_sigkill(directory: Path) -> None:
    server = PostgresServer(directory)
    url = server.start()
    execute(url, "CREATE TABLE committed AS SELECT 1 AS one")
    assert server.process is not None
    server.process.send_signal(signal.SIGKILL)
    server.process.wait(10)
    assert execute(server.start(), "SELECT one FROM committed") == [(1,)]
    server.stop()


def test_the_server_starts_over_a_pid_file_of_another_living_process(directory: Path) -> None:
    server = PostgresServer(directory)
    server.start()
    server.stop()
    pid_file = server.home / "data" / "postmaster.pid"
    pid_file.write_text(f"{os.getppid()}\n{server.home / 'data'}\n")
    execute(server.start(), "SELECT 1")
    server.stop()


def test_the_server_ends_with_the_process_that_started_it(directory: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path\n"
        "from local.processes.postgres import PostgresServer\n"
        "server = PostgresServer(Path(sys.argv[1])); server.start()\n"
        "print(server.process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(directory)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.kill()
    wait_until_gone(pid)


@needs_root
def test_root_changes_no_permission_of_existing_directories(directory: Path) -> None:
    before = stat.S_IMODE(directory.parent.parent.stat().st_mode)
    server = PostgresServer(directory)
    server.start()
    try:
        assert server.process is not None
        assert Path(f"/proc/{server.process.pid}").stat().st_uid != 0
        assert stat.S_IMODE((server.home / "data").stat().st_mode) == 0o700
        assert stat.S_IMODE(directory.parent.parent.stat().st_mode) == before == 0o700
    finally:
        server.stop()


@needs_root
def test_the_cluster_of_a_deleted_directory_is_replaced(directory: Path) -> None:
    server = PostgresServer(directory)
    execute(server.start(), "CREATE TABLE old (i int)")
    server.stop()
    for path in directory.iterdir():
        path.unlink()
    successor = PostgresServer(directory)
    url = successor.start()
    try:
        assert execute(url, "SELECT to_regclass('old')") == [(None,)]
    finally:
        successor.stop()


def test_destroy_deletes_every_directory(directory: Path) -> None:
    server = PostgresServer(directory)
    server.start()
    server.destroy()
    assert not server.home.exists()
    assert not directory.exists()


@needs_root
def test_a_directory_of_another_user_is_not_used(directory: Path, tmp_path: Path) -> None:
    server = PostgresServer(directory)
    server.home.symlink_to(tmp_path)
    try:
        with pytest.raises(StackError, match="belongs to another user"):
            server.start()
    finally:
        server.home.unlink()
