"""A clock that stands still, for signed URLs."""

from masstock.services.signed_urls import PERIOD_SECONDS

# The beginning of a period.
BEGINNING = 1_800_000_000 - 1_800_000_000 % PERIOD_SECONDS


class Clock:
    """Takes the place of the module `time` in `signed_urls`."""

    def __init__(self) -> None:
        self.now = float(BEGINNING)

    def time(self) -> float:
        """The time that a test has set."""
        return self.now
