"""One prompt from its claim to its row, with a real database and the local S3: what a failing step
costs. Only the model is a stand-in, which counts its calls."""

import io
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import boto3
import pytest
from PIL import Image
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from masstock.catalogue.image_models import Usage
from masstock.database.connection import Database
from masstock.database.queries import claims
from masstock.database.queries.claims import Claim
from masstock.database.worker import Worker
from masstock.errors import (
    DatabaseUnavailable,
    NoImage,
    NotFinished,
    PromptBlocked,
    ProviderUnavailable,
    QuotaExhausted,
    StorageUnavailable,
)
from masstock.schemas.engine import ExecutionRun
from masstock.services import s3_client
from masstock.services.storage import image_key
from masstock.settings import FanoutSettings, GenerateSettings
from masstock_fanout import fan_out
from masstock_generate import api_keys, painting
from masstock_generate.lease import MARGIN_SECONDS, RECORD_SECONDS, Lease, lease_seconds
from masstock_generate.providers import Painting, PaintRequest
from tests.support.claims import claim_in_turn
from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, JOHN_OF_ACME
from tests.support.handler import REGION
from tests.support.refusing_storage import RefusingStorage, refusing_storage


def picture(size: tuple[int, int] = (8, 8), format: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size).save(stream, format)
    return stream.getvalue()


PNG = picture()
USAGE = Usage(7, 1290, 0)
MODEL = "gemini-2.5-flash-image"
LIST_PRICE = 38_700
SETTLED = 0
MODEL_SECONDS = 1
LONG = lease_seconds(MODEL_SECONDS)


class Model:
    """A provider that returns `answer`, or raises it."""

    def __init__(self) -> None:
        self.calls = 0
        self.answer: Painting | Exception = Painting(PNG, USAGE, MODEL, 1)

    def paint(self, request: PaintRequest) -> Painting:
        self.calls += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    model = Model()
    monkeypatch.setattr(painting, "provider", lambda _: model)
    return model


@pytest.fixture
def s3(aws_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[RefusingStorage]:
    with refusing_storage() as proxy:
        proxy.upstream = aws_url
        for name, value in {
            "AWS_ENDPOINT_URL_S3": proxy.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "POWERTOOLS_METRICS_NAMESPACE": "MasStock",
            "POWERTOOLS_SERVICE_NAME": "masstock-test",
        }.items():
            monkeypatch.setenv(name, value)
        s3_client.s3.cache_clear()
        yield proxy
        s3_client.s3.cache_clear()


@pytest.fixture
def settings(s3: RefusingStorage) -> GenerateSettings:
    bucket = f"results-{uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return GenerateSettings(
        {
            "DATABASE_SECRET_ID": "worker",
            "SEALING_SECRET_ID": "sealing",
            "RESULTS_BUCKET": bucket,
            "UPLOADS_BUCKET": "uploads",
            "IMAGE_ACCESS": "signed",
            "MODEL_TIMEOUT_SECONDS": str(MODEL_SECONDS),
            "PLATFORM_API_KEY_SECRET_ID": "platform",
        }
    )


@pytest.fixture
def worker(
    database: Urls, vault: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Worker]:
    vault["worker"] = database.worker
    vault["platform"] = "the-platforms-key"
    monkeypatch.setattr(api_keys, "read_secret", vault.__getitem__)
    connection = Database("worker")
    yield Worker(connection)
    connection.close()


@pytest.fixture
def run(database: Urls, worker: Worker, settings: GenerateSettings) -> ExecutionRun:
    """A run of one prompt whose row is laid out."""
    execution_id, workflow_id = uuid4(), uuid4()
    config = {"workflow_type": "nano_banana", "model": MODEL}
    with connected(database.superuser) as connection:
        connection.execute(
            "INSERT INTO public.workflows (id, name, status, config)"
            " VALUES (%s, 'for a test', 'active', %s)",
            [workflow_id, Jsonb(config)],
        )
        connection.execute(
            "INSERT INTO public.workflow_executions (id, workflow_id, client_id, user_id,"
            " input_data, estimate_microusd) VALUES (%s, %s, %s, %s, %s, %s)",
            [execution_id, workflow_id, ACME, JOHN_OF_ACME, Jsonb({"prompts": ["x"]}), LIST_PRICE],
        )
    run = ExecutionRun(execution_id, 0)
    limits = {"MAX_CONCURRENCY_DEFAULT": "5", "MAX_CONCURRENCY_LIMIT": "5"}
    fan_out.fan_out(worker, run, FanoutSettings({"DATABASE_SECRET_ID": "worker", **limits}))
    return run


def claim(worker: Worker, run: ExecutionRun, lease_seconds: float = 60) -> Claim:
    claimed = claim_in_turn(worker, run.execution_id, 0, lease_seconds)
    assert isinstance(claimed, Claim)
    return claimed


def settle(
    worker: Worker, claimed: Claim, settings: GenerateSettings, lease_seconds: float = LONG
) -> Any:
    return painting.settle(worker, claimed, settings, Lease(lease_seconds))


def row(database: Urls, run: ExecutionRun) -> SimpleNamespace:
    with connected(database.superuser) as connection:
        [found] = (
            connection.cursor(row_factory=dict_row)
            .execute(
                "SELECT * FROM public.workflow_batch_results WHERE execution_id = %s",
                [run.execution_id],
            )
            .fetchall()
        )
    return SimpleNamespace(**found)


def charged(database: Urls, execution_id: UUID) -> list[tuple[int, int]]:
    """(attempt, charge) of every attempt in the ledger."""
    with connected(database.superuser) as connection:
        return connection.execute(
            "SELECT attempt, charged_microusd FROM public.spend_ledger"
            " WHERE execution_id = %s AND attempt IS NOT NULL ORDER BY attempt",
            [execution_id],
        ).fetchall()


def test_a_refused_image_is_stored_again_until_s3_accepts_it(
    database: Urls,
    worker: Worker,
    settings: GenerateSettings,
    s3: RefusingStorage,
    model: Model,
    run: ExecutionRun,
) -> None:
    s3.refusing.set()
    outage = threading.Timer(4, s3.refusing.clear)
    outage.start()
    assert settle(worker, claim(worker, run), settings) == SETTLED
    assert (model.calls, s3.refused >= 3) == (1, True)
    assert row(database, run).status == "completed"
    assert charged(database, run.execution_id) == [(1, LIST_PRICE + 2)]


def test_an_image_that_cannot_be_stored_in_time_is_charged_and_counted(
    database: Urls,
    worker: Worker,
    settings: GenerateSettings,
    s3: RefusingStorage,
    model: Model,
    run: ExecutionRun,
) -> None:
    s3.refusing.set()
    # A second more than a call of the model needs.
    lease = MODEL_SECONDS + s3_client.REQUEST_SECONDS + RECORD_SECONDS + MARGIN_SECONDS + 1
    for attempt in range(1, 5):
        with pytest.raises(StorageUnavailable):
            settle(worker, claim(worker, run), settings, lease)
        assert model.calls == attempt
        lost = [(number, LIST_PRICE + 2) for number in range(1, attempt + 1)]
        assert charged(database, run.execution_id) == lost
        assert (row(database, run).status, row(database, run).failures) == ("processing", attempt)
    # The row bounds what a prompt can cost.
    assert settle(worker, claim(worker, run), settings) == SETTLED
    assert model.calls == 4
    assert (row(database, run).status, row(database, run).error_code) == ("failed", "not_finished")


def test_an_image_to_reuse_that_is_gone_is_not_painted_without_budget(
    database: Urls, worker: Worker, settings: GenerateSettings, model: Model, run: ExecutionRun
) -> None:
    with connected(database.superuser) as connection:
        connection.execute(
            "UPDATE public.workflow_executions SET prices = '{\"other_size\": 1000}'"
        )
        connection.execute("UPDATE public.clients SET monthly_budget_microusd = 0")
        connection.execute(
            "UPDATE public.workflow_batch_results SET reused_from = %s, reserved_microusd = 0"
            " WHERE execution_id = %s",
            [uuid4(), run.execution_id],
        )
    assert settle(worker, claim(worker, run), settings) == SETTLED
    with connected(database.superuser) as connection:
        connection.execute("UPDATE public.clients SET monthly_budget_microusd = NULL")
    assert model.calls == 0
    assert (row(database, run).status, row(database, run).error_code) == ("failed", "no_budget")


def test_a_killed_invocation_counts_and_the_fifth_claim_paints_nothing(
    database: Urls, worker: Worker, settings: GenerateSettings, model: Model, run: ExecutionRun
) -> None:
    for _ in range(4):
        claim(worker, run, lease_seconds=-1)
    assert settle(worker, claim(worker, run), settings) == SETTLED
    assert model.calls == 0
    assert (row(database, run).status, row(database, run).error_code) == ("failed", "not_finished")


def test_killed_and_failed_attempts_are_counted_together(
    database: Urls, worker: Worker, settings: GenerateSettings, model: Model, run: ExecutionRun
) -> None:
    model.answer = ProviderUnavailable()
    for _ in range(2):
        claim(worker, run, lease_seconds=-1)
    with pytest.raises(ProviderUnavailable):
        settle(worker, claim(worker, run), settings)
    assert settle(worker, claim(worker, run), settings) == SETTLED
    assert model.calls == 2
    assert row(database, run).error_code == "provider_unavailable"


def test_a_stored_image_is_used_however_many_claims_were_lost(
    database: Urls,
    worker: Worker,
    settings: GenerateSettings,
    model: Model,
    run: ExecutionRun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claimed = claim(worker, run, lease_seconds=-1)
    with monkeypatch.context() as patch:
        patch.setattr(claims, "complete_prompt", _unavailable)
        with pytest.raises(DatabaseUnavailable):
            settle(worker, claimed, settings)
    for _ in range(5):
        claim(worker, run, lease_seconds=-1)
    assert settle(worker, claim(worker, run), settings) == SETTLED
    assert model.calls == 1
    assert row(database, run).status == "completed"
    assert charged(database, run.execution_id) == [(1, LIST_PRICE + 2)]


def _unavailable(*_: object) -> None:
    raise DatabaseUnavailable


def test_a_stored_image_that_no_row_can_have_is_charged(
    database: Urls,
    worker: Worker,
    settings: GenerateSettings,
    model: Model,
    run: ExecutionRun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr(claims, "complete_prompt", broken)
    for _ in range(3):
        with pytest.raises(NotFinished):
            settle(worker, claim(worker, run), settings)
    assert settle(worker, claim(worker, run), settings) == SETTLED
    assert model.calls == 1
    assert row(database, run).error_code == "not_finished"
    assert charged(database, run.execution_id) == [(1, LIST_PRICE + 2)]


@pytest.mark.parametrize(
    ("deadline", "status", "error_code"),
    [("7 hours", "processing", None), ("5 hours", "failed", "quota_exhausted")],
)
def test_a_daily_quota_is_waited_for_if_the_callers_deadline_allows_it(
    database: Urls,
    worker: Worker,
    settings: GenerateSettings,
    model: Model,
    run: ExecutionRun,
    deadline: str,
    status: str,
    error_code: str | None,
) -> None:
    with connected(database.superuser) as connection:
        connection.execute(
            "UPDATE public.workflow_executions SET deadline_at = now() + %s::interval,"
            " deadline_is_fixed = true WHERE id = %s",
            [deadline, run.execution_id],
        )
    model.answer = QuotaExhausted(opens_in_seconds=6 * 3600)
    wait = settle(worker, claim(worker, run), settings)
    assert (wait > 0) == (status == "processing")
    with connected(database.superuser) as connection:
        # All tests of this file share the platform's lane, which is closed now.
        connection.execute("DELETE FROM app_private.lanes")
    found = row(database, run)
    assert (found.status, found.error_code, found.failures) == (status, error_code, 0)


def test_a_daily_quota_stops_a_batch_without_a_deadline_of_its_own(
    database: Urls, worker: Worker, settings: GenerateSettings, model: Model, run: ExecutionRun
) -> None:
    model.answer = QuotaExhausted(opens_in_seconds=60)
    assert settle(worker, claim(worker, run), settings) == SETTLED
    assert row(database, run).error_code == "quota_exhausted"


@pytest.mark.parametrize("usage", [None, Usage(7, 0, 0), Usage(7, 0, 1290)], ids=str)
def test_an_answer_without_tokens_of_the_image_is_charged_the_list_price(
    database: Urls,
    worker: Worker,
    settings: GenerateSettings,
    model: Model,
    run: ExecutionRun,
    usage: Usage | None,
) -> None:
    model.answer = Painting(PNG, usage, MODEL, 1)
    assert settle(worker, claim(worker, run), settings) == SETTLED
    assert row(database, run).cost_microusd == LIST_PRICE
    assert charged(database, run.execution_id) == [(1, LIST_PRICE)]


@pytest.mark.parametrize(
    "content",
    [picture(format="GIF"), picture(format="TIFF"), PNG[:-20], b"garbage", b""],
    ids=["GIF", "TIFF", "cut short", "garbage", "empty"],
)
def test_an_invalid_image_is_charged_and_painted_once(
    database: Urls,
    worker: Worker,
    settings: GenerateSettings,
    model: Model,
    run: ExecutionRun,
    content: bytes,
) -> None:
    model.answer = Painting(content, USAGE, MODEL, 1)
    assert settle(worker, claim(worker, run), settings) == SETTLED
    assert (model.calls, row(database, run).error_code) == (1, "invalid_image")
    assert charged(database, run.execution_id) == [(1, LIST_PRICE + 2)]


@pytest.mark.parametrize("cost", ["", "-5", "many", "9" * 40])
def test_a_spoilt_cost_of_a_stored_image_becomes_the_list_price(
    database: Urls,
    worker: Worker,
    settings: GenerateSettings,
    model: Model,
    run: ExecutionRun,
    cost: str,
) -> None:
    asked_at = claim(worker, run, lease_seconds=-1).asked_at
    metadata = {"sha256": "0", "processing-time-ms": "1", "attempt": "1", "cost-microusd": cost}
    boto3.client("s3").put_object(
        Bucket=settings.results_bucket,
        Key=image_key(run.execution_id, 0, asked_at, "image/png"),
        Body=PNG,
        ContentType="image/png",
        Metadata={name: value for name, value in metadata.items() if value},
    )
    assert settle(worker, claim(worker, run), settings) == SETTLED
    assert model.calls == 0
    assert charged(database, run.execution_id) == [(1, LIST_PRICE)]


def test_no_call_begins_whose_image_could_not_be_stored(
    database: Urls, worker: Worker, settings: GenerateSettings, model: Model, run: ExecutionRun
) -> None:
    too_short = MODEL_SECONDS + s3_client.REQUEST_SECONDS + RECORD_SECONDS + MARGIN_SECONDS
    with pytest.raises(StorageUnavailable):
        settle(worker, claim(worker, run), settings, too_short)
    assert model.calls == 0
    assert (row(database, run).failures, row(database, run).claimed_until) == (0, None)
    assert settle(worker, claim(worker, run), settings) == SETTLED
    assert model.calls == 1


# --- what the model answered ---------------------------------------------------------------------


def ask(database: Urls, run: ExecutionRun, **settings: str) -> None:
    """Stores these settings as a submission would."""
    with connected(database.superuser) as connection:
        connection.execute(
            "UPDATE public.workflow_executions SET input_data = input_data || %s WHERE id = %s",
            [Jsonb(settings), run.execution_id],
        )


def measured(database: Urls, run: ExecutionRun) -> tuple[Any, ...]:
    found = row(database, run)
    return found.model, found.width, found.height, found.as_asked, found.images_in_answer


@pytest.mark.parametrize(
    ("asked", "as_asked"),
    [
        ({}, None),
        ({"aspect_ratio": "16:9"}, True),
        ({"aspect_ratio": "16:9", "image_size": "1K"}, True),
        ({"aspect_ratio": "16:9", "image_size": "2K"}, False),
        ({"aspect_ratio": "1:1"}, False),
        ({"aspect_ratio": "a row of another program"}, None),
    ],
    ids=str,
)
def test_a_result_has_the_measures_of_its_image(
    database: Urls,
    worker: Worker,
    settings: GenerateSettings,
    model: Model,
    run: ExecutionRun,
    asked: dict[str, str],
    as_asked: bool | None,
) -> None:
    ask(database, run, **asked)
    model.answer = Painting(picture((1376, 768), "JPEG"), USAGE, "gemini-3-pro-image", 2)
    assert settle(worker, claim(worker, run), settings) == SETTLED
    assert measured(database, run) == ("gemini-3-pro-image", 1376, 768, as_asked, 2)
    found = row(database, run)
    assert (found.mime_type, found.has_provenance) == ("image/jpeg", False)
    # The model that answered prices the image.
    assert found.cost_microusd == 7 * 2 + 1290 * 120


def test_a_model_that_is_not_listed_does_not_price_its_answer(
    database: Urls, worker: Worker, settings: GenerateSettings, model: Model, run: ExecutionRun
) -> None:
    model.answer = Painting(PNG, USAGE, "gemini-2.5-flash-image-007", 1)
    assert settle(worker, claim(worker, run), settings) == SETTLED
    assert measured(database, run)[0] == "gemini-2.5-flash-image-007"
    assert row(database, run).cost_microusd == LIST_PRICE + 2


def test_an_image_of_a_lost_attempt_keeps_its_measures(
    database: Urls,
    worker: Worker,
    settings: GenerateSettings,
    model: Model,
    run: ExecutionRun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model.answer = Painting(picture((800, 600)), USAGE, None, 3)
    claimed = claim(worker, run, lease_seconds=-1)
    with monkeypatch.context() as patch:
        patch.setattr(claims, "complete_prompt", _unavailable)
        with pytest.raises(DatabaseUnavailable):
            settle(worker, claimed, settings)
    assert settle(worker, claim(worker, run), settings) == SETTLED
    assert model.calls == 1
    assert measured(database, run) == (MODEL, 800, 600, None, 3)


def test_an_answer_without_an_image_is_charged_for_each_attempt(
    database: Urls, worker: Worker, settings: GenerateSettings, model: Model, run: ExecutionRun
) -> None:
    model.answer = NoImage(provider_message="I would rather not.", usage=Usage(10, 0, 100))
    with pytest.raises(NoImage):
        settle(worker, claim(worker, run), settings)
    assert charged(database, run.execution_id) == [(1, 253)]
    assert settle(worker, claim(worker, run), settings) == SETTLED
    assert charged(database, run.execution_id) == [(1, 253), (2, 253)]
    found = row(database, run)
    assert (found.error_code, found.provider_message) == ("no_image", "I would rather not.")
    assert found.error_message.endswith("I would rather not.")


@pytest.mark.parametrize("usage", [None, Usage(0, 0, 0)], ids=str)
def test_an_answer_without_an_image_and_without_tokens_costs_nothing(
    database: Urls,
    worker: Worker,
    settings: GenerateSettings,
    model: Model,
    run: ExecutionRun,
    usage: Usage | None,
) -> None:
    model.answer = PromptBlocked(usage=usage)
    assert settle(worker, claim(worker, run), settings) == SETTLED
    assert row(database, run).error_code == "prompt_blocked"
    assert sum(charge for _, charge in charged(database, run.execution_id)) == 0
