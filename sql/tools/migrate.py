"""Applies sql/migrations in order.

    DATABASE_URL=… python -m sql.tools.migrate [--dry-run] [--baseline]

Needs a direct connection (no transaction pooler) as a login that may create roles; it need not
be a superuser. A lock lets one migrator work at a time; the others wait and find nothing to do.
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
# Any constant serves as long as nobody else uses it: b"masstock" as a 64-bit integer.
LOCK = int.from_bytes(b"masstock", "big")
LOCK_POLL_SECONDS = 0.2
# The server looks this often whether we are still there, so that a migrator whose machine is gone
# does not keep the lock until its statement ends.
SERVER_LOOKS = "10s"


class HistoryEdited(Exception):
    """A migration that was applied is missing here or no longer has the text that was applied."""


class MigrationFailed(Exception):
    """A migration raised an error, or its connection was lost; those before it are applied."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. It applies as a whole or not at all, unless its first line is `-- no transaction`:
    then its statements, each ending its line with `;`, run one by one. Such a file must stand
    being run again, since it may have stopped anywhere: an index that CREATE INDEX CONCURRENTLY
    left half-built is first dropped, by DROP INDEX CONCURRENTLY IF EXISTS."""

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
        """What runs by itself."""
        pieces = [self.text] if self.in_transaction else re.split(r"(?<=;)[ \t]*\n", self.text)
        return [piece for piece in pieces if piece.strip()]


def read_migrations(directory: Path = MIGRATIONS) -> list[Migration]:
    """Every migration, in the order in which they apply."""
    return [Migration(path.stem, path.read_text()) for path in sorted(directory.glob("*.sql"))]


def migrate(
    database_url: str,
    *,
    dry_run: bool = False,
    baseline: bool = False,
    directory: Path = MIGRATIONS,
    report: Callable[[str], object] = lambda line: None,
) -> list[str]:
    """Applies what is missing, reporting as it goes, and returns its names. With `baseline` the
    first migration is not applied: the tables are there, and are adopted. Raises HistoryEdited and
    CannotAdopt before any of it, MigrationFailed after what went well."""
    migrations = read_migrations(directory)
    # Keepalives tell us of a server whose machine is gone.
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
                report(f"adopted what {pending[0].name} would have made")
            for migration in pending[baseline:]:
                _apply(connection, migration)
                report(f"applied {migration.name}")
        return [migration.name for migration in pending]


def load_seed(database_url: str) -> None:
    """Inserts the demo data; what is there already stays as it is."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        _run_script(connection, SQL / "seed.sql")


def _wait_for_turn(connection: psycopg.Connection, report: Callable[[str], object]) -> None:
    connection.execute(
        "SELECT set_config('client_connection_check_interval', %s, false)", [SERVER_LOOKS]
    )
    # Not pg_advisory_lock: a statement that waits has a snapshot, for whose end the CREATE INDEX
    # CONCURRENTLY of the migrator that has the lock would wait: a deadlock.
    told = False
    while connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK]).fetchone() != (True,):
        if not told:
            report("waiting for another migrator")
            told = True
        time.sleep(LOCK_POLL_SECONDS)


def _run_script(connection: psycopg.Connection, path: Path) -> None:
    # Scripts are files of this repository: the cast states what the type checker cannot see.
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
        raise CannotAdopt("this database has been migrated before; run it without --baseline")
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
        # A lost connection may have lost no more than the answer to COMMIT.
        outcome = "may not have been applied" if connection.broken else "failed"
        raise MigrationFailed(f"{migration.name} {outcome}: {error}") from error


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="make migrate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dry-run", action="store_true", help="only name what would be applied")
    parser.add_argument(
        "--baseline",
        action="store_true",
        help="adopt tables that are there already, with their rows",
    )
    options = parser.parse_args(arguments)
    # From the environment: the arguments of a process are everybody's to read.
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
