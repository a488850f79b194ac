"""Applies sql/migrations in order: `python -m sql.migrate DATABASE_URL [--dry-run]`.

Needs a direct connection (no transaction pooler) as a login that may create roles; it need not
be a superuser. A lock lets one migrator work at a time; the others wait and find nothing to do.
"""

import argparse
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString, cast

import psycopg

SQL = Path(__file__).parent
MIGRATIONS = SQL / "migrations"
# Any constant serves as long as nobody else uses it: b"masstock" as a 64-bit integer.
LOCK = int.from_bytes(b"masstock", "big")


class HistoryEdited(Exception):
    """A migration that was applied is missing here or no longer has the text that was applied."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file; `-- no transaction` on its first line marks a lone statement run by itself."""

    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def in_transaction(self) -> bool:
        return not self.text.startswith("-- no transaction")


def read_migrations(directory: Path = MIGRATIONS) -> list[Migration]:
    """Every migration, in the order in which they apply."""
    return [Migration(path.stem, path.read_text()) for path in sorted(directory.glob("*.sql"))]


def migrate(database_url: str, *, dry_run: bool = False, directory: Path = MIGRATIONS) -> list[str]:
    """Applies what is missing and returns its names; raises HistoryEdited before any of it."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        if not dry_run:
            _run_script(connection, SQL / "roles.sql")
            _create_history(connection)
        applied = _read_history(connection)
        migrations = read_migrations(directory)
        _refuse_edited_history(migrations, applied)
        pending = [migration for migration in migrations if migration.name not in applied]
        if not dry_run:
            for migration in pending:
                _apply(connection, migration)
        return [migration.name for migration in pending]


def install_identity_key(database_url: str, key: str) -> None:
    """Makes the database trust identities signed with `key` (32 to 64 bytes of UTF-8)."""
    with psycopg.connect(database_url) as connection:
        connection.execute("SET LOCAL ROLE masstock_authz")
        connection.execute("SELECT app_private.set_key(1, %s)", [key.encode()])


def load_seed(database_url: str) -> None:
    """Inserts the demo data; what is there already stays as it is."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        _run_script(connection, SQL / "seed.sql")


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


def _apply(connection: psycopg.Connection, migration: Migration) -> None:
    script = cast(LiteralString, migration.text)
    record = "INSERT INTO app_migrations.applied (name, checksum) VALUES (%s, %s)"
    if migration.in_transaction:
        with connection.transaction():
            connection.execute(script)
            connection.execute(record, [migration.name, migration.checksum])
    else:
        connection.execute(script)
        connection.execute(record, [migration.name, migration.checksum])


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make migrate", description=__doc__)
    parser.add_argument("database_url")
    parser.add_argument("--dry-run", action="store_true", help="only name what would be applied")
    options = parser.parse_args(arguments)
    try:
        names = migrate(options.database_url, dry_run=options.dry_run)
    except (HistoryEdited, psycopg.Error) as error:
        print(f"migrate: {error}", file=sys.stderr)
        return 1
    verb = "would apply" if options.dry_run else "applied"
    print("\n".join(f"{verb} {name}" for name in names) or "nothing to apply")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
