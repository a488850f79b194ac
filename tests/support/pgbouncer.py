"""A real PgBouncer in transaction mode, between the functions and PostgreSQL."""

import os
import shutil
import signal
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from local.processes import children
from local.processes.children import HOST
from local.processes.postgres import unprivileged_account
from tests.support import debian
from tests.support.databases import PASSWORD

# Long enough for a busy machine. A lost session would block forever.
PATIENCE_SECONDS = 60
# Prefixes of the names of Debian packages that PgBouncer needs.
LIBRARIES = ("libevent-2", "libc-ares")


class PgBouncer:
    """A running PgBouncer with one pool of `size` connections for each login of one database."""

    def __init__(self, database_url: str, size: int) -> None:
        program = find_pgbouncer()
        parts = urlsplit(database_url)
        # PgBouncer refuses to run as root, and only root can read the tests' directory.
        self._directory = Path(tempfile.mkdtemp(prefix="masstock-pgbouncer-", dir="/var/tmp"))
        self.port = children.free_port()
        (self._directory / "users.txt").write_text(
            f'"masstock_api" "{PASSWORD}"\n"masstock_worker" "{PASSWORD}"\n'
        )
        configuration = self._directory / "pgbouncer.ini"
        configuration.write_text(
            f"""
            [databases]
            {parts.path[1:]} = host={parts.hostname} port={parts.port}
            [pgbouncer]
            listen_addr = {HOST}
            listen_port = {self.port}
            unix_socket_dir =
            auth_type = scram-sha-256
            auth_file = {self._directory}/users.txt
            admin_users = masstock_worker
            pool_mode = transaction
            default_pool_size = {size}
            max_client_conn = 1000
            query_wait_timeout = {PATIENCE_SECONDS}
            """.replace("            ", "")
        )
        account = unprivileged_account() if os.geteuid() == 0 else None
        if account:
            program = self._within_reach(program)
            for path in (self._directory, *self._directory.iterdir()):
                os.chown(path, *account)
        self.log = self._directory / "log"
        self._process = children.spawn(
            [str(program.path), str(configuration)],
            log=self.log,
            env=program.variables,
            account=account,
        )
        if not children.wait_for_listener(self.port, self._process, 15):
            pytest.fail(f"PgBouncer did not start: {self.log.read_text()[-500:]}")

    def _within_reach(self, program: debian.Program) -> debian.Program:
        """A copy of the program for an account that cannot read the checkout."""
        libraries = Path(program.variables["LD_LIBRARY_PATH"])
        copied = self._directory / libraries.name
        if libraries.exists():
            shutil.copytree(libraries, copied)
        variables = {**program.variables, "LD_LIBRARY_PATH": str(copied)}
        return debian.Program(Path(shutil.copy(program.path, self._directory)), variables)

    def url(self, database_url: str) -> str:
        """The URL of the same login and database, through the pool."""
        parts = urlsplit(database_url)
        login = parts.netloc.rpartition("@")[0]
        return parts._replace(netloc=f"{login}@{HOST}:{self.port}").geturl()

    def stop(self) -> None:
        children.end(self._process, signal.SIGTERM, 5)
        children.release_port(self.port)
        shutil.rmtree(self._directory)


def find_pgbouncer() -> debian.Program:
    """PgBouncer's program. Skips the test if it is unavailable."""
    try:
        return debian.find_program("pgbouncer", ["pgbouncer"], LIBRARIES)
    except debian.ProgramUnavailable as error:
        pytest.skip(str(error))


def backends(superuser: str, login: str) -> int:
    """The number of PostgreSQL sessions of `login`."""
    with psycopg.connect(superuser) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE usename = %s AND datname = current_database()",
            [login],
        ).fetchone()
    assert row is not None
    return row[0]
