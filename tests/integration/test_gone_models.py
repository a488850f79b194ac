"""The image model of an execution is gone: it answers 404. Only the model is a stand-in."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb

from masstock.database.connection import Database
from masstock.database.queries import claims
from masstock.database.queries.claims import Claim
from masstock.database.worker import Worker
from masstock.errors import ModelUnavailable, NotFinished
from masstock.schemas.engine import ExecutionRun
from masstock.services.storage import StoredImage
from masstock.settings import FanoutSettings, GenerateSettings
from masstock_fanout.fan_out import fan_out
from masstock_finalize.ending import end_run
from masstock_generate import painting
from masstock_generate.lease import Lease, lease_seconds
from masstock_generate.providers import Painting, PaintRequest
from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, JOHN_OF_ACME

PROMPTS = 5
MODEL = "gemini-2.5-flash-image"
WORDS = "models/x is not found for API version v1beta"
LIMITS = {"MAX_CONCURRENCY_DEFAULT": "5", "MAX_CONCURRENCY_LIMIT": "5"}
FANOUT = FanoutSettings({"DATABASE_SECRET_ID": "worker", **LIMITS})
GENERATE = GenerateSettings(
    {
        "DATABASE_SECRET_ID": "worker",
        "SEALING_SECRET_ID": "sealing",
        "RESULTS_BUCKET": "results",
        "UPLOADS_BUCKET": "uploads",
        "IMAGE_ACCESS": "signed",
        "MODEL_TIMEOUT_SECONDS": "5",
        "PLATFORM_API_KEY_SECRET_ID": "platform",
    }
)


class Gone:
    """A provider without the model."""

    def paint(self, request: PaintRequest) -> Painting:
        raise ModelUnavailable(provider_message=WORDS)


@pytest.fixture
def worker(
    database: Urls, vault: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Worker]:
    vault["worker"] = database.worker
    vault["platform"] = "the-platforms-key"
    monkeypatch.setattr(painting, "read_secret", vault.__getitem__)
    monkeypatch.setattr(painting, "provider", lambda _: Gone())
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "MasStock")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "masstock-test")
    connection = Database("worker")
    yield Worker(connection)
    connection.close()


@pytest.fixture
def run(database: Urls, worker: Worker) -> ExecutionRun:
    """A run of PROMPTS prompts whose rows are laid out."""
    execution_id, workflow_id = uuid4(), uuid4()
    with connected(database.superuser) as connection:
        connection.execute(
            "INSERT INTO public.workflows (id, name, status, config)"
            " VALUES (%s, 'for a test', 'active', %s)",
            [workflow_id, Jsonb({"workflow_type": "nano_banana", "model": MODEL})],
        )
        connection.execute(
            "INSERT INTO public.workflow_executions (id, workflow_id, client_id, user_id,"
            " input_data) VALUES (%s, %s, %s, %s, %s)",
            [execution_id, workflow_id, ACME, JOHN_OF_ACME, Jsonb({"prompts": ["x"] * PROMPTS})],
        )
    run = ExecutionRun(execution_id, 0)
    fan_out(worker, run, FANOUT)
    return run


def claim(worker: Worker, run: ExecutionRun, index: int) -> Claim | None:
    claimed = claims.claim_prompt(worker, run.execution_id, index, 60)
    assert not isinstance(claimed, claims.ClaimedElsewhere)
    return claimed


def meet_404(worker: Worker, run: ExecutionRun, index: int) -> None:
    claimed = claim(worker, run, index)
    assert claimed is not None
    painting.settle(worker, claimed, GENERATE, Lease(lease_seconds(5)))


def complete(worker: Worker, run: ExecutionRun, index: int) -> None:
    claimed = claim(worker, run, index)
    assert claimed is not None
    image = StoredImage(f"{index}.png", "image/png", 1, "0", 1, 5, 1, None)
    assert claims.complete_prompt(worker, claimed, image, None)


def reopen(database: Urls, run: ExecutionRun) -> ExecutionRun:
    """What a retry of an ended execution does."""
    with connected(database.superuser) as connection:
        connection.execute(
            "UPDATE public.workflow_batch_results SET status = 'processing', completed_at = NULL"
            " WHERE execution_id = %s AND error_code = 'not_finished'",
            [run.execution_id],
        )
        connection.execute(
            "UPDATE public.workflow_executions SET status = 'pending', run = 1, error_code = NULL,"
            " error_message = NULL, completed_at = NULL WHERE id = %s",
            [run.execution_id],
        )
    return ExecutionRun(run.execution_id, 1)


def reason(database: Urls, run: ExecutionRun) -> tuple[Any, ...]:
    with connected(database.superuser) as connection:
        [row] = connection.execute(
            "SELECT error_code, error_message FROM public.workflow_executions WHERE id = %s",
            [run.execution_id],
        ).fetchall()
    return row


def codes(database: Urls, run: ExecutionRun) -> list[str | None]:
    with connected(database.superuser) as connection:
        rows = connection.execute(
            "SELECT error_code FROM public.workflow_batch_results WHERE execution_id = %s"
            " ORDER BY batch_index",
            [run.execution_id],
        ).fetchall()
    return [code for (code,) in rows]


def test_the_first_404_fails_its_own_prompt_only(
    database: Urls, worker: Worker, run: ExecutionRun
) -> None:
    meet_404(worker, run, 0)
    assert codes(database, run) == ["model_unavailable", *[None] * 4]
    assert reason(database, run) == (None, None)
    assert claim(worker, run, 1) is not None


def test_the_404_of_a_second_prompt_stops_the_execution(
    database: Urls, worker: Worker, run: ExecutionRun
) -> None:
    meet_404(worker, run, 0)
    meet_404(worker, run, 3)
    code, message = reason(database, run)
    assert code == "model_unavailable"
    assert message.endswith(WORDS)
    assert [claim(worker, run, index) for index in (1, 2, 4)] == [None] * 3
    end_run(worker, run, NotFinished())
    assert codes(database, run) == ["model_unavailable"] * PROMPTS


def test_an_image_between_two_404s_keeps_the_execution_going(
    database: Urls, worker: Worker, run: ExecutionRun
) -> None:
    meet_404(worker, run, 0)
    complete(worker, run, 1)
    meet_404(worker, run, 2)
    assert reason(database, run) == (None, None)
    meet_404(worker, run, 3)
    assert reason(database, run)[0] == "model_unavailable"


def test_a_404_before_a_retry_does_not_count(
    database: Urls, worker: Worker, run: ExecutionRun
) -> None:
    meet_404(worker, run, 0)
    end_run(worker, run, NotFinished())
    again = reopen(database, run)
    fan_out(worker, again, FANOUT)
    meet_404(worker, again, 1)
    assert reason(database, run) == (None, None)
    meet_404(worker, again, 2)
    assert reason(database, run)[0] == "model_unavailable"
