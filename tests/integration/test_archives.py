"""Archives: what a builder stores, and what becomes of a part whose builder fails."""

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import boto3
import pytest
import requests

from local.aws.resources import REGION
from masstock.database.connection import Database
from masstock.database.queries import archives, sweeps
from masstock.database.worker import Worker
from masstock.errors import StorageUnavailable
from masstock.services import signed_urls
from masstock.services.archive_storage import Archives
from masstock.services.s3_client import ObjectMissing
from masstock.services.storage import Results
from masstock.settings import ArchiveSettings
from masstock_api import session
from masstock_finalize.archiving import ArchiveDiffers, build_part
from tests.support.clock import Clock
from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, JOHN_OF_ACME, WORKFLOW
from tests.support.handler import RESULTS_BUCKET, UPLOADS_BUCKET, Api

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"


@pytest.fixture
def s3(api: Api, aws_url: str) -> Any:
    return boto3.client("s3", endpoint_url=aws_url, region_name=REGION)


@pytest.fixture
def worker(api: Api, database: Urls, aws_url: str) -> Iterator[Worker]:
    secrets = boto3.client("secretsmanager", endpoint_url=aws_url, region_name=REGION)
    name = f"worker {uuid4()}"
    secrets.create_secret(Name=name, SecretString=database.worker)
    connection = Database(name)
    yield Worker(connection)
    connection.close()


@pytest.fixture
def settings() -> ArchiveSettings:
    names = {"RESULTS_BUCKET": RESULTS_BUCKET, "UPLOADS_BUCKET": UPLOADS_BUCKET}
    return ArchiveSettings({"DATABASE_SECRET_ID": "worker", **names})


class Batch:
    """An ended execution of Acme whose images are in S3."""

    def __init__(self, database: Urls, s3: Any) -> None:
        self.id = uuid4()
        self.contents: dict[int, bytes] = {}
        self._database = database
        self._s3 = s3
        with connected(database.superuser) as connection:
            connection.execute(
                "INSERT INTO public.workflow_executions"
                " (id, workflow_id, client_id, user_id, status, input_data)"
                " VALUES (%s, %s, %s, %s, 'completed', '{}')",
                [self.id, WORKFLOW, ACME, JOHN_OF_ACME],
            )

    def paint(
        self,
        custom_id: str | None = None,
        prompt: str = "a cat",
        kind: bytes = PNG,
        image: tuple[int, int] | None = None,
    ) -> int:
        """Adds a result with an image; returns its index. `image`: prompt_index, image_index."""
        index = len(self.contents)
        content = kind + f"{self.id} {index}".encode()
        self.contents[index] = content
        key = f"{self.id}/{index}_1700000000.png"
        self._s3.put_object(Bucket=RESULTS_BUCKET, Key=key, Body=content)
        with connected(self._database.superuser) as connection:
            connection.execute(
                "INSERT INTO public.workflow_batch_results (execution_id, client_id, batch_index,"
                " prompt_text, custom_id, status, result_storage_path, mime_type, size_bytes,"
                " image_sha256, completed_at, prompt_index, image_index)"
                " VALUES (%s, %s, %s, %s, %s, 'completed', %s, 'image/png', %s, %s, %s, %s, %s)",
                [
                    *(self.id, ACME, index, prompt, custom_id, key, len(content)),
                    *(sha256(content).hexdigest(), datetime(2026, 11, 28, tzinfo=UTC)),
                    *(image or (index, 0)),
                ],
            )
        return index

    def key_of(self, index: int) -> str:
        return f"{self.id}/{index}_1700000000.png"


@pytest.fixture
def batch(database: Urls, s3: Any) -> Batch:
    return Batch(database, s3)


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[UUID, int]]:
    """The parts whose builder the api started; the tests call the builder themselves."""
    parts: list[tuple[UUID, int]] = []
    monkeypatch.setattr(
        "masstock.services.archive_function.start_builder",
        lambda _, archive_id, part: parts.append((archive_id, part)),
    )
    return parts


def ask(api: Api, batch: Batch, **body: Any) -> dict[str, Any]:
    answer = api.call("client_a", "POST", f"/v1/executions/{batch.id}/archive", json=body)
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/v1/executions/{batch.id}/archive"
    return answer.json or {}


def look(api: Api, batch: Batch) -> dict[str, Any]:
    answer = api.call("client_a", "GET", f"/v1/executions/{batch.id}/archive")
    assert answer.status_code == 200, answer.text
    return answer.json or {}


def archive_id(database: Urls, batch: Batch) -> UUID:
    with connected(database.superuser) as connection:
        query = "SELECT id FROM public.archives WHERE execution_id = %s"
        [(found,)] = connection.execute(query, [batch.id])
        return found


def make_due(database: Urls) -> None:
    with connected(database.superuser) as connection:
        connection.execute("UPDATE public.archive_parts SET due_at = now() - interval '1 s'")


def stored(s3: Any, batch: Batch) -> list[str]:
    prefix = f"{ACME}/archives/{batch.id}/"
    found = s3.list_objects_v2(Bucket=UPLOADS_BUCKET, Prefix=prefix).get("Contents", [])
    return [each["Key"] for each in found]


def in_progress(s3: Any) -> list[Any]:
    return s3.list_multipart_uploads(Bucket=UPLOADS_BUCKET).get("Uploads", [])


def opened(s3: Any, key: str) -> zipfile.ZipFile:
    body = s3.get_object(Bucket=UPLOADS_BUCKET, Key=key)["Body"].read()
    archive = zipfile.ZipFile(io.BytesIO(body))
    assert archive.testzip() is None
    return archive


def test_an_archive_holds_the_images_byte_for_byte_and_two_lists(
    api: Api, database: Urls, s3: Any, batch: Batch, worker: Worker, settings: ArchiveSettings
) -> None:
    batch.paint("Ünï/:*?", prompt='=HYPERLINK("http://evil.example")')
    batch.paint("a/b")
    batch.paint("a?b", kind=JPEG)
    batch.paint()
    asked = ask(api, batch)
    assert (asked["state"], asked["images"], asked["parts"]) == ("building", 4, [])
    assert build_part(worker, settings, archive_id(database, batch), 1)

    archive = look(api, batch)
    [part] = archive["parts"]
    [key] = stored(s3, batch)
    assert (archive["state"], archive["bytes"]) == ("ready", part["size_bytes"])
    assert key in part["url"]
    assert s3.head_object(Bucket=UPLOADS_BUCKET, Key=key)["ContentLength"] == part["size_bytes"]
    files = opened(s3, key)
    names = ["Ünï____.png", "a_b.png", "a_b~2.jpg", "0003.png"]
    assert files.namelist() == [*names, "results.csv", "manifest.jsonl"]
    assert [files.read(name) for name in names] == list(batch.contents.values())
    # Stored, and with sizes in front of the content, for readers of streams.
    assert {(info.compress_type, info.flag_bits & 0x8) for info in files.infolist()} == {(0, 0)}
    rows = list(csv.DictReader(io.StringIO(files.read("results.csv").decode("utf-8-sig"))))
    assert [row["file"] for row in rows] == names
    assert rows[0]["prompt"] == "'" + '=HYPERLINK("http://evil.example")'
    lines = [json.loads(line) for line in files.read("manifest.jsonl").splitlines()]
    assert [line["sha256"] for line in lines] == [
        sha256(content).hexdigest() for content in batch.contents.values()
    ]
    assert lines[0]["prompt"] == '=HYPERLINK("http://evil.example")'
    assert lines[0]["custom_id"] == "Ünï/:*?"
    tags = s3.get_object_tagging(Bucket=UPLOADS_BUCKET, Key=key)["TagSet"]
    assert tags == [{"Key": "kind", "Value": "archive"}]


def test_an_archive_of_public_images_is_private(
    api: Api,
    database: Urls,
    batch: Batch,
    worker: Worker,
    settings: ArchiveSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session.settings(), "images_are_public", True)
    batch.paint()
    ask(api, batch)
    assert build_part(worker, settings, archive_id(database, batch), 1)
    [part] = look(api, batch)["parts"]
    assert requests.get(part["url"], timeout=10).status_code == 200
    assert requests.get(part["url"].partition("?")[0], timeout=10).status_code == 403


def test_the_url_of_an_archive_stays_the_same_and_names_the_file(
    api: Api,
    database: Urls,
    batch: Batch,
    worker: Worker,
    settings: ArchiveSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(signed_urls, "time", clock)
    batch.paint()
    ask(api, batch)
    assert build_part(worker, settings, archive_id(database, batch), 1)
    first = look(api, batch)["parts"]
    clock.now += signed_urls.PERIOD_SECONDS - 1
    assert look(api, batch)["parts"] == first
    [part] = first
    expires_at = datetime.fromisoformat(part["expires_at"]).timestamp()
    assert expires_at == clock.now + 1 + signed_urls.URL_SECONDS
    disposition = requests.get(part["url"], timeout=10).headers["Content-Disposition"]
    assert disposition.startswith(f'attachment; filename="{batch.id}.zip"')
    clock.now += 1
    assert look(api, batch)["parts"] != first


@pytest.mark.parametrize(("name", "saved"), [("Été: 50 % off", "Été_ 50 % off.zip"), ("...", None)])
def test_a_browser_saves_an_archive_under_the_name_of_its_execution(
    api: Api,
    database: Urls,
    batch: Batch,
    worker: Worker,
    settings: ArchiveSettings,
    name: str,
    saved: str | None,
) -> None:
    with connected(database.superuser) as connection:
        query = "UPDATE public.workflow_executions SET name = %s WHERE id = %s"
        connection.execute(query, [name, batch.id])
    batch.paint()
    ask(api, batch)
    assert build_part(worker, settings, archive_id(database, batch), 1)
    [part] = look(api, batch)["parts"]
    told = requests.get(part["url"], timeout=10).headers["Content-Disposition"]
    assert told.startswith("attachment; ")
    assert told.endswith(f"filename*=UTF-8''{quote(saved or f'{batch.id}.zip')}")


def test_chosen_images_make_an_archive(
    api: Api, database: Urls, s3: Any, batch: Batch, worker: Worker, settings: ArchiveSettings
) -> None:
    for _ in range(3):
        batch.paint()
    batch.paint("both", image=(3, 0))
    batch.paint("both", image=(3, 1))
    assert ask(api, batch, indices=[4, 2, 0, 2])["images"] == 3
    assert build_part(worker, settings, archive_id(database, batch), 1)
    names = opened(s3, stored(s3, batch)[0]).namelist()
    assert names[:3] == ["0000.png", "0002.png", "both-2.png"]


def test_indices_without_an_image_are_refused_one_by_one(api: Api, batch: Batch) -> None:
    batch.paint()
    path = f"/v1/executions/{batch.id}/archive"
    answer = api.call("client_a", "POST", path, json={"indices": [0, 1, 9999]})
    assert answer.status_code == 422
    assert [each["pointer"] for each in (answer.json or {})["errors"]] == [
        "/indices/1",
        "/indices/2",
    ]
    assert api.call("client_a", "GET", path).status_code == 404


def test_an_execution_without_images_has_no_archive(api: Api, batch: Batch) -> None:
    answer = api.call("client_a", "POST", f"/v1/executions/{batch.id}/archive")
    assert answer.status_code == 409


def test_an_archive_is_built_once_and_again_when_the_images_change(
    api: Api, database: Urls, batch: Batch, worker: Worker, settings: ArchiveSettings
) -> None:
    batch.paint()
    ask(api, batch)
    first = archive_id(database, batch)
    batch.paint()
    ask(api, batch)  # while the first one is building
    assert archive_id(database, batch) == first
    assert build_part(worker, settings, first, 1)
    ask(api, batch)  # with another image
    second = archive_id(database, batch)
    assert second != first
    assert build_part(worker, settings, second, 1)
    ask(api, batch)  # with the same images
    assert archive_id(database, batch) == second


def test_an_archive_expires(
    api: Api, database: Urls, batch: Batch, worker: Worker, settings: ArchiveSettings
) -> None:
    batch.paint()
    ask(api, batch)
    assert build_part(worker, settings, archive_id(database, batch), 1)
    with connected(database.superuser) as connection:
        connection.execute("UPDATE public.archives SET expires_at = now()")
    archive = look(api, batch)
    assert (archive["state"], archive["parts"]) == ("expired", [])
    assert ask(api, batch)["state"] == "building"


def test_an_archive_that_expires_while_it_is_built_is_not_offered(
    api: Api,
    database: Urls,
    batch: Batch,
    worker: Worker,
    settings: ArchiveSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the retention of a client does it."""
    batch.paint()
    ask(api, batch)
    archive = archive_id(database, batch)
    size_of = Archives.size_of

    def expire_first(self: Archives, key: str) -> int:
        with connected(database.superuser) as connection:
            connection.execute("UPDATE public.archives SET expires_at = now()")
        return size_of(self, key)

    monkeypatch.setattr(Archives, "size_of", expire_first)
    assert not build_part(worker, settings, archive, 1)
    make_due(database)
    assert not build_part(worker, settings, archive, 1)
    assert archives.list_due_parts(worker, 100) == []
    with connected(database.superuser) as connection:
        connection.execute("UPDATE public.archive_parts SET attempts = 5")
    assert archives.fail_hopeless_parts(worker) == 0
    assert (look(api, batch)["state"], look(api, batch)["parts"]) == ("expired", [])


def test_parts_have_at_most_a_thousand_images_and_few_megabytes_of_prompts(
    api: Api, database: Urls, batch: Batch, started: list[tuple[UUID, int]]
) -> None:
    with connected(database.superuser) as connection:
        connection.execute(
            "INSERT INTO public.workflow_batch_results (execution_id, client_id, batch_index,"
            " prompt_text, status, result_storage_path, size_bytes)"
            " SELECT %s, %s, i, CASE WHEN i >= 2000 THEN repeat('x', 10000) ELSE 'x' END,"
            " 'completed', 'x', 1500000 FROM generate_series(0, 3999) i",
            [batch.id, ACME],
        )
        assert ask(api, batch)["images"] == 4000
        query = (
            "SELECT cardinality(batch_indices) FROM public.archive_parts WHERE archive_id = %s"
            " ORDER BY part"
        )
        rows = connection.execute(query, [archive_id(database, batch)]).fetchall()
    assert [count for (count,) in rows] == [1000, 1000, 838, 162, 677, 323]
    assert started == [(archive_id(database, batch), part) for part in range(1, 7)]


# --- failures ------------------------------------------------------------------------------------


def test_a_refused_or_thrown_step_repeats_and_offers_no_half_archive(
    api: Api,
    database: Urls,
    s3: Any,
    batch: Batch,
    worker: Worker,
    settings: ArchiveSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch.paint()
    ask(api, batch)
    archive = archive_id(database, batch)
    for step, error in [
        ("masstock.services.storage.Results.read", StorageUnavailable()),
        ("masstock.services.archive_storage.ArchiveUpload._send", StorageUnavailable()),
        ("masstock.services.archive_storage.ArchiveUpload.finish", RuntimeError()),
        ("masstock.services.archive_storage.Archives.size_of", StorageUnavailable()),
    ]:
        with monkeypatch.context() as patch:

            def fail(*_: Any, error: Exception = error, **__: Any) -> Any:
                raise error

            patch.setattr(step, fail)
            with pytest.raises(type(error)):
                build_part(worker, settings, archive, 1)
        assert (look(api, batch)["state"], look(api, batch)["parts"]) == ("building", [])
        assert not in_progress(s3)
        # Its next attempt is not due yet.
        assert not build_part(worker, settings, archive, 1)
        make_due(database)
    assert build_part(worker, settings, archive, 1)
    assert look(api, batch)["state"] == "ready"


def test_a_part_fails_after_five_attempts(
    api: Api, database: Urls, s3: Any, batch: Batch, worker: Worker, settings: ArchiveSettings
) -> None:
    batch.paint()
    s3.delete_object(Bucket=RESULTS_BUCKET, Key=batch.key_of(0))
    ask(api, batch)
    archive = archive_id(database, batch)
    for _ in range(archives.MAX_ATTEMPTS):
        assert archives.fail_hopeless_parts(worker) == 0
        with pytest.raises(Exception):  # noqa: B017, PT011
            build_part(worker, settings, archive, 1)
        make_due(database)
    assert not build_part(worker, settings, archive, 1)
    assert archives.fail_hopeless_parts(worker) == 1
    assert look(api, batch)["state"] == "failed"
    assert not stored(s3, batch)
    assert ask(api, batch)["state"] == "building"


def test_an_image_that_changed_is_not_packed(
    api: Api, database: Urls, s3: Any, batch: Batch, worker: Worker, settings: ArchiveSettings
) -> None:
    batch.paint()
    ask(api, batch)
    s3.put_object(Bucket=RESULTS_BUCKET, Key=batch.key_of(0), Body=PNG + b"another")
    with pytest.raises(ArchiveDiffers):
        build_part(worker, settings, archive_id(database, batch), 1)
    assert not stored(s3, batch)


def test_the_next_attempt_ends_the_upload_of_a_killed_one(
    api: Api, database: Urls, s3: Any, batch: Batch, worker: Worker, settings: ArchiveSettings
) -> None:
    batch.paint()
    ask(api, batch)
    archive = archive_id(database, batch)
    claim = archives.claim_part(worker, archive, 1)
    assert claim is not None
    prefix = Archives.prefix(claim.client_id, claim.execution_id, archive, 1)
    killed = Archives(UPLOADS_BUCKET).new_upload(f"{prefix}1.zip")
    killed.send(b"x" * 1000)
    # While the lease lasts, no other builder begins.
    assert not build_part(worker, settings, archive, 1)
    this = {"archive_id": archive, "part": 1}
    assert this not in archives.list_due_parts(worker, 100)
    make_due(database)
    assert this in archives.list_due_parts(worker, 100)
    assert build_part(worker, settings, archive, 1)
    assert stored(s3, batch) == [f"{prefix}2.zip"]
    assert not in_progress(s3)
    # The killed one was only slow: it can publish nothing any more.
    assert not archives.complete_part(worker, claim, f"{prefix}1.zip", 1)


def test_an_archive_of_a_deleted_execution_is_removed(
    api: Api,
    database: Urls,
    s3: Any,
    batch: Batch,
    worker: Worker,
    settings: ArchiveSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch.paint()
    ask(api, batch)
    archive = archive_id(database, batch)
    size_of = Archives.size_of

    def delete_first(self: Archives, key: str) -> int:
        path = f"/v1/executions/{batch.id}"
        assert api.call("client_a", "DELETE", path).status_code == 204
        return size_of(self, key)

    monkeypatch.setattr(Archives, "size_of", delete_first)
    assert not build_part(worker, settings, archive, 1)
    assert len(stored(s3, batch)) == 1
    assert {"execution_id": batch.id, "client_id": ACME} in sweeps.list_removals(worker, 100)
    assert Archives(UPLOADS_BUCKET).remove_all(ACME, batch.id) == 1
    assert not stored(s3, batch)


def test_archives_of_other_executions_stay(s3: Any, api: Api) -> None:
    doomed, other = uuid4(), uuid4()
    for execution in (doomed, other):
        key = f"{ACME}/archives/{execution}/{uuid4()}/1-1.zip"
        s3.put_object(Bucket=UPLOADS_BUCKET, Key=key, Body=b"x")
    assert Archives(UPLOADS_BUCKET).remove_all(ACME, doomed) == 1
    prefix = f"{ACME}/archives/{other}/"
    assert s3.list_objects_v2(Bucket=UPLOADS_BUCKET, Prefix=prefix)["KeyCount"] == 1


def test_reading_a_missing_image_is_not_an_outage(api: Api) -> None:
    with pytest.raises(ObjectMissing):
        Results(RESULTS_BUCKET).read("nothing")
