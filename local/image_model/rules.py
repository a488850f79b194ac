"""The rules of /_control: which answers the prompts get."""

import re
from dataclasses import dataclass

from local.image_model.errors import ERRORS
from local.image_model.members import ControlError, read_members, read_number, read_whole
from local.image_model.replies import BEHAVIOURS

LONGEST_DELAY_MS = 600_000
# Delays of the behaviours that need one, for a rule without `delay_ms`.
USUAL_DELAY_MS = {"slow": 5_000, "dribble": 300_000}
MEMBERS = {"match", "behave", "times", "delay_ms", "retry_delay_s"}


@dataclass(slots=True)
class Rule:
    """One rule of /_control. `times` counts down; None means always."""

    match: re.Pattern[str]
    behave: str
    times: int | None = None
    delay_ms: float | None = None
    retry_delay_s: float | None = None

    @property
    def delay_s(self) -> float:
        """Seconds before the answer; of `dribble`, the seconds that the answer takes."""
        usual = USUAL_DELAY_MS.get(self.behave, 0)
        return (usual if self.delay_ms is None else self.delay_ms) / 1000

    def applies(self, prompt: str) -> bool:
        """Tell whether the rule has times left and matches the prompt."""
        return self.times != 0 and self.match.search(prompt) is not None

    def use(self) -> None:
        """Count a call that the rule answers."""
        if self.times is not None:
            self.times -= 1


PAINT = Rule(re.compile(""), "ok")
DROP = Rule(re.compile(""), "drop")


def read_rule(where: str, value: object) -> Rule:
    """Parse one rule; ControlError if it is not valid. A null member counts as absent."""
    members = read_members(where, value, MEMBERS)
    match, behave = members.get("match"), members.get("behave")
    if not isinstance(match, str):
        raise ControlError(f"{where}.match must be a string")
    try:
        pattern = re.compile(match)
    except (re.error, RecursionError, OverflowError) as error:
        raise ControlError(f"{where}.match is not a regular expression: {error}") from None
    if not isinstance(behave, str) or behave not in BEHAVIOURS:
        raise ControlError(f"{where}.behave must be one of {', '.join(BEHAVIOURS)}")
    times = read_whole(where, members, "times", least=0)
    delay_ms = read_number(where, members, "delay_ms", most=LONGEST_DELAY_MS)
    if delay_ms == 0 and behave in USUAL_DELAY_MS:
        raise ControlError(f"{where}.delay_ms must be above 0 for {behave}")
    retry_delay_s = read_number(where, members, "retry_delay_s", most=1e6)
    if retry_delay_s is not None and behave not in ERRORS:
        raise ControlError(
            f"{where}.retry_delay_s has no place in the answer of {behave}; it goes with"
            f" {', '.join(ERRORS)}"
        )
    return Rule(pattern, behave, times, delay_ms, retry_delay_s)
