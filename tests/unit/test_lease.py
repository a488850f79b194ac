"""The watchdog of a lease: a process that paints too long ends, and one that stores does not."""

import subprocess
import sys

import pytest

# Paints for a second, under a lease whose painting ends after 0.2 s of Lambda's time.
PAINT_TOO_LONG = """
import time
from masstock_generate.lease import Lease
lease = Lease(0.2, 60)
with lease.watched():
    {before}
    time.sleep(1)
print("survived")
"""


@pytest.mark.parametrize(
    ("before", "code", "printed"),
    [("pass", 1, False), ("lease.painted()", 0, True)],
    ids=["painting", "storing"],
)
def test_only_an_invocation_that_still_paints_ends_itself(
    before: str, code: int, printed: bool
) -> None:
    program = PAINT_TOO_LONG.format(before=before)
    result = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == code, result.stderr
    assert ("survived" in result.stdout) == printed
    assert ("ends itself" in result.stdout) != printed
