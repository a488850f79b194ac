"""The stand-in model's controls: its limits, its rules, and the log of its calls."""

import contextlib
import json
import signal
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench.environment import SCRATCH
from bench.measure import CannotRun
from local.processes import children
from local.settings import ROOT

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Limit:
    """A provider's limit: so many requests in so many seconds. `kind` is `fixed_window`,
    `token_bucket` or `sliding_window`. `hints` are the members that a refusal has: `retry_info`,
    `quota_value`."""

    requests: int
    seconds: int
    kind: str
    hints: tuple[str, ...] = ()

    @property
    def rate(self) -> float:
        """Calls per second."""
        return self.requests / self.seconds

    def as_member(self) -> dict[str, Any]:
        """The limit in the form of `/_control`. A fixed window is half over when it is set."""
        halfway = {"offset_s": self.seconds / 2} if self.kind == "fixed_window" else {}
        return {
            "requests": self.requests,
            "seconds": self.seconds,
            "kind": self.kind,
            **halfway,
            **dict.fromkeys(self.hints, True),
        }


@dataclass(frozen=True, slots=True)
class Call:
    """A call that arrived at the model. `time` is in seconds since 1970. `behave` says how it was
    answered: `ok` with an image, `limited` by the limit, `throttle` by a rule, `outage` by a
    failure."""

    prompt: str
    time: float
    behave: str


def control(model_url: str, **members: Any) -> None:
    """Replaces these members of the model's behaviour: `rules`, `limits`, `outages`."""
    _fetch(f"{model_url}/_control", json.dumps(members).encode())


def reset(model_url: str) -> None:
    """Ends every rule, limit and outage."""
    control(model_url, rules=[], limits=[], outages=[])


def take(model_url: str, seconds: float) -> None:
    """Makes every call take so many seconds."""
    control(model_url, rules=[{"match": "", "behave": "ok", "delay_ms": seconds * 1000}])


def calls_since(model_url: str, began: float) -> list[Call]:
    """The calls that arrived at this time or later, in seconds since 1970; the oldest first."""
    return [
        Call(call["prompt"], call["time"], call["behave"])
        for call in json.loads(_fetch(f"{model_url}/_calls"))
        if call["time"] >= began
    ]


@contextlib.contextmanager
def running(name: str) -> Iterator[str]:
    """Runs a stand-in model in a process of its own and yields its URL."""
    port = children.free_port()
    SCRATCH.mkdir(parents=True, exist_ok=True)
    log = SCRATCH / f"{name}-model.log"
    command = [sys.executable, "-m", "local.image_model", "--port", str(port)]
    process = children.spawn(command, log=log, cwd=ROOT)
    try:
        if not children.wait_for_listener(port, process, 15):
            raise CannotRun(f"the stand-in model did not start; see {log}")
        yield f"http://{children.HOST}:{port}"
    finally:
        children.end(process, signal.SIGTERM, 5)
        children.release_port(port)


def _fetch(url: str, body: bytes | None = None) -> bytes:
    with _OPENER.open(urllib.request.Request(url, body), timeout=10) as response:
        return response.read()
