"""Images and thumbnails as programs and browsers get them."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import requests

from masstock.services import signed_urls
from masstock.services.s3_client import s3
from masstock.services.storage import Results, thumbnail_key
from tests.support import handler
from tests.support.clock import Clock
from tests.support.databases import Urls
from tests.support.demo_data import ACME, JOHN_OF_ACME, WORKFLOW
from tests.support.refusing_storage import RefusingStorage, refusing_storage

TILES = 200


@pytest.fixture
def api(fresh_database: Urls, aws_url: str) -> Iterator[handler.Api]:
    with handler.environment(fresh_database, aws_url):
        yield handler.Api()


def insert(database: Urls, rows: list[tuple[str, str | None, bool]]) -> UUID:
    """An execution with a row for each (status, custom_id, has_thumbnail)."""
    execution_id = uuid4()
    with psycopg.connect(database.superuser) as connection:
        connection.execute(
            "INSERT INTO public.workflow_executions (id, workflow_id, client_id, user_id,"
            " input_data, status, output_data)"
            " VALUES (%s, %s, %s, %s, '{\"prompts\": []}', 'completed', '{}')",
            [execution_id, WORKFLOW, ACME, JOHN_OF_ACME],
        )
        for index, (status, custom_id, has_thumbnail) in enumerate(rows):
            path = f"{execution_id}/{index}_0.png" if status == "completed" else None
            connection.execute(
                "INSERT INTO public.workflow_batch_results (execution_id, client_id, batch_index,"
                " prompt_text, status, custom_id, result_storage_path, has_thumbnail,"
                " error_message) VALUES (%s, %s, %s, 'x', %s, %s, %s, %s, %s)",
                [
                    *(execution_id, ACME, index, status, custom_id, path, has_thumbnail),
                    "blocked" if status == "failed" else None,
                ],
            )
    return execution_id


@pytest.fixture
def execution(fresh_database: Urls, api: handler.Api) -> UUID:
    rows = [("completed", "Ünï/1", True), ("processing", None, False), ("failed", None, False)]
    return insert(fresh_database, [*rows, ("completed", None, False)])


@pytest.mark.parametrize("what", ["image", "thumbnail"])
def test_an_image_that_is_not_painted_is_not_ready(
    api: handler.Api, execution: UUID, what: str
) -> None:
    path = f"/v1/executions/{execution}/results"
    answer = api.call("client_a", "GET", f"{path}/1/{what}")
    problem: Any = answer.json
    assert (answer.status_code, problem["code"]) == (409, "not_ready")
    assert int(answer.headers["Retry-After"]) > 0
    assert api.call("client_a", "GET", f"{path}/2/{what}").status_code == 404
    assert api.call("client_a", "GET", f"{path}/99/{what}").status_code == 404
    assert api.call("client_b", "GET", f"{path}/1/{what}").status_code == 404


@pytest.mark.parametrize(("what", "kind"), [("image", "image/png"), ("thumbnail", "image/webp")])
def test_the_redirect_and_the_answer_name_the_same_url(
    api: handler.Api, execution: UUID, what: str, kind: str
) -> None:
    path = f"/v1/executions/{execution}/results/0/{what}"
    store(execution, 0)
    redirect = api.call("client_a", "GET", path)
    assert redirect.status_code == 302
    # The Accept header changes nothing.
    accepting = api.call("client_a", "GET", path, headers={"Accept": "application/json"})
    assert accepting.status_code == 302
    named: Any = api.call("client_a", "GET", f"{path}?redirect=false").json
    assert named["url"] == redirect.headers["Location"]
    downloaded = requests.get(named["url"], timeout=10)
    assert (downloaded.status_code, downloaded.headers["Content-Type"]) == (200, kind)
    if what == "image":
        name = "inline; filename=\"_n__1.png\"; filename*=UTF-8''%C3%9Cn%C3%AF_1.png"
        assert downloaded.headers["Content-Disposition"] == name


def test_each_image_of_a_prompt_is_saved_under_its_number(
    api: handler.Api, fresh_database: Urls
) -> None:
    execution = insert(fresh_database, [("completed", None, False)] * 4)
    with psycopg.connect(fresh_database.superuser) as connection:
        connection.execute(
            "UPDATE public.workflow_batch_results"
            " SET prompt_index = batch_index / 2, image_index = batch_index %% 2"
            " WHERE execution_id = %s AND batch_index < 3",
            [execution],
        )
    path = f"/v1/executions/{execution}/results"
    page: Any = api.call("client_a", "GET", path).json
    urls = [row["result_url"] for row in page["items"]]
    assert ["several" in row for row in page["items"]] == [False] * 4
    for index, name in enumerate(["0000-1", "0000-2", "0001", "0003"]):
        named: Any = api.call("client_a", "GET", f"{path}/{index}/image?redirect=false").json
        assert f"%22{name}.png%22" in urls[index]
        assert named["url"] == urls[index]


def test_an_image_without_a_thumbnail_says_so(api: handler.Api, execution: UUID) -> None:
    path = f"/v1/executions/{execution}/results"
    assert api.call("client_a", "GET", f"{path}/3/thumbnail").status_code == 404
    page: Any = api.call("client_a", "GET", path).json
    thumbnails = [row["thumbnail_url"] is not None for row in page["items"]]
    expiries = [row["url_expires_at"] is not None for row in page["items"]]
    assert (thumbnails, expiries) == ([True, False, False, False], [True, False, False, True])
    assert "has_thumbnail" not in page["items"][0]


def test_an_execution_shows_its_first_thumbnail(
    api: handler.Api, fresh_database: Urls, execution: UUID
) -> None:
    later = insert(fresh_database, [("failed", None, False), ("completed", None, True)])
    none = insert(fresh_database, [("completed", None, False)])
    listed: Any = api.call("client_a", "GET", "/v1/executions").json
    covers = {row["id"]: row["cover_url"] for row in listed["items"]}
    assert f"/{execution}/thumbnails/0.webp?" in covers[str(execution)]
    assert f"/{later}/thumbnails/1.webp?" in covers[str(later)]
    assert covers[str(none)] is None
    for execution_id in (execution, later, none):
        one: Any = api.call("client_a", "GET", f"/v1/executions/{execution_id}").json
        assert one["cover_url"] == covers[str(execution_id)]


def test_a_page_can_begin_at_an_index(api: handler.Api, execution: UUID) -> None:
    path = f"/v1/executions/{execution}/results"
    for query, indices in (
        ("from_index=2", [2, 3]),
        ("from_index=0&limit=1", [0]),
        ("from_index=4", []),
        ("from_index=1&status=completed", [3]),
    ):
        page: Any = api.call("client_a", "GET", f"{path}?{query}").json
        assert [row["batch_index"] for row in page["items"]] == indices
    page = api.call("client_a", "GET", f"{path}?from_index=1&limit=1").json
    again: Any = api.call(
        "client_a", "GET", f"{path}?from_index=1&limit=1&cursor={page['next_cursor']}"
    ).json
    assert [row["batch_index"] for row in again["items"]] == [2]
    assert api.call("client_a", "GET", f"{path}?from_index=-1").status_code == 422


# --- caches -------------------------------------------------------------------------------------


class Browser:
    """Keeps what it may keep for a year, by URL."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def show(self, url: str) -> bytes:
        if url not in self._kept:
            answer = requests.get(url, timeout=10)
            assert answer.status_code == 200
            assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
            self._kept[url] = answer.content
        return self._kept[url]


@pytest.fixture
def storage(aws_url: str) -> Iterator[RefusingStorage]:
    with refusing_storage() as proxy:
        proxy.upstream = aws_url
        yield proxy


def test_a_polling_gallery_downloads_each_thumbnail_once(
    api: handler.Api,
    fresh_database: Urls,
    storage: RefusingStorage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(signed_urls, "time", clock)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", storage.url)
    s3.cache_clear()
    execution = insert(fresh_database, [("completed", None, True)] * TILES)
    for index in range(TILES):
        Results("results").put_thumbnail(
            thumbnail_key(execution, index), b"tile %d" % index, "0" * 64
        )
    downloads = storage.gets
    browser = Browser()
    for _ in range(6):
        page: Any = api.call(
            "client_a", "GET", f"/v1/executions/{execution}/results?limit=200"
        ).json
        for row in page["items"]:
            assert browser.show(row["thumbnail_url"]) == b"tile %d" % row["batch_index"]
        # Six looks within a period.
        clock.now += (signed_urls.PERIOD_SECONDS - 1) / 6
    assert storage.gets - downloads == TILES


def store(execution: UUID, index: int) -> None:
    s3().put_object(
        Bucket="results", Key=f"{execution}/{index}_0.png", Body=b"x", ContentType="image/png"
    )
    Results("results").put_thumbnail(thumbnail_key(execution, index), b"y", "0" * 64)
