"""The economy tier from its chunks to its images, with a real database and the local S3. Only the
provider is a stand-in in this process."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import boto3
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from masstock.database.connection import Database
from masstock.database.queries import sweeps
from masstock.database.worker import Worker
from masstock.errors import (
    InvalidApiKey,
    ProviderThrottled,
    ProviderTimeout,
    ProviderUnavailable,
)
from masstock.services import s3_client
from masstock_generate import api_keys, painting
from masstock_generate.economy import collect, work
from masstock_generate.providers import CreateUnanswered, ResultGone
from tests.local.pictures import a_picture
from tests.support.batch_provider import Died, FakeBatches, picture_of
from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME
from tests.support.economy import A_WHILE, Machine, begin
from tests.support.handler import REGION, UPLOADS_BUCKET

PROMPTS = [f"a lighthouse, view {number}" for number in range(4)]
# Of 7 + 1290 tokens at half the price, and of fake_provider's tokens.
NOTHING: Any = {"tier": "economy", "indices": [], "max_concurrency": 5, "wait_seconds": 1}
COST = {"economy": 19_351, "standard": 30_002}


@pytest.fixture
def provider() -> FakeBatches:
    return FakeBatches()


@pytest.fixture
def start(
    database: Urls,
    vault: dict[str, str],
    provider: FakeBatches,
    aws_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Machine]]:
    """Begins an execution of PROMPTS, in chunks of two."""
    vault["worker"] = database.worker
    vault["platform"] = "the-platforms-key"
    monkeypatch.setattr(api_keys, "read_secret", vault.__getitem__)
    monkeypatch.setattr(painting, "provider", lambda _: provider)
    for module in (work, collect):
        monkeypatch.setattr(module, "batch_provider", lambda _: provider)
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
    with closing(Database("worker")) as connection, connected(database.superuser) as superuser:
        superuser.row_factory = dict_row  # pyright: ignore[reportAttributeAccessIssue]

        def begin_one(prompts: list[str] = PROMPTS, **more: Any) -> Machine:
            machine = begin(superuser, Worker(connection), provider, prompts, **more)
            machine.environment["ECONOMY_RESULT_BYTES"] = str(2 * 2_800_000)
            return machine

        yield begin_one
    s3_client.s3.cache_clear()


def copies() -> list[str]:
    listed = boto3.client("s3").list_objects_v2(Bucket=UPLOADS_BUCKET)
    return [found["Key"] for found in listed.get("Contents", []) if "/economy/" in found["Key"]]


def assert_each_picture_belongs_to_its_prompt(machine: Machine) -> None:
    s3 = boto3.client("s3")
    for row in machine.rows():
        if row["status"] == "completed":
            body = s3.get_object(Bucket="results", Key=row["result_storage_path"])["Body"].read()
            assert body == picture_of(row["prompt_text"])


def assert_all_painted(machine: Machine, tiers: list[str] | None = None) -> None:
    """Every prompt has its image, each was painted once, and nothing is left over."""
    ended = machine.execution()
    assert ended["status"] == "completed"
    assert [row["status"] for row in machine.rows()] == ["completed"] * len(machine.rows())
    assert_each_picture_belongs_to_its_prompt(machine)
    assert Counter(machine.provider.painted) == Counter(
        row["prompt_text"] for row in machine.rows()
    )
    tiers = tiers or ["economy"] * len(machine.rows())
    assert [row["tier"] for row in machine.rows()] == tiers
    assert [row["cost_microusd"] for row in machine.rows()] == [COST[tier] for tier in tiers]
    ledger = machine.ledger()
    assert ledger.pop("reserved") == 0
    assert sum(ledger.values()) == ended["cost_microusd"]
    assert {job["state"] for job in machine.jobs()} == {"done"}
    assert machine.provider.files == {}
    assert copies() == []


def test_every_image_costs_half_and_nothing_is_left_at_the_provider(
    start: Callable[..., Machine], provider: FakeBatches
) -> None:
    machine = start()
    machine.go()
    assert_all_painted(machine)
    assert [len(job.painted) for job in provider.jobs] == [2, 2]
    assert machine.ledger().keys() == {"economy", "reserved"}


# --- results -------------------------------------------------------------------------------------


def test_results_are_matched_by_their_keys_alone(
    start: Callable[..., Machine], provider: FakeBatches
) -> None:
    def edit(lines: dict[str, Any]) -> list[Any]:
        foreign = {**next(iter(lines.values())), "key": "99"}
        doubled = {"key": next(iter(lines)), "error": {"code": 13, "message": "again"}}
        nameless = {"response": {}}
        return [foreign, doubled, nameless, *reversed(lines.values()), foreign]

    provider.edit = edit
    machine = start()
    machine.go()
    assert_all_painted(machine)


def test_prompts_without_a_line_are_painted_directly(
    start: Callable[..., Machine], provider: FakeBatches
) -> None:
    provider.edit = lambda lines: [line for key, line in lines.items() if key not in ("0", "3")]
    machine = start()
    machine.go()
    assert [row["tier"] for row in machine.rows()] == ["standard", "economy", "economy", "standard"]
    assert [row["cost_microusd"] for row in machine.rows()] == [30_002, 19_351, 19_351, 30_002]
    assert provider.direct == [PROMPTS[0], PROMPTS[3]]
    assert_each_picture_belongs_to_its_prompt(machine)
    assert machine.ledger() == {"economy": 2 * 19_351, "standard": 2 * 30_002, "reserved": 0}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ({"response": {"promptFeedback": {"blockReason": "SAFETY"}}}, "prompt_blocked"),
        ({"response": {"candidates": [{"finishReason": "IMAGE_SAFETY"}]}}, "content_blocked"),
        ({"error": {"code": 3, "message": "no", "details": [{"@type": "x"}]}}, "invalid_request"),
        ({"status": {"code": 400, "message": "no"}}, "invalid_request"),
    ],
)
def test_a_final_error_of_a_line_is_an_outcome(
    start: Callable[..., Machine], provider: FakeBatches, line: dict[str, Any], code: str
) -> None:
    provider.edit = lambda lines: [*list(lines.values())[1:], {"key": next(iter(lines)), **line}]
    machine = start(PROMPTS[:2])
    machine.go()
    assert [row["error_code"] for row in machine.rows()] == [code, None]
    assert provider.direct == []


@pytest.mark.parametrize(
    "line",
    [
        {"error": {"code": 14, "message": "busy"}},
        {"error": {"code": 429, "message": "slow down"}},
        {"error": "what?"},
        {"response": {"candidates": [{"finishReason": "NO_IMAGE"}]}},
        {},
    ],
)
@pytest.mark.parametrize("on_failure", ["standard", "fail"])
def test_a_passing_error_of_a_line_falls_back_or_fails(
    start: Callable[..., Machine], provider: FakeBatches, line: dict[str, Any], on_failure: str
) -> None:
    provider.edit = lambda lines: [*list(lines.values())[1:], {"key": next(iter(lines)), **line}]
    machine = start(PROMPTS[:2], on_economy_failure=on_failure)
    machine.go()
    first, second = machine.rows()
    assert (second["status"], second["tier"]) == ("completed", "economy")
    if on_failure == "standard":
        assert (first["status"], first["tier"]) == ("completed", "standard")
        assert provider.direct == [PROMPTS[0]]
    else:
        assert first["status"] == "failed"
        assert first["error_code"] in {
            "provider_unavailable",
            "provider_rate_limited",
            "no_image",
        }
        assert provider.direct == []
    assert machine.ledger()["reserved"] == 0


def test_a_failed_job_leaves_its_prompts_to_the_standard_tier(
    start: Callable[..., Machine], provider: FakeBatches
) -> None:
    provider.ends_as = "BATCH_STATE_EXPIRED"
    machine = start()
    ended = machine.go()
    assert ended["status"] == "completed"
    assert ended["fell_back_at"] is not None
    assert provider.direct == PROMPTS
    assert {row["tier"] for row in machine.rows()} == {"standard"}
    assert machine.ledger() == {"standard": 4 * 30_002, "reserved": 0}


def test_a_failed_job_fails_its_prompts_if_the_caller_wants_so(
    start: Callable[..., Machine], provider: FakeBatches
) -> None:
    provider.ends_as = "BATCH_STATE_FAILED"
    machine = start(on_economy_failure="fail")
    ended = machine.go()
    assert (ended["status"], ended["error_code"]) == ("failed", "provider_unavailable")
    for row in machine.rows():
        assert row["error_code"] == "provider_unavailable"
        assert "the provider's words" in row["error_message"]
    assert provider.painted == []
    assert machine.ledger() == {"reserved": 0}


def test_a_retry_makes_new_jobs_for_what_it_reopens(
    start: Callable[..., Machine], provider: FakeBatches
) -> None:
    provider.edit = lambda lines: list(lines.values())[1:]
    machine = start(on_economy_failure="fail")
    machine.go()
    assert [row["status"] for row in machine.rows()] == ["failed", "completed"] * 2
    provider.edit = None
    machine.sql(
        "UPDATE public.workflow_batch_results SET status = 'processing', error_code = NULL"
        " WHERE execution_id = %s AND status = 'failed'",
        machine.run.execution_id,
    )
    machine.change(status="pending")
    machine.go()
    assert {row["status"] for row in machine.rows()} == {"completed"}
    # The lines of the first jobs that were dropped were painted too.
    assert [len(job.painted) for job in provider.jobs] == [2, 2, 2]
    assert_each_picture_belongs_to_its_prompt(machine)


# --- creating jobs -------------------------------------------------------------------------------


def test_a_lost_answer_to_a_creation_makes_no_second_job(
    start: Callable[..., Machine], provider: FakeBatches
) -> None:
    provider.refusals["answer of create"] = [CreateUnanswered()]
    machine = start()
    machine.go()
    assert_all_painted(machine)
    assert len(provider.jobs) == 2
    assert "find" in provider.calls


def test_a_creation_that_did_not_arrive_is_sent_again_after_the_list_was_read(
    start: Callable[..., Machine], provider: FakeBatches
) -> None:
    machine = start(PROMPTS[:2])
    batch = machine.turn(None)
    provider.dies_at, provider.dies_after = 2, False
    with pytest.raises(Died):
        machine.turn(batch)
    assert provider.calls == ["upload", "create"]
    # Too early: the job could not be in the list yet.
    machine.pass_time(30)
    machine.sql("UPDATE public.economy_jobs SET claimed_until = NULL")
    assert machine.turn(batch)["next"] == "wait"
    assert provider.calls == ["upload", "create"]
    machine.go()
    assert provider.calls[2:4] == ["find", "create"]
    assert_all_painted(machine)


def test_jobs_wait_in_order_for_the_limit_of_their_lane(
    start: Callable[..., Machine], provider: FakeBatches
) -> None:
    provider.refusals["create"] = [ProviderThrottled(retry_after=50)]
    first, second = start(PROMPTS[:2]), start(PROMPTS[2:])
    assert first.turn(first.turn(None))["next"] == "wait"
    waiting = second.turn(second.turn(None))
    assert (waiting["next"], waiting["wait_seconds"]) == ("wait", 1)
    assert provider.calls.count("create") == 1
    first.pass_time(60)
    first.go()
    second.go()
    assert {row["tier"] for row in first.rows() + second.rows()} == {"economy"}
    assert [job.painted for job in provider.jobs] == [PROMPTS[:2], PROMPTS[2:]]


@pytest.mark.parametrize("on_failure", ["standard", "fail"])
def test_a_refused_creation_falls_back_or_fails(
    start: Callable[..., Machine], provider: FakeBatches, on_failure: str
) -> None:
    provider.refusals["create"] = [InvalidApiKey(), InvalidApiKey()]
    machine = start(on_economy_failure=on_failure)
    ended = machine.go()
    if on_failure == "standard":
        assert (ended["status"], provider.direct) == ("completed", PROMPTS)
    else:
        assert (ended["status"], ended["error_code"]) == ("failed", "invalid_api_key")
    assert machine.ledger()["reserved"] == 0


def test_calls_that_fail_are_made_again(
    start: Callable[..., Machine], provider: FakeBatches
) -> None:
    busy = ProviderUnavailable("Busy.")
    provider.refusals = {
        "upload": [busy, ProviderTimeout()],
        "look": [busy, InvalidApiKey()],
        "download": [busy, busy],
        "delete": [busy],
    }
    machine = start(PROMPTS[:2])
    ended = machine.go()
    assert ended["status"] == "completed"
    assert provider.painted == PROMPTS[:2]
    assert {row["tier"] for row in machine.rows()} == {"economy"}


def test_a_result_that_is_gone_falls_back(
    start: Callable[..., Machine], provider: FakeBatches
) -> None:
    provider.refusals["download"] = [ResultGone()]
    machine = start(PROMPTS[:2])
    machine.go()
    assert provider.direct == PROMPTS[:2]


# --- ends ----------------------------------------------------------------------------------------


def cancel(machine: Machine) -> None:
    machine.change(error_code="cancelled", error_message="The execution was cancelled.")


def until(machine: Machine, state: str) -> Any:
    """Runs until the first job is in this state. Returns the machine's last batch."""
    batch = None
    for _ in range(20):
        batch = machine.turn(batch)
        if machine.jobs() and machine.jobs()[0]["state"] == state:
            return batch
        if batch["next"] == "wait":
            machine.provider.end(machine.provider.jobs[0].name, "BATCH_STATE_SUCCEEDED")
            machine.pass_time(100)
    raise AssertionError(machine.jobs())


@pytest.mark.parametrize("state", ["running", "ended", "copied"])
def test_a_cancelled_execution_keeps_what_its_jobs_have_painted(
    start: Callable[..., Machine], provider: FakeBatches, state: str
) -> None:
    machine = start()
    until(machine, state)
    cancel(machine)
    ended = machine.go()
    assert (ended["status"], ended["error_code"]) == ("failed", "cancelled")
    painted = {prompt for job in provider.jobs for prompt in job.painted}
    rows = machine.rows()
    assert {row["prompt_text"] for row in rows if row["status"] == "completed"} == painted
    assert {row["error_code"] for row in rows if row["status"] == "failed"} <= {"cancelled"}
    assert provider.direct == []
    assert_each_picture_belongs_to_its_prompt(machine)
    assert machine.ledger()["reserved"] == 0


def test_a_cancelled_execution_whose_creation_was_not_answered_cancels_that_job(
    start: Callable[..., Machine], provider: FakeBatches
) -> None:
    provider.refusals["answer of create"] = [CreateUnanswered()]
    machine = start(PROMPTS[:2])
    machine.turn(machine.turn(None))
    cancel(machine)
    provider.ends_as = "BATCH_STATE_RUNNING"
    ended = machine.go()
    assert ended["error_code"] == "cancelled"
    assert [job.state for job in provider.jobs] == ["BATCH_STATE_CANCELLED"]
    assert {row["status"] for row in machine.rows()} == {"completed"}


def test_an_execution_that_is_cancelled_before_its_jobs_creates_none(
    start: Callable[..., Machine], provider: FakeBatches
) -> None:
    machine = start()
    cancel(machine)
    assert machine.go()["error_code"] == "cancelled"
    assert provider.calls == []


@pytest.mark.parametrize("ends", [True, False])
def test_what_jobs_did_not_paint_in_time_is_painted_directly(
    start: Callable[..., Machine], provider: FakeBatches, ends: bool
) -> None:
    provider.ends_when_cancelled = ends
    machine = start()
    until(machine, "running")
    machine.change(working_since="2020-01-01")
    provider.ends_as = "BATCH_STATE_RUNNING"
    ended = machine.go()
    assert ended["status"] == "completed"
    assert provider.calls.count("cancel") >= 2
    tier = "economy" if ends else "standard"
    assert {row["tier"] for row in machine.rows()} == {tier}


def test_after_the_deadline_what_came_is_kept(
    start: Callable[..., Machine], provider: FakeBatches
) -> None:
    machine = start()
    until(machine, "running")
    machine.change(deadline_at="2020-01-01")
    provider.jobs[1].state = "BATCH_STATE_EXPIRED"
    ended = machine.go()
    assert ended["status"] == "completed"
    rows = machine.rows()
    assert [row["status"] for row in rows] == ["completed", "completed", "failed", "failed"]
    assert {row["error_code"] for row in rows[2:]} == {"deadline_exceeded"}
    assert provider.direct == []


@pytest.mark.parametrize("lost", ["before", "after"])
def test_a_cancellation_that_did_not_arrive_is_sent_again(
    start: Callable[..., Machine], provider: FakeBatches, lost: str
) -> None:
    machine = start(PROMPTS[:2])
    until(machine, "running")
    cancel(machine)
    provider.ends_as = "BATCH_STATE_RUNNING"
    provider.dies_at, provider.dies_after = len(provider.calls) + 2, lost == "after"
    machine.go()
    assert provider.calls[provider.dies_at - 1] == "cancel"
    assert [job.state for job in provider.jobs] == ["BATCH_STATE_CANCELLED"]
    assert {row["status"] for row in machine.rows()} == {"completed"}


@pytest.mark.parametrize("stopped", [True, False])
def test_a_result_that_is_always_refused_does_not_keep_the_execution(
    start: Callable[..., Machine], provider: FakeBatches, stopped: bool
) -> None:
    machine = start(PROMPTS[:2])
    until(machine, "ended")
    if stopped:
        cancel(machine)
        machine.sql("UPDATE public.economy_jobs SET ended_at = now() - interval '20 minutes'")
    provider.refusals["download"] = [ProviderUnavailable() if stopped else InvalidApiKey()] * 30
    ended = machine.go()
    assert ended["status"] == ("failed" if stopped else "completed")
    assert {row["economy_job_id"] for row in machine.rows()} == {machine.jobs()[0]["id"]}
    assert provider.direct == ([] if stopped else PROMPTS[:2])
    assert provider.calls.count("download") == (1 if stopped else 6)


@pytest.mark.parametrize(("minutes", "is_late"), [(1, False), (31, True)])
def test_the_sweep_gives_an_economy_machine_half_an_hour_to_end_its_jobs(
    start: Callable[..., Machine], minutes: int, is_late: bool
) -> None:
    machine = start()
    until(machine, "running")
    ago = datetime.now(UTC) - timedelta(minutes=minutes)
    machine.change(deadline_at=ago, error_code="cancelled")
    machine.change(stopped_at=ago)
    row = sweeps.fetch_live_execution(machine.worker, machine.run)
    assert row is not None
    assert (row["overdue"], row["stopped"]) == (is_late, is_late)


# --- reference images ----------------------------------------------------------------------------


def with_references(start: Callable[..., Machine], prompts: list[str], **more: Any) -> Machine:
    key = f"{ACME}/references/{uuid4()}.png"
    etag = boto3.client("s3").put_object(Bucket=UPLOADS_BUCKET, Key=key, Body=a_picture("red"))
    settings = {"reference_images": [key], "reference_etags": [etag["ETag"].strip('"')]}
    return start(prompts, input_data=Jsonb({"prompts": prompts, **settings}), **more)


def test_the_last_chunk_deletes_the_reference_images_of_all(
    start: Callable[..., Machine], provider: FakeBatches
) -> None:
    machine = with_references(start, PROMPTS)
    until(machine, "running")
    # The second job begins when nothing of the first is left.
    provider.end(provider.jobs[0].name, "BATCH_STATE_SUCCEEDED")
    for _ in range(8):
        machine.pass_time(A_WHILE)
        for index in (0, 1):
            machine._generate(index, "economy")
        machine.turn({**NOTHING, "next": "copy"})
        machine.turn({**NOTHING, "next": "poll"})
    assert [job["state"] for job in machine.jobs()] == ["done", "running"]
    machine.go()
    assert_all_painted(machine)
    assert len(provider.jobs) == 2


def test_a_retry_uploads_the_reference_images_again(
    start: Callable[..., Machine], provider: FakeBatches
) -> None:
    provider.edit = lambda lines: list(lines.values())[1:]
    machine = with_references(start, PROMPTS[:2], on_economy_failure="fail")
    machine.go()
    assert provider.files == {}
    provider.edit = None
    machine.sql(
        "UPDATE public.workflow_batch_results SET status = 'processing', error_code = NULL,"
        " economy_job_id = NULL WHERE execution_id = %s AND status = 'failed'",
        machine.run.execution_id,
    )
    machine.change(status="pending")
    machine.go()
    assert {row["tier"] for row in machine.rows()} == {"economy"}
    assert provider.files == {}


def test_only_the_prompts_whose_reference_image_is_gone_fail(
    start: Callable[..., Machine], provider: FakeBatches
) -> None:
    machine = with_references(start, PROMPTS[:3])
    machine.turn(None)
    [execution] = machine.sql(
        "SELECT input_data FROM public.workflow_executions WHERE id = %s", machine.run.execution_id
    )
    asked = {
        name: execution["input_data"][name] for name in ("reference_images", "reference_etags")
    }
    missing = {"reference_images": [f"{ACME}/references/gone.png"], "reference_etags": ["1"]}
    both = {name: [*asked[name], *missing[name]] for name in asked}
    for index, settings in enumerate((both, asked, missing)):
        machine.sql(
            "UPDATE public.workflow_batch_results SET asked = %s"
            " WHERE execution_id = %s AND batch_index = %s",
            Jsonb(settings),
            machine.run.execution_id,
            index,
        )
    ended = machine.go()
    rows = machine.rows()
    assert [row["error_code"] for row in rows] == ["reference_gone", None, "reference_gone"]
    assert (ended["status"], rows[1]["tier"]) == ("completed", "economy")
    assert provider.painted == [PROMPTS[1]]
    # The second chunk had no line, so it has no job.
    assert [job["job_name"] is None for job in machine.jobs()] == [False, True]
    assert {job["state"] for job in machine.jobs()} == {"done"}
    assert provider.files == {}
    assert machine.ledger() == {"economy": 19_351, "reserved": 0}


# --- crashes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dies_after", [False, True], ids=["before", "after"])
def test_a_death_at_any_call_of_the_provider_loses_and_doubles_nothing(
    start: Callable[..., Machine], provider: FakeBatches, dies_after: bool
) -> None:
    whole = with_references(start, PROMPTS[:3])
    whole.go()
    calls = len(provider.calls)
    assert calls > 10
    for call in range(1, calls + 1):
        FakeBatches.__init__(provider, dies_at=call, dies_after=dies_after)
        machine = with_references(start, PROMPTS[:3])
        machine.go()
        assert_all_painted(machine)
        assert [len(job.painted) for job in provider.jobs] == [2, 1]


@pytest.mark.slow
@pytest.mark.parametrize("dies_after", [False, True], ids=["before", "after"])
def test_a_death_at_any_transaction_loses_and_doubles_nothing(
    start: Callable[..., Machine],
    provider: FakeBatches,
    monkeypatch: pytest.MonkeyPatch,
    dies_after: bool,
) -> None:
    fetch = Worker.fetch_together
    calls, dies_at = 0, 0

    def fetch_or_die(self: Worker, statements: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == dies_at and not dies_after:
            raise Died
        rows = fetch(self, statements)
        if calls == dies_at:
            raise Died
        return rows

    monkeypatch.setattr(Worker, "fetch_together", fetch_or_die)
    start(PROMPTS[:3]).go()
    for dies_at in range(1, calls + 1):  # noqa: B007 - read by fetch_or_die
        calls = 0
        FakeBatches.__init__(provider)
        machine = start(PROMPTS[:3])
        machine.go()
        calls = 0
        assert_all_painted(machine)
