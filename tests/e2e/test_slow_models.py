"""An image that the model answers after minutes is stored, and paid once."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.e2e.conftest import Stack, run_local, workflow

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

SECONDS = [63, 180]
MODEL_TIMEOUT_SECONDS = 200


@pytest.fixture(scope="module")
def patient() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODEL_TIMEOUT_SECONDS", str(MODEL_TIMEOUT_SECONDS))
        yield


@pytest.fixture(scope="module")
def stack(patient: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose timeout allows the slowest answer."""
    directory = tmp_path_factory.mktemp("slow-models")
    try:
        run_local("up", directory)
        yield Stack(directory)
    finally:
        run_local("clean", directory)


@pytest.fixture(scope="module")
def submitted(stack: Stack) -> dict[int, str]:
    """The executions, which wait at the same time."""
    stack.rule(
        *(
            {"match": f"^after {seconds} s$", "behave": "slow", "delay_ms": seconds * 1000}
            for seconds in SECONDS
        )
    )
    workflow_id = workflow(stack)
    return {
        seconds: stack.submit([f"after {seconds} s"], workflow_id=workflow_id)
        for seconds in SECONDS
    }


@pytest.mark.parametrize("seconds", SECONDS)
def test_a_late_image_is_stored_and_paid_once(
    stack: Stack, submitted: dict[int, str], seconds: int
) -> None:
    execution = stack.wait(submitted[seconds], MODEL_TIMEOUT_SECONDS + 60)
    [row] = stack.results(execution["id"])
    assert (execution["status"], row["status"], row["attempts"]) == ("completed", "completed", 1)
    assert row["processing_time_ms"] >= seconds * 1000
    assert len(stack.calls(f"after {seconds} s")) == 1
    with psycopg.connect(stack.access["database_url"]) as connection:
        charges = connection.execute(
            "SELECT charged_microusd FROM public.spend_ledger"
            " WHERE execution_id = %s AND attempt IS NOT NULL",
            [execution["id"]],
        ).fetchall()
    assert charges == [(row["cost_microusd"],)]
