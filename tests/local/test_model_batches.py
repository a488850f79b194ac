"""Files and jobs of the stand-in model, as google-genai and plain HTTP call them."""

import base64
import json
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import errors, types

from local.image_model.painter import prompt_of
from tests.local.model_calls import KEY, calls, control, http, running_model, until
from tests.local.pictures import a_picture

MODEL = "gemini-2.5-flash-image"
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def url() -> Iterator[str]:
    with running_model() as url:
        yield url


def sdk(url: str, key: str = KEY, version: str = "v1beta") -> genai.Client:
    options = types.HttpOptions(base_url=url, api_version=version, timeout=10_000)
    return genai.Client(api_key=key, http_options=options)


def batches(url: str, **members: Any) -> tuple[int, Any]:
    return http(f"{url}/_control", {"batches": members})


def line(key: str, prompt: str, parts: list[Any] | None = None, **image: str) -> dict[str, Any]:
    contents = [{"role": "user", "parts": [*(parts or []), {"text": prompt}]}]
    config = {"responseModalities": ["IMAGE"], "imageConfig": image}
    return {"key": key, "request": {"contents": contents, "generation_config": config}}


def upload(client: genai.Client, path: Path, lines: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    file = client.files.upload(file=path, config={"mime_type": "jsonl", "display_name": "lines"})
    assert file.name
    return file.name


def run(url: str, path: Path, lines: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """The end state of a job and the lines of its result."""
    client = sdk(url)
    job = client.batches.create(model=MODEL, src=upload(client, path, lines), config={})
    assert job.name
    raw = ended(url, job.name)
    name = raw["metadata"].get("output", {}).get("responsesFile")
    return raw["metadata"]["state"], result(url, name) if name else []


def ended(url: str, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def is_done() -> bool:
        found.append(http(f"{url}/v1beta/{name}")[1])
        return found[-1].get("done") is True

    until(is_done)
    return found[-1]


def result(url: str, file: str) -> list[dict[str, Any]]:
    content = httpx2.get(
        f"{url}/v1beta/{file}:download", params={"alt": "media"}, headers={"x-goog-api-key": KEY}
    )
    assert content.status_code == 200
    return [json.loads(each) for each in content.text.splitlines()]


def prompt_in(answer: dict[str, Any]) -> str:
    [part] = answer["response"]["candidates"][0]["content"]["parts"]
    return prompt_of(base64.b64decode(part["inlineData"]["data"]))


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_the_sdk_uploads_creates_looks_downloads_and_deletes(
    url: str, tmp_path: Path, version: str
) -> None:
    client = sdk(url, version=version)
    name = upload(client, tmp_path / "lines", [line("a", "first"), line("b", "second")])
    assert client.files.get(name=name).mime_type == "jsonl"
    job = client.batches.create(model=MODEL, src=name, config={"display_name": "a chunk"})
    assert job.name
    assert job.display_name == "a chunk"
    ended(url, job.name)
    job = client.batches.get(name=job.name)
    assert job.state == types.JobState.JOB_STATE_SUCCEEDED
    assert job.dest
    assert job.dest.file_name
    # The length that the SDK's `files.get` refuses.
    assert len(job.dest.file_name.removeprefix("files/")) == 42
    content = client.files.download(file=job.dest.file_name)
    lines = {each["key"]: each for each in map(json.loads, content.splitlines())}
    assert {key: prompt_in(each) for key, each in lines.items()} == {"a": "first", "b": "second"}
    assert lines["a"]["response"]["usageMetadata"]["candidatesTokenCount"] == 1290
    assert [each.name for each in client.batches.list()] == [job.name]
    files = [(each.name, each.display_name) for each in client.files.list(config={"page_size": 1})]
    assert files == [(job.dest.file_name, ""), (name, "lines")]
    client.batches.delete(name=str(job.name))
    client.files.delete(name=name)
    assert list(client.batches.list()) == []
    with pytest.raises(errors.ClientError):
        client.files.get(name=name)


def test_painted_lines_and_jobs_are_logged(url: str, tmp_path: Path) -> None:
    run(url, tmp_path / "lines", [line("1", "one"), line("2", "two")])
    logged = calls(url)
    assert [(call["prompt"], call["tier"]) for call in logged] == [
        ("one", "economy"),
        ("two", "economy"),
    ]
    [job] = http(f"{url}/_jobs")[1]
    assert (job["state"], job["lines"], job["painted"]) == ("SUCCEEDED", 2, 2)
    assert job["api_key_sha256"] == logged[0]["api_key_sha256"]


def test_a_reference_is_an_uploaded_file(url: str, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(a_picture("red"))
    client = sdk(url)
    file = client.files.upload(file=picture)
    known = {"fileData": {"fileUri": file.uri, "mimeType": "image/png"}}
    unknown = {"fileData": {"fileUri": f"{url}/v1beta/files/nothing", "mimeType": "image/png"}}
    lines = [line("known", "p", [known]), line("unknown", "p", [unknown])]
    _, answers = run(url, tmp_path / "lines", lines)
    details = answers[0]["response"]["usageMetadata"]["promptTokensDetails"]
    assert {each["modality"] for each in details} == {"TEXT", "IMAGE"}
    assert answers[1]["error"]["status"] == "PERMISSION_DENIED"


def test_lines_follow_the_rules(url: str, tmp_path: Path) -> None:
    control(
        url,
        {"match": "blocked", "behave": "prompt_blocked"},
        {"match": "key", "behave": "invalid_key"},
        {"match": "silence", "behave": "drop"},
    )
    lines = [line(name, name) for name in ("blocked", "key", "silence", "fine")]
    lines.append(line("shape", "fine", aspectRatio="7:5"))
    state, answers = run(url, tmp_path / "lines", lines)
    assert state == "BATCH_STATE_SUCCEEDED"
    found = {each["key"]: each for each in answers}
    assert found["blocked"]["response"]["promptFeedback"]["blockReason"] == "PROHIBITED_CONTENT"
    assert found["key"]["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    assert found["silence"]["error"]["code"] == 500
    assert found["shape"]["error"]["code"] == 400
    assert prompt_in(found["fine"]) == "fine"


@pytest.mark.parametrize(
    ("members", "state", "keys"),
    [
        ({"state": "FAILED"}, "FAILED", []),
        ({"state": "EXPIRED"}, "EXPIRED", []),
        ({"state": "CANCELLED"}, "CANCELLED", ["0", "1"]),
        ({"drop_keys": 1}, "SUCCEEDED", [None, "1", "2", "3"]),
        ({"double_keys": 1}, "SUCCEEDED", ["0", "0", "1", "2", "3"]),
        ({"foreign_keys": 1}, "SUCCEEDED", ["0", "1", "2", "3", "foreign"]),
    ],
    ids=str,
)
def test_jobs_end_as_the_control_says(
    url: str, tmp_path: Path, members: dict[str, Any], state: str, keys: list[str | None]
) -> None:
    assert batches(url, **members)[0] == 200
    ended_as, answers = run(url, tmp_path / "lines", [line(str(n), f"p{n}") for n in range(4)])
    assert ended_as == f"BATCH_STATE_{state}"
    known = {None, "0", "1", "2", "3"}
    found = [each.get("key") for each in answers]
    assert [key if key in known else "foreign" for key in found] == keys


def test_a_failed_job_says_why_beside_its_metadata(url: str, tmp_path: Path) -> None:
    batches(url, state="FAILED")
    client = sdk(url)
    name = upload(client, tmp_path / "lines", [line("a", "first")])
    job = client.batches.create(model=MODEL, src=name)
    assert job.name
    raw = ended(url, job.name)
    assert raw["error"]["code"] == 13
    assert "error" not in raw["metadata"]


def test_results_are_shuffled(url: str, tmp_path: Path) -> None:
    batches(url, order="shuffled", error_lines=2)
    _, answers = run(url, tmp_path / "lines", [line(str(n), f"prompt {n}") for n in range(12)])
    keys = [each["key"] for each in answers]
    assert sorted(keys, key=int) == [str(n) for n in range(12)]
    assert keys != sorted(keys, key=int)
    assert {each["key"] for each in answers if "error" in each} == {"0", "1"}
    assert all(
        prompt_in(each) == f"prompt {each['key']}" for each in answers if "error" not in each
    )


@pytest.mark.parametrize("place", ["response", "metadata"])
def test_the_output_is_where_the_control_says(url: str, tmp_path: Path, place: str) -> None:
    batches(url, output_under=place)
    client = sdk(url)
    name = upload(client, tmp_path / "lines", [line("a", "first")])
    job = client.batches.create(model=MODEL, src=name)
    assert job.name
    raw = ended(url, job.name)
    assert ("responsesFile" in raw.get("response", {})) == (place == "response")
    assert ("output" in raw["metadata"]) == (place == "metadata")


def test_a_stuck_job_ends_when_it_is_cancelled(url: str, tmp_path: Path) -> None:
    batches(url, state="stuck")
    client = sdk(url)
    name = upload(client, tmp_path / "lines", [line("a", "first")])
    job = client.batches.create(model=MODEL, src=name)
    assert job.name
    until(lambda: http(f"{url}/_jobs")[1][0]["state"] == "RUNNING")
    client.batches.cancel(name=job.name)
    assert ended(url, job.name)["metadata"]["state"] == "BATCH_STATE_CANCELLED"
    assert calls(url) == []


def test_create_can_be_refused_or_lose_its_answer(url: str, tmp_path: Path) -> None:
    batches(url, create_429=1, lose_create_answer=1)
    client = sdk(url)
    name = upload(client, tmp_path / "lines", [line("a", "first")])
    with pytest.raises(errors.ClientError) as refused:
        client.batches.create(model=MODEL, src=name)
    assert refused.value.code == 429
    assert http(f"{url}/_jobs")[1] == []
    with pytest.raises(httpx2.RemoteProtocolError):
        httpx2.post(
            f"{url}/v1beta/models/{MODEL}:batchGenerateContent",
            json={"batch": {"displayName": "lost", "inputConfig": {"fileName": name}}},
            headers={"x-goog-api-key": KEY},
        )
    assert [job["display_name"] for job in http(f"{url}/_jobs")[1]] == ["lost"]


def test_downloads_can_fail_and_be_cut(url: str, tmp_path: Path) -> None:
    client = sdk(url)
    batches(url, output_under="both", download_503=1, cut_download=1)
    name = upload(client, tmp_path / "lines", [line("a", "first")])
    job = client.batches.create(model=MODEL, src=name)
    assert job.name
    file = ended(url, job.name)["response"]["responsesFile"]
    assert http(f"{url}/v1beta/{file}:download?alt=media")[0] == 503
    connection = HTTPConnection(url.removeprefix("http://"), timeout=10)
    connection.request("GET", f"/v1beta/{file}:download?alt=media", headers={"x-goog-api-key": KEY})
    with pytest.raises(IncompleteRead):
        connection.getresponse().read()
    connection.close()
    assert len(result(url, file)) == 1


def test_pages_of_jobs_can_be_empty(url: str, tmp_path: Path) -> None:
    client = sdk(url)
    name = upload(client, tmp_path / "lines", [line("a", "first")])
    made = [client.batches.create(model=MODEL, src=name).name for _ in range(3)]
    batches(url, empty_pages=2)
    found: list[str] = []
    sizes: Counter[int] = Counter()
    token = ""
    while True:
        page = http(f"{url}/v1beta/batches?pageSize=2&pageToken={token}")[1]
        jobs = [each["name"] for each in page.get("operations", [])]
        found, token = found + jobs, page.get("nextPageToken", "")
        sizes[len(jobs)] += 1
        if not token:
            break
    assert found == made[::-1]
    assert sizes == {0: 2, 2: 1, 1: 1}


def test_files_and_jobs_belong_to_a_key(url: str, tmp_path: Path) -> None:
    client, other = sdk(url), sdk(url, key="another-key-of-some-length")
    name = upload(client, tmp_path / "lines", [line("a", "first")])
    job = client.batches.create(model=MODEL, src=name)
    assert job.name
    assert list(other.batches.list()) == []
    assert list(other.files.list()) == []
    for call in (
        lambda: other.files.get(name=name),
        lambda: other.batches.get(name=str(job.name)),
        lambda: other.batches.create(model=MODEL, src=name),
    ):
        with pytest.raises(errors.ClientError):
            call()
    assert http(f"{url}/v1beta/batches", key=None)[0] == 403


def test_a_large_file_is_uploaded_in_pieces(url: str, tmp_path: Path) -> None:
    # The SDK sends 8 MiB in a request.
    content = b"x" * (20 * 1024 * 1024)
    (tmp_path / "large").write_bytes(content)
    client = sdk(url)
    file = client.files.upload(file=tmp_path / "large", config={"mime_type": "jsonl"})
    assert file.size_bytes == len(content)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"state": "DONE"}, "batches.state must be one of SUCCEEDED"),
        ({"order": "random"}, "batches.order must be one of asked, shuffled"),
        ({"drop_keys": -1}, "batches.drop_keys must be a whole number"),
        ({"delay_s": "1"}, "batches.delay_s must be a number"),
        ({"lost": 1}, "batches has unknown members: lost"),
    ],
    ids=str,
)
def test_a_bad_control_says_why(url: str, members: dict[str, Any], reason: str) -> None:
    status, body = batches(url, **members)
    assert status == 400
    assert reason in body["error"]
