"""The outages of /_control: times in which every call fails."""

from collections.abc import Sequence
from dataclasses import dataclass

from local.image_model.errors import FAILURES
from local.image_model.members import ControlError, read_members, read_number

SECOND = 1_000_000_000
LONGEST_SECONDS = 86_400
REFUSED = "refused"
MEMBERS = {"in_s", "for_s", "status"}


@dataclass(frozen=True, slots=True)
class Outage:
    """One outage of /_control: from `in_s` seconds after the control call, for `for_s` seconds.

    `status` is a status of FAILURES, or REFUSED: the connection closes without an answer.
    """

    in_s: float
    for_s: float
    status: int | str


def read_outage(where: str, value: object) -> Outage:
    """Parse one outage; ControlError if it is not valid. A null member counts as absent."""
    members = read_members(where, value, MEMBERS)
    in_s = read_number(where, members, "in_s", most=LONGEST_SECONDS)
    for_s = read_number(where, members, "for_s", most=LONGEST_SECONDS)
    if for_s is None:
        raise ControlError(f"{where} must have for_s")
    status = members.get("status")
    if status is None:
        status = 503
    known = (*FAILURES, REFUSED)
    if not isinstance(status, int | str) or status not in known:
        raise ControlError(f"{where}.status must be one of {', '.join(map(str, known))}")
    return Outage(in_s or 0, for_s, status)


class Outages:
    """Outages that were set at one moment. Times are nanoseconds of one clock."""

    def __init__(self, outages: Sequence[Outage], since: int) -> None:
        self._outages, self._since = outages, since

    def __len__(self) -> int:
        return len(self._outages)

    def at(self, now: int) -> Outage | None:
        """Return the first listed outage that covers this time."""
        past = (now - self._since) / SECOND
        covering = (each for each in self._outages if each.in_s <= past < each.in_s + each.for_s)
        return next(covering, None)
