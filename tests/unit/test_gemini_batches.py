"""What the raw JSON of a job says, and what a line of a job asks."""

import json
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from masstock.errors import ProviderUnavailable
from masstock_generate.providers import LineRequest, ProviderFile
from masstock_generate.providers.gemini_batches import find, job_of, line_of
from tests.support.web import Web

FILE = {"responsesFile": "files/result"}


def metadata(**members: Any) -> dict[str, Any]:
    return {"name": "batches/1", "metadata": {"state": "BATCH_STATE_RUNNING", **members}}


@pytest.mark.parametrize(
    ("state", "ended"),
    [
        ("BATCH_STATE_PENDING", False),
        ("BATCH_STATE_RUNNING", False),
        ("BATCH_STATE_SUCCEEDED", True),
        ("BATCH_STATE_FAILED", True),
        ("BATCH_STATE_CANCELLED", True),
        ("BATCH_STATE_EXPIRED", True),
        ("JOB_STATE_SUCCEEDED", True),
        ("BATCH_STATE_SOMETHING_NEW", False),
        (None, False),
        (["?"], False),
    ],
)
def test_a_state_says_if_the_job_works_on(state: Any, ended: bool) -> None:
    assert job_of(metadata(state=state)).has_ended is ended


def test_a_job_that_is_done_works_no_more_in_any_state() -> None:
    assert job_of({**metadata(state="BATCH_STATE_SOMETHING_NEW"), "done": True}).has_ended


@pytest.mark.parametrize(
    "operation",
    [
        {**metadata(), "response": FILE},
        metadata(output=FILE),
        metadata(dest={"fileName": "files/result"}),
        {**metadata(), "response": {"output": FILE}},
    ],
)
def test_a_result_is_found_wherever_the_job_names_it(operation: dict[str, Any]) -> None:
    assert job_of(operation).output_file == "files/result"


def test_a_failed_job_gives_its_reason() -> None:
    job = job_of({**metadata(state="BATCH_STATE_FAILED"), "error": {"code": 13, "message": "why"}})
    assert (job.has_ended, job.output_file, job.words) == (True, None, "why")


@pytest.mark.parametrize(
    ("count", "painted"), [("12", 12), (12, 12), ("-1", 0), ("x", 0), (None, 0)]
)
def test_painted_lines_are_counted_from_any_form(count: Any, painted: int) -> None:
    assert job_of(metadata(batchStats={"successfulRequestCount": count})).painted == painted


@pytest.mark.parametrize(("after_a", "pages"), [("a", 2), ("b", 3)])
def test_pages_that_do_not_end_do_not_prove_that_there_is_no_job(
    web: Web, monkeypatch: pytest.MonkeyPatch, after_a: str, pages: int
) -> None:
    """The job could be on another page. A second one would be paid again."""

    def page(request: BaseHTTPRequestHandler) -> None:
        token = after_a if request.path.endswith("pageToken=a") else "a"
        web.answer({"operations": [], "nextPageToken": token})
        web.behave(request)
        web.behave = page

    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", web.url)
    web.behave = page
    with pytest.raises(ProviderUnavailable, match="does not end"):
        find("key", "a job")
    assert len(web.requests) == pages


def test_a_line_asks_for_an_image_and_is_one_line() -> None:
    file = ProviderFile("files/1", "https://provider.example/files/1")
    line = line_of(LineRequest("17", "a\u2028b\nc", [(file, "image/png")], "16:9", "2K", 5))
    assert b"\n" not in line
    assert line.isascii()
    assert json.loads(line) == {
        "key": "17",
        "request": {
            "contents": [
                {
                    "role": "user",
                    "parts": [
                        {"fileData": {"fileUri": file.uri, "mimeType": "image/png"}},
                        {"text": "a\u2028b\nc"},
                    ],
                }
            ],
            "generation_config": {
                "responseModalities": ["IMAGE"],
                "imageConfig": {"aspectRatio": "16:9", "imageSize": "2K"},
                "seed": 5,
            },
        },
    }
