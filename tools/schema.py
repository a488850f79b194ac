"""`python -m tools.schema` prints the schema that all migrations make, as `pg_dump` writes it."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from local.processes.postgres import PostgresServer
from sql.tools.migrate import migrate

# Lines that differ from dump to dump or say nothing about the schema.
NOISE = re.compile(
    r"^(--.*|\\(un)?restrict .*|SET .*|SELECT pg_catalog\.set_config.*)\n", re.MULTILINE
)


def migrated_schema(directory: Path) -> str:
    """Migrates a fresh database below `directory` and returns its schemas as SQL."""
    server = PostgresServer(directory, fsync=False)
    url = server.start()
    try:
        migrate(url)
        schemas = [f"--schema={name}" for name in ("public", "app", "app_private")]
        command = [str(server.binaries / "pg_dump"), "--schema-only", *schemas, url]
        dump = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    finally:
        server.destroy()
    return re.sub(r"\n{3,}", "\n\n", NOISE.sub("", dump)).strip() + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        sys.stdout.write(migrated_schema(Path(directory)))
