"""A careful caller: sends each request with the same Idempotency-Key until there is an answer."""

import time
from typing import Any

import pytest

from tests.crash.cases import PROMPTS, Case
from tests.e2e.conftest import WORKFLOW, Stack, workflow

ENDED = ("completed", "failed")


class Caller:
    """Submits the executions of all cases, and goes on with each as its shape wants."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._falling_back = workflow(
            stack,
            model="gemini-2.5-flash-image",
            fallback_model="gemini-nano-banana-2.1",
            max_concurrency=1,
        )

    def run(self, cases: list[Case], seconds: float) -> dict[Case, dict[str, Any]]:
        """The last execution of each case, when all have ended."""
        self._stack.rule(*(case.rule for case in cases if case.rule))
        live = {case: self._submit(case) for case in cases}
        following = [case for case in cases if case.shape in ACTIONS]
        ended: dict[Case, dict[str, Any]] = {}
        deadline = time.monotonic() + seconds
        while live and time.monotonic() < deadline:
            stopped = self._stopped()
            for case, execution_id in list(live.items()):
                if execution_id not in stopped:
                    continue
                if case in following:
                    following.remove(case)
                    live[case] = ACTIONS[case.shape](self, case, execution_id)
                else:
                    path = f"/v1/executions/{execution_id}"
                    ended[case] = self._stack.call("client_a", "GET", path).json()
                    del live[case]
            time.sleep(1)
        assert not [case.prefix for case in live]
        return ended

    def _stopped(self) -> set[str]:
        """The executions that have ended or are paused."""
        found: set[str] = set()
        query: dict[str, Any] = {"limit": 200}
        while True:
            page = self._stack.call("client_a", "GET", "/v1/executions", params=query).json()
            found |= {
                execution["id"]
                for execution in page["items"]
                if execution["status"] in ENDED or execution["paused_at"]
            }
            if page["next_cursor"] is None:
                return found
            query["cursor"] = page["next_cursor"]

    def _submit(self, case: Case, **more: Any) -> str:
        body = {
            "workflow_id": self._falling_back if case.shape == "gone" else WORKFLOW,
            # A lane of its own: no case slows down another one.
            "api_key": f"key of {case.prefix}",
            "webhook_url": self._stack.access["base_url"] + "/nobody-listens-here",
            **case.members,
            **more,
        }
        return self._post(f"{case.prefix} {''.join(more)}", "/v1/executions", body)

    def _resume(self, case: Case, execution_id: str) -> str:
        return self._post(case.prefix, f"/v1/executions/{execution_id}/resume", {})

    def _edit(self, case: Case, execution_id: str) -> str:
        edits = [{"batch_index": n, "prompt": case.prompts[n]} for n in range(PROMPTS)]
        return self._post(case.prefix, f"/v1/executions/{execution_id}/retry", {"edits": edits})

    def _clone(self, case: Case, execution_id: str) -> str:
        return self._post(case.prefix, f"/v1/executions/{execution_id}/clone", {})

    def _reuse(self, case: Case, _: str) -> str:
        return self._submit(case, reuse="identical")

    def _post(self, key: str, path: str, body: dict[str, Any]) -> str:
        headers = {"Idempotency-Key": f"{key} {path}"}
        for _ in range(5):
            answer = self._stack.call("client_a", "POST", path, json=body, headers=headers)
            if answer.status_code == 202:
                return answer.json()["id"]
            assert answer.status_code >= 500, answer.text
        pytest.fail(f"not accepted: {key}")


# What follows the end or the pause of the first execution. Returns the execution to wait for.
ACTIONS = {
    "paused": Caller._resume,
    "edited": Caller._edit,
    "cloned": Caller._clone,
    "reused": Caller._reuse,
}
