"""Applies sql/migrations in order.

    DATABASE_URL=… python -m sql.tools.migrate [--dry-run] [--baseline]

Needs a direct connection (no transaction pooler) with a login that may create roles; a superuser
is not necessary. A lock lets one migrator (a process of this program) work at a time. The others
wait, then find nothing to do.
"""

import argparse
import hashlib
import os
import re
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString, cast

import psycopg

from sql.tools.baseline import CannotAdopt, adopt

SQL = Path(__file__).parents[1]
MIGRATIONS = SQL / "migrations"
# b"masstock" as a 64-bit integer: a constant that no other program uses.
LOCK = int.from_bytes(b"masstock", "big")
LOCK_POLL_SECONDS = 0.2
# The interval at which the server checks if the connection is alive. Without these checks, the lock
# of a lost migrator would stay until its statement ends.
SERVER_LOOKS = "10s"


class HistoryEdited(Exception):
    """An applied migration is missing or has another text, or a new file would run before it."""


class MigrationFailed(Exception):
    """A migration raised an error or lost its connection; earlier migrations are applied."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. It applies completely or not at all, unless its first line is `-- no transaction`.
    Then its statements run one by one; each must end its line with `;`. Such a file can stop at any
    statement, so it must be safe to run again. For example, DROP INDEX CONCURRENTLY IF EXISTS
    stands before CREATE INDEX CONCURRENTLY and removes a half-built index."""

    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def in_transaction(self) -> bool:
        return not self.text.startswith("-- no transaction")

    @property
    def statements(self) -> list[str]:
        """The parts of the text that run one by one."""
        pieces = [self.text] if self.in_transaction else re.split(r"(?<=;)[ \t]*\n", self.text)
        return [piece for piece in pieces if piece.strip()]


def read_migrations(directory: Path = MIGRATIONS) -> list[Migration]:
    """Every migration, in the order of application."""
    return [Migration(path.stem, path.read_text()) for path in sorted(directory.glob("*.sql"))]


def migrate(
    database_url: str,
    *,
    dry_run: bool = False,
    baseline: bool = False,
    directory: Path = MIGRATIONS,
    report: Callable[[str], object] = lambda line: None,
) -> list[str]:
    """Applies the pending migrations and returns their names; `report` gets a line for each. With
    `baseline` it adopts the existing tables instead of applying the first migration. Raises
    HistoryEdited or CannotAdopt before the first migration, and MigrationFailed at the failed
    one."""
    migrations = read_migrations(directory)
    # Keepalives detect a server whose machine is gone.
    with psycopg.connect(
        database_url,
        autocommit=True,
        connect_timeout=10,
        keepalives_idle=30,
        keepalives_interval=10,
        keepalives_count=3,
    ) as connection:
        _wait_for_turn(connection, report)
        applied = _read_history(connection)
        _refuse_edited_history(migrations, applied)
        pending = [migration for migration in migrations if migration.name not in applied]
        if not dry_run:
            _run_script(connection, SQL / "roles.sql")
            _create_history(connection)
            if baseline and pending:
                _adopt(connection, pending, applied)
                report(f"adopted the existing tables instead of applying {pending[0].name}")
            for migration in pending[baseline:]:
                _apply(connection, migration)
                report(f"applied {migration.name}")
        return [migration.name for migration in pending]


def load_seed(database_url: str) -> None:
    """Inserts the demo data; existing rows stay unchanged."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        _run_script(connection, SQL / "seed.sql")


def _wait_for_turn(connection: psycopg.Connection, report: Callable[[str], object]) -> None:
    connection.execute(
        "SELECT set_config('client_connection_check_interval', %s, false)", [SERVER_LOOKS]
    )
    # pg_advisory_lock could cause a deadlock: its statement holds a snapshot while it waits for the
    # other migrator, whose CREATE INDEX CONCURRENTLY waits for the end of that snapshot.
    reported = False
    while connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK]).fetchone() != (True,):
        if not reported:
            report("waiting for another migrator")
            reported = True
        time.sleep(LOCK_POLL_SECONDS)


def _run_script(connection: psycopg.Connection, path: Path) -> None:
    # Scripts are files of this repository; the type checker cannot know that.
    with connection.transaction():
        connection.execute(cast(LiteralString, path.read_text()))


def _create_history(connection: psycopg.Connection) -> None:
    with connection.transaction():
        connection.execute("CREATE SCHEMA IF NOT EXISTS app_migrations")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS app_migrations.applied ("
            "name text PRIMARY KEY, checksum text NOT NULL, "
            "applied_at timestamptz NOT NULL DEFAULT now())"
        )


def _read_history(connection: psycopg.Connection) -> dict[str, str]:
    exists = connection.execute("SELECT to_regclass('app_migrations.applied')").fetchone()
    if exists is None or exists[0] is None:
        return {}
    return dict(connection.execute("SELECT name, checksum FROM app_migrations.applied").fetchall())


def _refuse_edited_history(migrations: list[Migration], applied: dict[str, str]) -> None:
    here = {migration.name: migration.checksum for migration in migrations}
    for name, checksum in sorted(applied.items()):
        if name not in here:
            raise HistoryEdited(f"{name} was applied to this database but its file is gone")
        if here[name] != checksum:
            raise HistoryEdited(f"{name} was edited after it was applied; add a new migration")
    newest = max(applied, default="")
    for name in here:
        if name not in applied and name < newest:
            raise HistoryEdited(f"{name} would run after {newest}; give it a later number")


def _adopt(
    connection: psycopg.Connection, pending: list[Migration], applied: dict[str, str]
) -> None:
    if applied:
        raise CannotAdopt("this database was migrated before; run the command without --baseline")
    with connection.transaction():
        adopt(connection, pending[0].text)
        _record(connection, pending[0])


def _record(connection: psycopg.Connection, migration: Migration) -> None:
    connection.execute(
        "INSERT INTO app_migrations.applied (name, checksum) VALUES (%s, %s)",
        [migration.name, migration.checksum],
    )


def _apply(connection: psycopg.Connection, migration: Migration) -> None:
    try:
        with connection.transaction() if migration.in_transaction else nullcontext():
            for statement in migration.statements:
                connection.execute(cast(LiteralString, statement))
            _record(connection, migration)
    except psycopg.Error as error:
        # If the connection was lost during COMMIT, the migration may be applied.
        outcome = "may not have been applied" if connection.broken else "failed"
        raise MigrationFailed(f"{migration.name} {outcome}: {error}") from error


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="make migrate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dry-run", action="store_true", help="only print the pending migrations")
    parser.add_argument(
        "--baseline",
        action="store_true",
        help="adopt existing tables with their rows",
    )
    options = parser.parse_args(arguments)
    # Not an argument: every user of the machine can read the arguments of a process.
    database_url = os.environ.get("DATABASE_URL")
    if not database_url:
        print("migrate: set DATABASE_URL", file=sys.stderr)
        return 1
    try:
        names = migrate(
            database_url, dry_run=options.dry_run, baseline=options.baseline, report=print
        )
    except (CannotAdopt, HistoryEdited, MigrationFailed, psycopg.Error) as error:
        print(f"migrate: {error}", file=sys.stderr)
        return 1
    if options.dry_run:
        print("".join(f"would apply {name}\n" for name in names), end="")
    if not names:
        print("nothing to apply")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
