"""The exact number of model calls when the model throttles, fails and refuses."""

import random
import re
from typing import Any

import pytest

from tests.e2e.conftest import Stack, counts, workflow

pytestmark = pytest.mark.timeout(400)


def rule(prompt: str, behave: str, **more: Any) -> dict[str, Any]:
    return {"match": f"^{re.escape(prompt)}$", "behave": behave, **more}


def test_a_mix_of_faults_costs_exactly_the_necessary_calls(stack: Stack) -> None:
    shuffled = [f"mixed {n:03}" for n in range(200)]
    random.Random(7).shuffle(shuffled)
    throttled, unavailable, blocked = shuffled[:60], shuffled[60:70], shuffled[70:74]
    stack.rule(
        *(rule(prompt, "throttle", times=2) for prompt in throttled[:50]),
        *(rule(prompt, "throttle", times=2, retry_delay_s=1) for prompt in throttled[50:]),
        *(rule(prompt, "unavailable", times=1) for prompt in unavailable),
        *(rule(prompt, "content_blocked") for prompt in blocked),
    )
    prompts = sorted(shuffled)
    execution = stack.wait(stack.submit(prompts, workflow_id=workflow(stack, max_prompts=200)), 280)
    assert counts(execution) == {"successful": 196, "failed": 4, "total": 200}
    results = stack.results(execution["id"])
    assert {row["prompt_text"] for row in results if row["status"] == "failed"} == set(blocked)
    assert not [row for row in results if row["status"] == "processing"]
    assert len(stack.calls("mixed ")) == 200 + 2 * len(throttled) + len(unavailable)
