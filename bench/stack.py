"""The whole stack, as `make up` starts it, for rows that measure it over HTTP."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import model_control
from bench.environment import SCRATCH
from bench.measure import CannotRun
from local.demo.api_client import ApiClient
from local.settings import ROOT

# Short enough for an exact time, long enough to use little CPU.
POLL_SECONDS = 0.1
# A batch that takes longer has failed.
PATIENCE_SECONDS = 900

LARGE_WORKFLOW = {
    "name": "benchmark",
    "status": "active",
    "config": {
        "workflow_type": "nano_banana",
        "model": "gemini-2.5-flash-image",
        "max_prompts": 10_000,
        "requires_api_key": True,
    },
}


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack; `access` is its stack.json."""

    access: Mapping[str, Any]
    api: ApiClient
    workflow_id: str

    def tell_model(self, *, seconds: float) -> None:
        """Sets the time that the stand-in model takes for an image."""
        model_control.take(self.access["model_url"], seconds)

    def warm(self, environments: int) -> None:
        """Makes sure that so many execution environments of generate are running."""
        # Slow enough that all of them start before the first one is free again: a start takes a
        # second of CPU, and all start at once.
        self.tell_model(seconds=environments)
        self.paint(environments)

    def paint(self, prompts: int) -> float:
        """Seconds from the submission of a batch until the api first reports it completed. Raises
        CannotRun if an image is missing."""
        texts = [f"prompt number {number} of a batch" for number in range(prompts)]
        began = time.perf_counter()
        output = self.wait(self.submit(texts, "the-stand-in-takes-any-key"))
        seconds = time.perf_counter() - began
        if output.get("successful") != prompts:
            raise CannotRun(f"a batch of {prompts} ended with {output}")
        return seconds

    def submit(self, prompts: Sequence[str], api_key: str) -> str:
        """Submits a batch with an API key of the model; returns the id of the execution."""
        body = {"workflow_id": self.workflow_id, "prompts": prompts, "api_key": api_key}
        return self.api.post("/v1/executions", body, str(uuid.uuid4())).json()["id"]

    def wait(self, execution_id: str) -> Mapping[str, Any]:
        """Waits until an execution has ended; returns its counts. Raises CannotRun if that takes
        longer than a quarter of an hour."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            execution = self.api.get(f"/v1/executions/{execution_id}").json()
            if execution["status"] not in ("pending", "processing"):
                return execution["output_data"] or {}
            time.sleep(POLL_SECONDS)
        raise CannotRun(f"a batch did not end in {PATIENCE_SECONDS} s")

    def cancel(self, execution_id: str) -> None:
        """Cancels an execution and waits until it has ended."""
        self.api.post(f"/v1/executions/{execution_id}/cancel", {}, str(uuid.uuid4()))
        self.wait(execution_id)


@contextlib.contextmanager
def running(name: str, *, concurrency: int, **variables: str) -> Iterator[Stack]:
    """A new stack below .build/bench, with further environment variables. It is stopped and deleted
    when the block ends, also by an error."""
    directory = SCRATCH / name
    environment = {
        **{key: value for key, value in os.environ.items() if key != "GEMINI_API_KEY"},
        "LOCAL_DIR": str(directory),
        "CONCURRENCY": str(concurrency),
        "POWERTOOLS_LOG_LEVEL": "INFO",
        **variables,
    }
    for setting in ("DATABASE_URL", "PORT", "FUNCTIONS_URL"):
        environment.pop(setting, None)
    with _terminable():
        try:
            _local("up", environment)
            yield _stack_of(directory)
        finally:
            with _patient():
                _local("clean", environment)


def _local(command: str, environment: Mapping[str, str]) -> None:
    # In a separate session: Ctrl-C then reaches only this process, which ends the other in order.
    with subprocess.Popen(
        [sys.executable, "-m", "local", command],
        cwd=ROOT,
        env=dict(environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            _, complaint = process.communicate()
        except BaseException:
            # It then stops the processes that it has started.
            process.send_signal(signal.SIGINT)
            raise
    if process.returncode:
        raise CannotRun(f"python -m local {command}: {complaint.strip()[-500:]}")


def _stack_of(directory: Path) -> Stack:
    access = json.loads((directory / "stack.json").read_text())
    api = ApiClient(access["base_url"], access["tokens"]["client_a"])
    # The demo's workflow takes at most a hundred prompts.
    workflow = ApiClient(access["base_url"], access["tokens"]["admin"]).post(
        "/v1/workflows", LARGE_WORKFLOW, str(uuid.uuid4())
    )
    return Stack(access, api, workflow.json()["id"])


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, like Ctrl-C, so that the stack is cleaned up."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _patient() -> Iterator[None]:
    """Ignores Ctrl-C, so that the clean-up runs to its end."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
