"""A separate local stack for the test session. Other stacks on the machine are not affected."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests

ROOT = Path(__file__).parents[2]
WORKFLOW = "789e1234-e89b-12d3-a456-426614174002"
UP_SECONDS = 120


class Stack:
    """HTTP requests to a running stack, as one of its users."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.access: dict[str, Any] = json.loads((directory / "stack.json").read_text())
        self._keys = count()
        self.api_key = ""
        self.change_key()

    def change_key(self) -> None:
        """Submits with another API key from now on: what one test taught its lane does not slow
        down the next test."""
        self.api_key = f"demo-key-{next(self._keys):04}"

    def call(self, who: str, method: str, path: str, **options: Any) -> requests.Response:
        """Sends a request with the token of `who`. "anonymous" sends no token."""
        headers = {}
        if who != "anonymous":
            headers["Authorization"] = f"Bearer {self.access['tokens'][who]}"
        return requests.request(
            method,
            self.access["base_url"] + path,
            headers=headers | options.pop("headers", {}),
            timeout=30,
            **options,
        )

    def rule(self, *rules: dict[str, Any]) -> None:
        """Gives the stand-in model new rules, for submissions with a new key."""
        self.change_key()
        answer = requests.post(
            self.access["model_url"] + "/_control", json={"rules": list(rules)}, timeout=10
        )
        assert answer.status_code == 200, answer.text

    def submit(self, prompts: list[str], **more: Any) -> str:
        body = {"workflow_id": WORKFLOW, "prompts": prompts, "api_key": self.api_key, **more}
        answer = self.call("client_a", "POST", "/v1/executions", json=body)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def calls(self, beginning: str) -> list[dict[str, Any]]:
        """The model calls whose prompt begins with this text."""
        calls = requests.get(self.access["model_url"] + "/_calls", timeout=10).json()
        return [call for call in calls if call["prompt"].startswith(beginning)]

    def results(self, execution_id: str) -> list[dict[str, Any]]:
        """All results, read page by page."""
        items: list[dict[str, Any]] = []
        cursor = None
        while True:
            page = self.call(
                "client_a",
                "GET",
                f"/v1/executions/{execution_id}/results",
                params={"limit": 200} | ({"cursor": cursor} if cursor else {}),
            ).json()
            items += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return items

    def wait(self, execution_id: str, seconds: float, who: str = "client_a") -> dict[str, Any]:
        """Waits for the end of the execution and returns it. Fails after `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            execution = self.call(who, "GET", f"/v1/executions/{execution_id}").json()
            progress = execution["progress"]
            parts = progress["successful"] + progress["failed"] + progress["processing"]
            assert parts == progress["total"]
            if execution["status"] in ("completed", "failed"):
                return execution
            time.sleep(0.3)
        pytest.fail(f"{execution_id} did not end in {seconds} s")


def counts(execution: dict[str, Any]) -> dict[str, int]:
    """The three counts of the schema document, without our additional fields."""
    return {name: execution["output_data"][name] for name in ("successful", "failed", "total")}


def workflow(stack: Stack, **config: Any) -> str:
    """The id of a new workflow. `config` adds to the usual config or overrides it."""
    answer = stack.call(
        "admin",
        "POST",
        "/v1/workflows",
        json={
            "name": "for a test",
            "config": {
                "workflow_type": "nano_banana",
                "model": "gemini-2.5-flash-image",
                "requires_api_key": True,
                "supports_reference_images": True,
                **config,
            },
        },
    )
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def run_local(command: str, directory: Path, *options: str) -> None:
    environment = {
        **os.environ,
        "LOCAL_DIR": str(directory),
        "SWEEP_SECONDS": "5",
        "ECONOMY_LIST_SECONDS": "3",
        # The webhook receivers of the tests run on this machine.
        "ALLOW_PRIVATE_WEBHOOKS": "true",
    }
    environment.pop("PORT", None)
    subprocess.run(
        [sys.executable, "-m", "local", command, *options],
        cwd=ROOT,
        env=environment,
        check=True,
        timeout=UP_SECONDS,
        stdout=subprocess.DEVNULL,
    )


@contextmanager
def own_stack(directory: Path, **variables: str) -> Iterator[Stack]:
    """A stack that is started with these environment variables, and deleted afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        try:
            run_local("up", directory)
            yield Stack(directory)
        finally:
            run_local("clean", directory)
