"""Lambda throttles, and no prompt is lost and no attempt is spent."""

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.e2e.conftest import Stack, counts, own_stack, workflow


def throttling_stack(directory: Path, concurrent_executions: int) -> AbstractContextManager[Stack]:
    """A stack whose functions together run `concurrent_executions` invokes at once."""
    return own_stack(directory, CONCURRENT_EXECUTIONS=str(concurrent_executions))


def throttles(stack: Stack) -> int:
    """How many invokes of generate Lambda refused."""
    log = (stack.directory / "logs" / "supervisor.log").read_text()
    return log.count("masstock-local-generate is throttled")


def attempts(stack: Stack, execution_id: str) -> set[int]:
    return {row["attempts"] for row in stack.results(execution_id)}


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_twenty_prompts_on_two_slots_all_complete_at_their_first_attempt(tmp_path: Path) -> None:
    with throttling_stack(tmp_path / "stack", 2) as stack:
        stack.rule({"match": "^two slots ", "behave": "ok", "delay_ms": 1500})
        execution_id = stack.submit([f"two slots {number}" for number in range(20)])
        execution = stack.wait(execution_id, 200)
        assert counts(execution) == {"successful": 20, "failed": 0, "total": 20}
        assert attempts(stack, execution_id) == {1}
        assert len(stack.calls("two slots ")) == 20
        assert throttles(stack) > 20


@pytest.mark.slow
@pytest.mark.timeout(290)
def test_two_hundred_prompts_beside_three_executions_on_ten_slots_all_complete(
    tmp_path: Path,
) -> None:
    with throttling_stack(tmp_path / "stack", 10) as stack:
        workflow_id = workflow(stack, max_prompts=200)
        prompts = [f"ten slots {number}" for number in range(200)]
        big = stack.submit(prompts, workflow_id=workflow_id)
        others = [
            stack.submit([f"beside {other} {number}" for number in range(20)]) for other in range(3)
        ]
        for execution_id, total in [(big, 200), *((other, 20) for other in others)]:
            execution = stack.wait(execution_id, 240)
            assert counts(execution) == {"successful": total, "failed": 0, "total": total}
            assert attempts(stack, execution_id) == {1}
        assert throttles(stack) > 20
