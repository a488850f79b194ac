"""The PostgreSQL versions that tests run on: the packaged one and the oldest supported one."""

from pathlib import Path

import pytest

PACKAGED, OLDEST = 18, 15
# The directories that Debian and Ubuntu, Red Hat and Homebrew (arm64, x86_64) install it into.
INSTALLED = [
    Path(f"/usr/lib/postgresql/{OLDEST}/bin"),
    Path(f"/usr/pgsql-{OLDEST}/bin"),
    Path(f"/opt/homebrew/opt/postgresql@{OLDEST}/bin"),
    Path(f"/usr/local/opt/postgresql@{OLDEST}/bin"),
]


def oldest_binaries() -> Path:
    """The programs of the oldest supported PostgreSQL. Skips the test if it is not installed."""
    binaries = next((path for path in INSTALLED if (path / "initdb").exists()), None)
    if binaries is None:
        pytest.skip(f"PostgreSQL {OLDEST} is not installed here")
    return binaries
