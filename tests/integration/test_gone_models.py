"""The image model of an execution is gone: it answers 404. The execution stops, or goes on with its
fallback model. Only the model is a stand-in."""

import io
import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from PIL import Image
from psycopg.types.json import Jsonb

from masstock.database.connection import Database
from masstock.database.queries import claims, executions, gone_models
from masstock.database.queries.claims import Claim
from masstock.database.worker import Worker
from masstock.errors import ModelUnavailable, NotFinished
from masstock.schemas.engine import ExecutionRun
from masstock.services import s3_client
from masstock.services.storage import StoredImage
from masstock.settings import FanoutSettings, GenerateSettings
from masstock_fanout.fan_out import fan_out
from masstock_finalize.ending import end_run
from masstock_generate import api_keys, pacing, painting
from masstock_generate.lease import Lease, lease_seconds
from masstock_generate.providers import Painting, PaintRequest
from tests.integration.test_preconditions import waiting_for_another
from tests.support.claims import claim_in_turn
from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, JOHN_OF_ACME
from tests.support.handler import REGION, RESULTS_BUCKET, UPLOADS_BUCKET

PROMPTS = 5
MODEL_SECONDS = 5
MODEL, FALLBACK = "gemini-2.5-flash-image", "gemini-3-pro-image"
WORDS = "models/x is not found for API version v1beta"
LIMITS = {"MAX_CONCURRENCY_DEFAULT": "5", "MAX_CONCURRENCY_LIMIT": "5"}
FANOUT = FanoutSettings({"DATABASE_SECRET_ID": "worker", **LIMITS})
GENERATE = GenerateSettings(
    {
        "DATABASE_SECRET_ID": "worker",
        "SEALING_SECRET_ID": "sealing",
        "RESULTS_BUCKET": RESULTS_BUCKET,
        "UPLOADS_BUCKET": UPLOADS_BUCKET,
        "IMAGE_ACCESS": "signed",
        "MODEL_TIMEOUT_SECONDS": str(MODEL_SECONDS),
        "PLATFORM_API_KEY_SECRET_ID": "platform",
    }
)


class Models:
    """A provider without the models in `gone`."""

    def __init__(self) -> None:
        self.gone = {MODEL, FALLBACK}
        self.calls: list[str] = []

    def paint(self, request: PaintRequest) -> Painting:
        self.calls.append(request.model)
        if request.model in self.gone:
            raise ModelUnavailable(provider_message=WORDS)
        return Painting(PNG, None, request.model, 1)


@pytest.fixture
def models() -> Models:
    return Models()


@pytest.fixture
def worker(
    database: Urls,
    vault: dict[str, str],
    models: Models,
    aws_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Worker]:
    vault["worker"] = database.worker
    vault["platform"] = "the-platforms-key"
    monkeypatch.setattr(api_keys, "read_secret", vault.__getitem__)
    monkeypatch.setattr(painting, "provider", lambda _: models)
    for name, value in {
        "AWS_ENDPOINT_URL_S3": aws_url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "POWERTOOLS_METRICS_NAMESPACE": "MasStock",
        "POWERTOOLS_SERVICE_NAME": "masstock-test",
    }.items():
        monkeypatch.setenv(name, value)
    s3_client.s3.cache_clear()
    connection = Database("worker")
    yield Worker(connection)
    connection.close()
    s3_client.s3.cache_clear()


def start(database: Urls, worker: Worker, **config: Any) -> ExecutionRun:
    """A run of PROMPTS prompts whose rows are laid out."""
    execution_id, workflow_id = uuid4(), uuid4()
    config = {"workflow_type": "nano_banana", "model": MODEL, **config}
    with connected(database.superuser) as connection:
        connection.execute(
            "INSERT INTO public.workflows (id, name, status, config)"
            " VALUES (%s, 'for a test', 'active', %s)",
            [workflow_id, Jsonb(config)],
        )
        connection.execute(
            "INSERT INTO public.workflow_executions (id, workflow_id, client_id, user_id,"
            " input_data) VALUES (%s, %s, %s, %s, %s)",
            [execution_id, workflow_id, ACME, JOHN_OF_ACME, Jsonb({"prompts": ["x"] * PROMPTS})],
        )
    run = ExecutionRun(execution_id, 0)
    fan_out(worker, run, FANOUT)
    return run


@pytest.fixture
def run(database: Urls, worker: Worker) -> ExecutionRun:
    """Without a fallback model."""
    return start(database, worker)


@pytest.fixture
def fallback_run(database: Urls, worker: Worker, models: Models) -> ExecutionRun:
    """With a fallback model that paints."""
    models.gone = {MODEL}
    return start(database, worker, fallback_model=FALLBACK)


def claim(worker: Worker, run: ExecutionRun, index: int) -> Claim | None:
    claimed = claim_in_turn(worker, run.execution_id, index, 60)
    assert not isinstance(claimed, claims.ClaimedElsewhere)
    return claimed


def settle(worker: Worker, claimed: Claim) -> float:
    """The seconds until the prompt's next attempt."""
    lease = Lease(lease_seconds(MODEL_SECONDS))
    return painting.settle(worker, claimed, GENERATE, lease)


def paint(worker: Worker, run: ExecutionRun, index: int) -> int:
    claimed = claim(worker, run, index)
    assert claimed is not None
    return settle(worker, claimed)


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


def picture() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG")
    return stream.getvalue()


PNG = picture()


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
    paint(worker, run, 0)
    assert codes(database, run) == ["model_unavailable", *[None] * 4]
    assert reason(database, run) == (None, None)
    assert claim(worker, run, 1) is not None


def test_the_404_of_a_second_prompt_stops_the_execution(
    database: Urls, worker: Worker, run: ExecutionRun
) -> None:
    paint(worker, run, 0)
    paint(worker, run, 3)
    code, message = reason(database, run)
    assert code == "model_unavailable"
    assert message.endswith(WORDS)
    assert [claim(worker, run, index) for index in (1, 2, 4)] == [None] * 3
    end_run(worker, run, NotFinished())
    assert codes(database, run) == ["model_unavailable"] * PROMPTS


def test_an_image_between_two_404s_keeps_the_execution_going(
    database: Urls, worker: Worker, run: ExecutionRun
) -> None:
    paint(worker, run, 0)
    complete(worker, run, 1)
    paint(worker, run, 2)
    assert reason(database, run) == (None, None)
    paint(worker, run, 3)
    assert reason(database, run)[0] == "model_unavailable"


def test_a_404_before_a_retry_does_not_count(
    database: Urls, worker: Worker, run: ExecutionRun
) -> None:
    paint(worker, run, 0)
    end_run(worker, run, NotFinished())
    again = reopen(database, run)
    fan_out(worker, again, FANOUT)
    paint(worker, again, 1)
    assert reason(database, run) == (None, None)
    paint(worker, again, 2)
    assert reason(database, run)[0] == "model_unavailable"


def test_of_two_404s_at_the_same_time_one_is_the_second(
    database: Urls, worker: Worker, run: ExecutionRun
) -> None:
    claimed = claim(worker, run, 0)
    assert claimed is not None
    with connected(database.superuser) as other:
        with other.transaction():
            # An execution that another 404 has locked.
            other.execute(
                "UPDATE public.workflow_executions SET model_missed_at = now() WHERE id = %s",
                [run.execution_id],
            )
            painter = threading.Thread(target=settle, args=(worker, claimed))
            painter.start()
            with connected(database.superuser) as superuser:
                waiting_for_another(superuser)
        painter.join(20)
    assert reason(database, run)[0] == "model_unavailable"


# --- with a fallback model -----------------------------------------------------------------------


def settings(database: Urls, run: ExecutionRun) -> dict[str, Any]:
    with connected(database.superuser) as connection:
        [(found,)] = connection.execute(
            "SELECT settings FROM public.workflow_executions WHERE id = %s", [run.execution_id]
        ).fetchall()
    return found


def painted_by(database: Urls, run: ExecutionRun) -> list[str | None]:
    with connected(database.superuser) as connection:
        rows = connection.execute(
            "SELECT model FROM public.workflow_batch_results WHERE execution_id = %s"
            " ORDER BY batch_index",
            [run.execution_id],
        ).fetchall()
    return [model for (model,) in rows]


def test_the_first_404_lets_its_prompt_try_again(
    database: Urls, worker: Worker, models: Models, fallback_run: ExecutionRun
) -> None:
    assert paint(worker, fallback_run, 0) == 1
    assert codes(database, fallback_run) == [None] * PROMPTS
    assert settings(database, fallback_run)["model"] == MODEL
    # It was a mistake.
    models.gone = set()
    assert paint(worker, fallback_run, 0) == 0
    assert painted_by(database, fallback_run)[0] == MODEL


def test_after_the_second_404_every_prompt_goes_on_with_the_fallback(
    database: Urls, worker: Worker, models: Models, fallback_run: ExecutionRun
) -> None:
    complete(worker, fallback_run, 0)
    assert [paint(worker, fallback_run, index) for index in (1, 2)] == [1, 1]
    assert settings(database, fallback_run) == {"workflow_type": "nano_banana", "model": FALLBACK}
    assert [paint(worker, fallback_run, index) for index in range(1, PROMPTS)] == [0] * 4
    assert models.calls == [MODEL] * 2 + [FALLBACK] * 4
    assert painted_by(database, fallback_run) == [None, *[FALLBACK] * 4]
    assert end_run(worker, fallback_run, NotFinished())[0] == "completed"


def test_a_single_prompt_falls_back_too(
    worker: Worker, models: Models, fallback_run: ExecutionRun
) -> None:
    assert [paint(worker, fallback_run, 0) for _ in range(3)] == [1, 1, 0]
    assert models.calls == [MODEL, MODEL, FALLBACK]


def test_a_call_that_runs_at_the_fallback_goes_on_with_it(
    database: Urls, worker: Worker, models: Models, fallback_run: ExecutionRun
) -> None:
    running = [claim(worker, fallback_run, index) for index in range(4)]
    waits = [settle(worker, claimed) for claimed in running if claimed is not None]
    assert waits == [1] * 4
    assert reason(database, fallback_run) == (None, None)
    assert [paint(worker, fallback_run, index) for index in range(4)] == [0] * 4
    assert models.calls == [MODEL] * 4 + [FALLBACK] * 4


def test_an_image_between_two_404s_keeps_the_model(
    database: Urls, worker: Worker, fallback_run: ExecutionRun
) -> None:
    paint(worker, fallback_run, 0)
    complete(worker, fallback_run, 1)
    paint(worker, fallback_run, 2)
    assert settings(database, fallback_run)["model"] == MODEL


def test_a_prompt_whose_model_answers_404_to_it_alone_ends(
    database: Urls, worker: Worker, models: Models, fallback_run: ExecutionRun
) -> None:
    for index in range(1, 4):
        assert paint(worker, fallback_run, 0) == 1
        complete(worker, fallback_run, index)
    assert paint(worker, fallback_run, 0) == 0
    assert codes(database, fallback_run)[0] == "model_unavailable"
    assert models.calls == [MODEL] * 4


def test_a_fallback_that_is_gone_stops_the_execution(
    database: Urls, worker: Worker, models: Models, fallback_run: ExecutionRun
) -> None:
    models.gone = {MODEL, FALLBACK}
    assert [paint(worker, fallback_run, index) for index in (0, 1)] == [1, 1]
    assert paint(worker, fallback_run, 0) == 0
    assert codes(database, fallback_run)[:2] == ["model_unavailable", None]
    assert reason(database, fallback_run) == (None, None)
    assert paint(worker, fallback_run, 1) == 0
    assert reason(database, fallback_run)[0] == "model_unavailable"
    assert claim(worker, fallback_run, 2) is None


def test_falling_back_twice_changes_nothing_more(
    database: Urls, worker: Worker, fallback_run: ExecutionRun
) -> None:
    fell_back = [gone_models.fall_back(worker, fallback_run.execution_id, MODEL) for _ in range(2)]
    assert fell_back == [True, False]
    assert not gone_models.fall_back(worker, fallback_run.execution_id, FALLBACK)
    assert settings(database, fallback_run)["model"] == FALLBACK


def test_a_stopped_execution_does_not_fall_back(
    database: Urls, worker: Worker, fallback_run: ExecutionRun
) -> None:
    claimed = claim(worker, fallback_run, 0)
    assert claimed is not None
    executions.stop_execution(worker, fallback_run.execution_id, "cancelled", "x")
    assert not gone_models.fall_back(worker, fallback_run.execution_id, MODEL)
    assert settle(worker, claimed) == 0
    assert codes(database, fallback_run)[0] == "model_unavailable"
    assert reason(database, fallback_run) == ("cancelled", "x")


def test_an_invocation_that_dies_after_its_404_is_repeated(
    worker: Worker, models: Models, fallback_run: ExecutionRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(claims, "release_prompt", dying)
        claimed = claim_in_turn(worker, fallback_run.execution_id, 0, -1)
        assert isinstance(claimed, Claim)
        with pytest.raises(Died):
            settle(worker, claimed)
    assert [paint(worker, fallback_run, 0) for _ in range(2)] == [1, 0]
    assert models.calls == [MODEL, MODEL, FALLBACK]


class Died(BaseException):
    """The end of an invocation."""


def dying(*_: object, **__: object) -> None:
    raise Died


def close_lane(database: Urls, execution: ExecutionRun, fall_back_after: int | None) -> None:
    """The provider of the execution's model has been down for two minutes."""
    with connected(database.superuser) as connection:
        connection.execute(
            "INSERT INTO app_private.lanes (id, closed_by, closed_since, closed_until)"
            " SELECT app.lane_id(lane_key, settings ->> 'model'), 'outage',"
            " now() - interval '2 minutes', now() + interval '3 minutes'"
            " FROM public.workflow_executions WHERE id = %s"
            " ON CONFLICT (id) DO UPDATE SET closed_by = excluded.closed_by,"
            " closed_since = excluded.closed_since, closed_until = excluded.closed_until",
            [execution.execution_id],
        )
        connection.execute(
            "UPDATE public.workflow_executions SET input_data = input_data ||"
            " jsonb_build_object('fall_back_after_seconds', %s::integer) WHERE id = %s",
            [fall_back_after, execution.execution_id],
        )


def open_lanes(database: Urls) -> None:
    with connected(database.superuser) as connection:
        connection.execute("DELETE FROM app_private.lanes")


@pytest.mark.parametrize(("seconds", "falls_back"), [(60, True), (600, False), (None, False)])
def test_a_long_outage_moves_the_execution_to_its_fallback_model(
    database: Urls,
    worker: Worker,
    fallback_run: ExecutionRun,
    seconds: int | None,
    falls_back: bool,
) -> None:
    close_lane(database, fallback_run, seconds)
    try:
        claimed = pacing.claim(worker, fallback_run.execution_id, 0, Lease(60), GENERATE)
    finally:
        open_lanes(database)
    if falls_back:
        assert isinstance(claimed, Claim)
        assert claimed.config["model"] == FALLBACK
    else:
        assert isinstance(claimed, claims.MustWait)
        assert settings(database, fallback_run)["model"] == MODEL


def test_without_a_fallback_model_an_outage_is_waited_out(
    database: Urls, worker: Worker, run: ExecutionRun
) -> None:
    close_lane(database, run, 60)
    try:
        claimed = pacing.claim(worker, run.execution_id, 0, Lease(60), GENERATE)
    finally:
        open_lanes(database)
    assert isinstance(claimed, claims.MustWait)
    assert claimed.limited_by == "outage"
