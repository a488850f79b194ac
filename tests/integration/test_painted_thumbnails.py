"""Generate stores the image, then its thumbnail, then the row. An image never fails for its
thumbnail."""
# ruff: noqa: F811

import io
from typing import Any

import boto3
import pytest
from PIL import Image

from masstock.database.queries import claims
from masstock.database.queries.executions import start_execution
from masstock.database.worker import Worker
from masstock.errors import DatabaseUnavailable, NotFinished, StorageUnavailable
from masstock.schemas.engine import ExecutionRun
from masstock.services import storage
from masstock.services.storage import Results, thumbnail_key
from masstock.settings import GenerateSettings
from masstock_finalize.ending import end_run
from masstock_generate import painting, storing
from masstock_generate.lease import Lease
from masstock_generate.providers import Painting
from tests.integration.test_painting import (  # noqa: F401
    LIST_PRICE,
    MODEL,
    SETTLED,
    USAGE,
    Model,
    charged,
    claim,
    model,
    picture,
    row,
    run,
    s3,
    settings,
    settle,
    worker,
)
from tests.support.databases import Urls
from tests.support.handler import Api


def size_of_thumbnail(
    settings: GenerateSettings, run: ExecutionRun, key: str | None = None
) -> tuple[int, int] | None:
    key = key or thumbnail_key(run.execution_id, 0)
    try:
        found = boto3.client("s3").get_object(Bucket=settings.results_bucket, Key=key)
    except boto3.client("s3").exceptions.NoSuchKey:
        return None
    return Image.open(io.BytesIO(found["Body"].read())).size


@pytest.fixture
def unavailable(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes functions of a module raise StorageUnavailable."""

    def make(owner: object, name: str, error: type[Exception] = StorageUnavailable) -> None:
        def fails(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(owner, name, fails)

    return make


def test_an_image_has_a_thumbnail_and_keeps_its_bytes(
    database: Urls, worker: Worker, settings: GenerateSettings, model: Model, run: ExecutionRun
) -> None:
    content = picture((1376, 768), "JPEG")
    model.answer = Painting(content, USAGE, MODEL, 1)
    assert settle(worker, claim(worker, run), settings) == SETTLED
    found = row(database, run)
    assert (found.status, found.has_thumbnail) == ("completed", True)
    assert size_of_thumbnail(settings, run) == (512, 286)
    assert Results(settings.results_bucket).read(found.result_storage_path) == content


@pytest.mark.parametrize("error", [StorageUnavailable, ValueError])
def test_a_thumbnail_that_is_not_stored_leaves_the_image(
    database: Urls,
    worker: Worker,
    settings: GenerateSettings,
    model: Model,
    run: ExecutionRun,
    unavailable: Any,
    error: type[Exception],
) -> None:
    unavailable(Results, "put_thumbnail", error)
    assert settle(worker, claim(worker, run), settings) == SETTLED
    assert (row(database, run).status, row(database, run).has_thumbnail) == ("completed", False)
    assert model.calls == 1


def test_a_thumbnail_that_fails_leaves_the_image(
    database: Urls,
    worker: Worker,
    settings: GenerateSettings,
    model: Model,
    run: ExecutionRun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("masstock_generate.images.make_thumbnail", lambda *_: None)
    assert settle(worker, claim(worker, run), settings) == SETTLED
    assert (row(database, run).status, row(database, run).has_thumbnail) == ("completed", False)


def test_without_time_for_its_thumbnail_an_image_is_completed(
    database: Urls,
    worker: Worker,
    settings: GenerateSettings,
    model: Model,
    run: ExecutionRun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = Lease.has_time_for
    monkeypatch.setattr(
        Lease, "has_time_for", lambda self, seconds: real(self, seconds) and model.calls == 0
    )
    assert settle(worker, claim(worker, run), settings) == SETTLED
    assert (row(database, run).status, row(database, run).has_thumbnail) == ("completed", False)


@pytest.mark.parametrize("dies", ["before its thumbnail", "before its row"])
def test_a_found_image_gets_its_thumbnail(
    database: Urls,
    worker: Worker,
    settings: GenerateSettings,
    model: Model,
    run: ExecutionRun,
    monkeypatch: pytest.MonkeyPatch,
    unavailable: Any,
    dies: str,
) -> None:
    model.answer = Painting(picture((1024, 768)), USAGE, MODEL, 1)
    claimed = claim(worker, run, lease_seconds=-1)
    with monkeypatch.context() as patch:
        if dies == "before its thumbnail":
            patch.setattr(painting, "with_thumbnail", lambda _, __, stored, *___: stored)
        patch.setattr(claims, "complete_prompt", _unavailable)
        with pytest.raises(DatabaseUnavailable):
            settle(worker, claimed, settings)
    assert size_of_thumbnail(settings, run) == (None if "thumbnail" in dies else (512, 384))
    if dies == "before its row":
        # It is there, so it is not made again.
        unavailable(storing, "inspect_image")
    assert settle(worker, claim(worker, run), settings) == SETTLED
    assert (model.calls, row(database, run).has_thumbnail) == (1, True)
    assert size_of_thumbnail(settings, run) == (512, 384)


@pytest.mark.parametrize("late_one_comes", ["before the new one", "after the new one"])
def test_a_changed_prompt_keeps_its_picture_although_that_of_the_former_is_stored_late(
    database: Urls,
    vault: dict[str, str],
    api: Api,
    worker: Worker,
    settings: GenerateSettings,
    model: Model,
    run: ExecutionRun,
    late_one_comes: str,
) -> None:
    vault[f"database {database.name}"] = database.api
    late = claim(worker, run, lease_seconds=-1)
    end_run(worker, run, NotFinished())
    edits = [{"batch_index": 0, "prompt": "new"}]
    path = f"/v1/executions/{run.execution_id}"
    assert api.call("client_a", "POST", f"{path}/retry", json={"edits": edits}).status_code == 202
    start_execution(worker, ExecutionRun(run.execution_id, 1))
    new = claim(worker, run)
    for claimed in (new, late) if "after" in late_one_comes else (late, new):
        side = 600 if claimed is new else 300
        model.answer = Painting(picture((side, side)), USAGE, MODEL, 1)
        assert settle(worker, claimed, settings) == SETTLED
    found = row(database, run)
    key = thumbnail_key(run.execution_id, 0, new.edited_at)
    assert (found.prompt_text, found.width, found.thumbnail_path) == ("new", 600, key)
    assert size_of_thumbnail(settings, run, key) == (512, 512)
    assert charged(database, run.execution_id) == [(1, LIST_PRICE + 2), (3, LIST_PRICE + 2)]
    shown: Any = api.call("client_a", "GET", f"{path}/results").json
    [item] = shown["items"]
    assert "thumbnail_path" not in item
    execution: Any = api.call("client_a", "GET", path).json
    listed: Any = api.call("client_a", "GET", "/v1/executions").json
    answer = api.call("client_a", "GET", f"{path}/results/0/thumbnail")
    for url in (
        item["thumbnail_url"],
        execution["cover_url"],
        next(each for each in listed["items"] if each["id"] == execution["id"])["cover_url"],
        answer.headers["Location"],
    ):
        assert f"/{key}?" in url


@pytest.mark.parametrize("broken", ["has_thumbnail", "read", "put_thumbnail"])
def test_a_found_image_is_completed_although_its_thumbnail_fails(
    database: Urls,
    worker: Worker,
    settings: GenerateSettings,
    model: Model,
    run: ExecutionRun,
    monkeypatch: pytest.MonkeyPatch,
    unavailable: Any,
    broken: str,
) -> None:
    claimed = claim(worker, run, lease_seconds=-1)
    with monkeypatch.context() as patch:
        patch.setattr(painting, "with_thumbnail", lambda _, __, stored, *___: stored)
        patch.setattr(claims, "complete_prompt", _unavailable)
        with pytest.raises(DatabaseUnavailable):
            settle(worker, claimed, settings)
    unavailable(storage.Results, broken)
    assert settle(worker, claim(worker, run), settings) == SETTLED
    assert (row(database, run).status, row(database, run).has_thumbnail) == ("completed", False)
    assert model.calls == 1


def _unavailable(*_: object) -> None:
    raise DatabaseUnavailable
