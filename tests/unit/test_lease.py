"""The times of one invocation: it ends itself before its lease, whatever it does."""

import subprocess
import sys

import pytest

from masstock_generate.lease import MARGIN_SECONDS, RECORD_SECONDS, Lease, lease_seconds

# Works for `{seconds}` under a lease whose invocation may take 0.5 s.
PROGRAM = """
import time
from masstock_generate.lease import MARGIN_SECONDS, Lease
lease = Lease(MARGIN_SECONDS + 0.5)
with lease.watched():
    time.sleep({seconds})
print("survived")
time.sleep(1)
"""


@pytest.mark.parametrize(("seconds", "code"), [(5, 1), (0, 0)], ids=["too long", "in time"])
def test_an_invocation_ends_itself_before_its_lease(seconds: int, code: int) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(seconds=seconds)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == code, result.stderr
    assert ("survived" in result.stdout) == (code == 0)
    assert ("ends itself" in result.stdout) == (code == 1)


def test_the_lease_follows_from_the_model_timeout() -> None:
    assert lease_seconds(120) == 225
    lease = Lease(lease_seconds(120))
    assert lease.seconds == 225
    left = 225 - MARGIN_SECONDS - RECORD_SECONDS
    assert lease.has_time_for(left - 5)
    assert not lease.has_time_for(left)
