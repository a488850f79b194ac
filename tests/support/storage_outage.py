"""What happens to a batch while S3 refuses its images: in `make test` for a few seconds, in
`make test-crash` for a minute."""

import threading
import time
from pathlib import Path

import psycopg

from tests.e2e.conftest import Stack, counts, run_local
from tests.support.refusing_storage import refusing_storage, variables_of_stack

PROMPTS = [f"stored late {number:02}" for number in range(20)]
MODEL_MILLISECONDS = 500


def check_that_an_outage_costs_no_image(directory: Path, plans: Path, seconds: float) -> None:
    """Submits 20 prompts. PutObject is refused for `seconds`, from the moment when some images are
    stored. Every prompt gets its image from its one call, and the ledger has each cost once."""
    with refusing_storage() as storage, variables_of_stack(storage, plans):
        try:
            run_local("up", directory)
            stack = Stack(directory)
            storage.upstream = stack.access["s3_endpoint"]
            stack.rule({"match": "^stored late ", "behave": "ok", "delay_ms": MODEL_MILLISECONDS})
            execution_id = stack.submit(PROMPTS)
            _until_painted(stack, execution_id, 3)
            storage.refusing.set()
            outage = threading.Timer(seconds, storage.refusing.clear)
            outage.start()
            try:
                execution = stack.wait(execution_id, seconds + 120)
            finally:
                outage.cancel()
            assert storage.refused > 0, "the outage met no image"
            assert counts(execution) == {"successful": 20, "failed": 0, "total": 20}
            called = sorted(call["prompt"] for call in stack.calls("stored late "))
            assert called == PROMPTS
            _check_ledger(stack, execution_id, execution["cost_microusd"])
        finally:
            run_local("clean", directory)


def _until_painted(stack: Stack, execution_id: str, number: int) -> None:
    deadline = time.monotonic() + 90
    path = f"/v1/executions/{execution_id}"
    while stack.call("client_a", "GET", path).json()["progress"]["successful"] < number:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _check_ledger(stack: Stack, execution_id: str, cost: int) -> None:
    with psycopg.connect(stack.access["database_url"]) as connection:
        charged = connection.execute(
            "SELECT batch_index, charged_microusd FROM public.spend_ledger"
            " WHERE execution_id = %s AND batch_index IS NOT NULL ORDER BY batch_index",
            [execution_id],
        ).fetchall()
        reserved = connection.execute(
            "SELECT sum(reserved_microusd)::bigint FROM public.spend_ledger"
            " WHERE execution_id = %s",
            [execution_id],
        ).fetchone()
        costs = connection.execute(
            "SELECT batch_index, cost_microusd FROM public.workflow_batch_results"
            " WHERE execution_id = %s ORDER BY batch_index",
            [execution_id],
        ).fetchall()
    assert charged == costs
    assert len(charged) == len(PROMPTS)
    assert sum(row[1] for row in charged) == cost
    assert reserved == (0,)
