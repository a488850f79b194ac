"""The rules of /_control, and the log of calls."""

import hashlib
import json
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from local.image_model.errors import ERRORS
from local.image_model.replies import BEHAVIOURS

LONGEST_DELAY_MS = 600_000
# Delays of the behaviours that need one, for a rule without `delay_ms`.
USUAL_DELAY_MS = {"slow": 5_000, "dribble": 300_000}
MEMBERS = {"match", "behave", "times", "delay_ms", "retry_delay_s"}


class RuleError(ValueError):
    """The body of /_control is not valid; the message names the place and the reason."""


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


PAINT = Rule(re.compile(""), "ok")


def read_rules(body: bytes) -> list[Rule]:
    """Parse a /_control body; RuleError if a rule is not valid. A null member counts as absent."""
    try:
        control = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RuleError(f"the body is not JSON: {error}") from None
    if not isinstance(control, dict) or control.keys() != {"rules"}:
        raise RuleError('the body must be {"rules": […]} and nothing else')
    if not isinstance(control["rules"], list):
        raise RuleError("rules must be a list")
    return [_read_rule(f"rules[{number}]", rule) for number, rule in enumerate(control["rules"])]


def _read_rule(where: str, rule: object) -> Rule:
    if not isinstance(rule, dict):
        raise RuleError(f"{where} must be an object")
    if unknown := sorted(rule.keys() - MEMBERS):
        raise RuleError(f"{where} has unknown members: {', '.join(unknown)}")
    match, behave = rule.get("match"), rule.get("behave")
    if not isinstance(match, str):
        raise RuleError(f"{where}.match must be a string")
    try:
        pattern = re.compile(match)
    except (re.error, RecursionError, OverflowError) as error:
        raise RuleError(f"{where}.match is not a regular expression: {error}") from None
    if behave not in BEHAVIOURS:
        raise RuleError(f"{where}.behave must be one of {', '.join(BEHAVIOURS)}")
    times = rule.get("times")
    if times is not None and (type(times) is not int or times < 0):
        raise RuleError(f"{where}.times must be a whole number, 0 or more")
    delay_ms = _read_number(where, rule, "delay_ms", LONGEST_DELAY_MS)
    if delay_ms == 0 and behave in USUAL_DELAY_MS:
        raise RuleError(f"{where}.delay_ms must be above 0 for {behave}")
    retry_delay_s = _read_number(where, rule, "retry_delay_s", 1e6)
    if retry_delay_s is not None and behave not in ERRORS:
        raise RuleError(
            f"{where}.retry_delay_s has no place in the answer of {behave}; it goes with"
            f" {', '.join(ERRORS)}"
        )
    return Rule(pattern, behave, times, delay_ms, retry_delay_s)


def _read_number(where: str, rule: Mapping[str, object], name: str, most: float) -> float | None:
    value = rule.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise RuleError(f"{where}.{name} must be a number from 0 to {most:g}")
    return value


class Model:
    """The current rules and every call since the start. Safe for concurrent threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._calls: list[str] = []

    def replace_rules(self, rules: Sequence[Rule]) -> None:
        with self._lock:
            self._rules = list(rules)

    def admit(self, prompt: str, model: str, api_key: str) -> Rule:
        """Log a call on arrival, count it against the rule that applies, and return that rule."""
        with self._lock:
            rule = next((rule for rule in self._rules if self._applies(rule, prompt)), PAINT)
            if rule.times is not None:
                rule.times -= 1
            self._log(prompt, model, api_key, rule.behave)
        return rule

    def log(self, prompt: str, model: str, api_key: str, behave: str) -> None:
        """Log a call that no rule decides: a refused one, or one that followed a redirect."""
        with self._lock:
            self._log(prompt, model, api_key, behave)

    def calls_json(self) -> str:
        """Return every call as a JSON array, oldest first."""
        with self._lock:
            calls = list(self._calls)
        return f"[{','.join(calls)}]"

    @staticmethod
    def _applies(rule: Rule, prompt: str) -> bool:
        return rule.times != 0 and rule.match.search(prompt) is not None

    def _log(self, prompt: str, model: str, api_key: str, behave: str) -> None:
        call = {
            "prompt": prompt,
            "model": model,
            "api_key_sha256": hashlib.sha256(api_key.encode()).hexdigest(),
            "time": time.time(),
            "behave": behave,
        }
        self._calls.append(json.dumps(call))
