"""The state of the stand-in model: the controls in force, the log of calls, files and jobs."""

import hashlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

from local.image_model.asks import ask_of
from local.image_model.control import Control
from local.image_model.errors import ERRORS, FAILURES, GoogleError, Json
from local.image_model.files import Files
from local.image_model.jobs import Jobs
from local.image_model.limits import Limits
from local.image_model.outages import REFUSED, Outages
from local.image_model.replies import SILENCES, line_response
from local.image_model.rules import DROP, PAINT, Rule

# A call that a rule answers with an error or with silence takes nothing from a limit.
UNCOUNTED = frozenset({*ERRORS, *SILENCES})


class Model:
    """The current controls and every call since the start. Safe for concurrent threads.

    Files lie in `directory`. `clock` returns nanoseconds and never goes back.
    """

    def __init__(self, directory: Path, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.files = Files(directory)
        self.jobs = Jobs(self.files, self._paint_line)
        self._clock = clock
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._limits = Limits([], 0)
        self._outages = Outages([], 0)
        self._calls: list[str] = []

    def replace(self, control: Control) -> dict[str, int]:
        """Replace what the control names, from now on. Return how many of each are in force."""
        with self._lock:
            now = self._clock()
            if control.rules is not None:
                self._rules = control.rules
            if control.limits is not None:
                self._limits = Limits(control.limits, now)
            if control.outages is not None:
                self._outages = Outages(control.outages, now)
            if control.batches is not None:
                self.jobs.replace(control.batches)
            return {
                "rules": len(self._rules),
                "limits": len(self._limits),
                "outages": len(self._outages),
            }

    def admit(self, prompt: str, model: str, api_key: str) -> Rule:
        """Log a call on arrival, and return the rule that answers it.

        An outage comes first, then a rule that answers with an error or with silence, then the
        limits, then any other rule. `times` of a rule and the limits count only calls that reach
        them. GoogleError for a call in an outage or above a limit.
        """
        key_sha256 = sha256(api_key)
        with self._lock:
            now = self._clock()
            if outage := self._outages.at(now):
                self._log(prompt, model, key_sha256, "outage")
                if outage.status == REFUSED:
                    return DROP
                raise FAILURES[int(outage.status)]()
            rule = self._rule_for(prompt)
            if rule.behave not in UNCOUNTED:
                try:
                    self._limits.enter(key_sha256, model, now)
                except GoogleError:
                    self._log(prompt, model, key_sha256, "limited")
                    raise
            rule.use()
            self._log(prompt, model, key_sha256, rule.behave)
        return rule

    def _paint_line(self, model: str, request: Json, key_sha256: str) -> Json:
        """Answer a line of a job by the rules. Limits and outages do not hold for jobs."""
        try:
            ask = ask_of(model, request, lambda uri: self._read_file(uri, key_sha256))
            with self._lock:
                rule = self._rule_for(ask.prompt)
                rule.use()
                self._log(ask.prompt, model, key_sha256, rule.behave, tier="economy")
            time.sleep(rule.delay_s)
            return {"response": line_response(ask, rule.behave)}
        except GoogleError as error:
            return {"error": error.body["error"]}

    def _read_file(self, uri: str, key_sha256: str) -> bytes:
        name = "files/" + uri.rpartition("/files/")[2]
        return self.files.find(name, key_sha256).path.read_bytes()

    def _rule_for(self, prompt: str) -> Rule:
        return next((rule for rule in self._rules if rule.applies(prompt)), PAINT)

    def log(self, prompt: str, model: str, api_key: str, behave: str) -> None:
        """Log a call that no control decides: a malformed one, or one that followed a redirect."""
        key_sha256 = sha256(api_key)
        with self._lock:
            self._log(prompt, model, key_sha256, behave)

    def calls_json(self) -> str:
        """Return every call as a JSON array, oldest first."""
        with self._lock:
            calls = list(self._calls)
        return f"[{','.join(calls)}]"

    def _log(
        self, prompt: str, model: str, key_sha256: str, behave: str, tier: str = "standard"
    ) -> None:
        call = {
            "prompt": prompt,
            "model": model,
            "api_key_sha256": key_sha256,
            "time": time.time(),
            "behave": behave,
            "tier": tier,
        }
        self._calls.append(json.dumps(call))


def sha256(api_key: str) -> str:
    """What stands for a key in the logs."""
    return hashlib.sha256(api_key.encode()).hexdigest()
