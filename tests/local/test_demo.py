"""The demo against a small fake API, so that each outcome is tested quickly."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from local.demo import api_client, execution
from local.demo import run as demo
from local.errors import StackError
from local.image_model.painter import paint
from local.settings import ROOT
from tests.local.pictures import decode

EXECUTION = "7b0e5a52-6a55-4a3e-8a3c-0f6f6a4c2f11"
WORKFLOW = "5d5b1f0e-52f9-4a41-9a43-3f0f7b8f3d10"
pytestmark = pytest.mark.timeout(60)


class FakeApi(ThreadingHTTPServer):
    """Answers like the API. A prompt that contains "fail" fails."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), FakeHandler)
        self.workflows: list[dict[str, Any]] = [
            {
                "id": "old",
                "name": "Other",
                "config": {"workflow_type": "other"},
                "status": "active",
            },
            {
                "id": WORKFLOW,
                "name": "Nano",
                "config": {"workflow_type": "nano_banana"},
                "status": "active",
            },
        ]
        self.refusal: dict[str, Any] | None = None
        self.submitted: list[dict[str, Any]] = []
        self.uploads: list[bytes] = []
        self.headers_seen: list[dict[str, str]] = []
        self.image_headers: list[dict[str, str]] = []
        self.polls = 0
        self.polls_until_done = 2
        self.temporary_errors = 0
        self.pace: dict[str, Any] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def prompts(self) -> list[str]:
        """Of an uploaded file: one for each line."""
        return self.submitted[-1].get("prompts") or self.uploads[-1].decode().split()

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "batch_index": index,
                "prompt_text": prompt,
                "status": "failed" if "fail" in prompt else "completed",
                "error_code": "content_blocked" if "fail" in prompt else None,
                "error_message": "The model refused." if "fail" in prompt else None,
                "processing_time_ms": 1200 + index,
            }
            for index, prompt in enumerate(self.prompts)
        ]

    def execution(self) -> dict[str, Any]:
        rows, done = self.rows, self.polls >= self.polls_until_done
        failed = sum(row["status"] == "failed" for row in rows) if done else 0
        successful = len(rows) - failed if done else min(self.polls, 1)
        progress = {
            "total": len(rows),
            "successful": successful,
            "failed": failed,
            "processing": 0 if done else 1,
        }
        status = ("completed" if successful else "failed") if done else "processing"
        output = {"successful": successful, "failed": failed, "total": len(rows)}
        return {
            "id": EXECUTION,
            "status": status,
            "progress": progress,
            "output_data": output if done else None,
            **({"pace": self.pace} if self.pace else {}),
        }


class FakeHandler(BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/bucket":
            assert "Authorization" not in self.headers
            form = message_from_bytes(
                b"Content-Type: %s\n\n%s" % (self.headers["Content-Type"].encode(), content)
            )
            *_, file = form.walk()
            self.server.uploads.append(file.get_payload(decode=True))
            self.reply(204, None)
            return
        body = json.loads(content)
        self.server.headers_seen.append(dict(self.headers))
        if self.path == "/v1/uploads":
            assert body == {"kind": "prompts", "content_type": "text/csv"}
            url = f"{self.server.url}/bucket"
            self.reply(201, {"url": url, "fields": {"a": "b"}, "key": "the-key"})
            return
        if self.server.refusal:
            self.reply(self.server.refusal["status"], self.server.refusal)
            return
        self.server.submitted.append(body)
        count = len(self.server.prompts)
        self.reply(202, {"id": EXECUTION, "status": "pending", "prompt_count": count})

    def do_GET(self) -> None:
        api: FakeApi = self.server
        path, _, query = self.path.partition("?")
        *_, last = path.split("/")
        if api.temporary_errors:
            api.temporary_errors -= 1
            self.reply(503, {"title": "Unwell"})
        elif path.startswith("/bucket/"):
            api.image_headers.append(dict(self.headers))
            row = api.rows[int(last)]
            self.send(200, paint(row["prompt_text"]))
        elif self.headers["Authorization"] != "Bearer token-a":
            self.reply(401, {"title": "Unauthorized", "detail": "no token"})
        elif last == "workflows":
            self.reply(200, {"items": api.workflows, "next_cursor": None})
        elif last == EXECUTION:
            api.polls += 1
            self.reply(200, api.execution(), {"Retry-After": "0"})
        elif last == "results":
            rows, half = api.rows, (len(api.rows) + 1) // 2
            page = rows[half:] if "cursor=" in query else rows[:half]
            more = "next" if "cursor=" not in query and rows[half:] else None
            self.reply(200, {"items": page, "next_cursor": more})
        elif last == "image":
            self.send(302, b"", {"Location": f"{api.url}/bucket/{path.split('/')[-2]}"})
        else:
            self.reply(404, {"title": "Not found"})

    def reply(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        self.send(status, json.dumps(body).encode(), headers)

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class FakeStack:
    """Counts the calls of `up` and `down`."""

    def __init__(self, api: FakeApi) -> None:
        self.api, self.running, self.ups, self.downs = api, False, 0, 0

    def is_running(self) -> bool:
        return self.running

    def up(self) -> dict[str, Any]:
        self.ups += 1
        self.running = True
        return {
            "base_url": self.api.url,
            "tokens": {"admin": "token-x", "client_a": "token-a", "client_b": "token-b"},
        }

    def down(self) -> None:
        self.downs += 1
        self.running = False


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


@pytest.fixture
def stack(api: FakeApi) -> FakeStack:
    return FakeStack(api)


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("STAY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOCAL_DIR", str(tmp_path))
    monkeypatch.setattr(api_client, "RETRY_SECONDS", 0.2)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red kite\na will to fail\na blue boat\n")
    monkeypatch.setenv("PROMPTS", str(prompts))
    return prompts


def summary(tmp_path: Path) -> dict[str, Any]:
    return json.loads((tmp_path / "demo" / "summary.json").read_text())


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot read"),
        (b"", "no prompt"),
        (b" \n\n", "no prompt"),
        (b"caf\xe9 \xff", "UTF-8"),
        (b"ok\n" + b"x" * 10_001, "prompt 2 is too long"),
        (b"x\n" * 2_500_000, "too long"),
    ],
)
def test_an_unusable_prompt_file_ends_the_demo_before_it_starts(
    environment: Path,
    stack: FakeStack,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    complaint: str,
) -> None:
    environment.unlink()
    if content is not None:
        environment.write_bytes(content)
    assert demo.main([], stack) == 1
    assert stack.ups == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line


# A run


def test_a_run_writes_images_a_contact_sheet_and_a_summary(
    tmp_path: Path, api: FakeApi, stack: FakeStack, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.main([], stack) == 0
    record = summary(tmp_path)
    assert list(record) == ["execution_id", "status", "output_data", "images", "seconds"]
    assert record["execution_id"] == EXECUTION
    assert record["status"] == "completed"
    assert record["output_data"] == {"successful": 2, "failed": 1, "total": 3}
    assert record["seconds"] >= 0
    folder = tmp_path / "demo" / EXECUTION
    assert [ROOT / path for path in record["images"]] == [
        ROOT / os.path.relpath(folder / name, ROOT) for name in ("000.png", "002.png")
    ]
    assert (folder / "002.png").read_bytes() == paint("a blue boat")
    for sheet in (folder / "contact_sheet.png", tmp_path / "demo" / "contact_sheet.png"):
        assert decode(sheet.read_bytes()).width > 600
    printed = capsys.readouterr().out
    for expected in ("content_blocked", "The model refused.", "a will to fail", "1,200"):
        assert expected in printed
    assert "3 of 3 done, 1 failed" in printed
    assert "\x1b" not in printed


def test_the_submission_has_workflow_api_key_and_idempotency_key(
    api: FakeApi, stack: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert demo.main([], stack) == 0
    monkeypatch.setenv("GEMINI_API_KEY", "a-real-looking-key")
    assert demo.main([], stack) == 0
    first, second = api.submitted
    assert first["workflow_id"] == WORKFLOW
    assert first["prompts"] == ["a red kite", "a will to fail", "a blue boat"]
    assert len(first["api_key"]) >= 8
    assert second["api_key"] == "a-real-looking-key"
    keys = {headers["Idempotency-Key"] for headers in api.headers_seen}
    assert len(keys) == 2


def test_a_table_is_uploaded_for_the_api_to_read(
    tmp_path: Path, api: FakeApi, stack: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "prompts.CSV"
    table.write_bytes(b"\xef\xbb\xbfprompt\r\na-kite\r\n")
    monkeypatch.setenv("PROMPTS", str(table))
    assert demo.main([], stack) == 0
    assert api.uploads == [table.read_bytes()]
    assert api.submitted[-1]["prompts_key"] == "the-key"
    assert summary(tmp_path)["output_data"]["total"] == 2


def test_a_presigned_url_never_receives_the_token(api: FakeApi, stack: FakeStack) -> None:
    assert demo.main([], stack) == 0
    assert len(api.image_headers) == 2
    assert not any("Authorization" in headers for headers in api.image_headers)


def test_a_temporary_error_is_retried(
    api: FakeApi, stack: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_client, "RETRY_SECONDS", 10)
    api.temporary_errors = 2
    assert demo.main([], stack) == 0


def test_a_failed_execution_fails_the_demo(
    tmp_path: Path, environment: Path, stack: FakeStack, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.write_text("fail one\nfail two\n")
    assert demo.main([], stack) == 1
    record = summary(tmp_path)
    assert (record["status"], record["images"]) == ("failed", [])
    assert "ended as failed" in capsys.readouterr().err
    assert decode((tmp_path / "demo" / "contact_sheet.png").read_bytes())
    assert stack.downs == 1


def test_a_refused_submission_prints_one_line_with_the_details(
    tmp_path: Path, api: FakeApi, stack: FakeStack, capsys: pytest.CaptureFixture[str]
) -> None:
    demo.main([], stack)
    capsys.readouterr()
    api.refusal = {
        "title": "Unprocessable",
        "status": 422,
        "detail": "The body is not valid.",
        "errors": [{"pointer": "/prompts", "detail": "at most 100 prompts"}],
    }
    assert demo.main([], stack) == 1
    (line,) = capsys.readouterr().err.splitlines()
    for expected in ("Unprocessable", "The body is not valid.", "/prompts at most 100 prompts"):
        assert expected in line
    assert not (tmp_path / "demo" / "summary.json").exists(), "an old summary is left"


def test_a_missing_workflow_is_reported(
    api: FakeApi, stack: FakeStack, capsys: pytest.CaptureFixture[str]
) -> None:
    api.workflows = api.workflows[:1]
    assert demo.main([], stack) == 1
    assert "no active nano_banana workflow" in capsys.readouterr().err


def test_an_execution_without_progress_ends_the_demo(
    api: FakeApi,
    stack: FakeStack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(execution, "NO_PROGRESS_SECONDS", 0.5)
    api.polls_until_done = 1_000_000
    assert demo.main([], stack) == 1
    assert "made no progress" in capsys.readouterr().err
    assert stack.downs == 1


def test_the_demo_waits_while_the_provider_is_closed(
    api: FakeApi,
    stack: FakeStack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(execution, "NO_PROGRESS_SECONDS", 0.3)
    opens = datetime.now(UTC) + timedelta(minutes=1)
    api.pace = {"limited_by": "outage", "opens_at": opens.isoformat()}
    api.polls_until_done = 10
    assert demo.main([], stack) == 0
    assert "the provider is down · next call at " in capsys.readouterr().out


def test_an_unreachable_api_ends_the_demo(
    api: FakeApi,
    stack: FakeStack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    nowhere = {"base_url": "http://127.0.0.1:9", "tokens": {"client_a": "token-a"}}
    monkeypatch.setattr(stack, "up", lambda: nowhere)
    assert demo.main([], stack) == 1
    assert "no answer" in capsys.readouterr().err


# The stack


def test_the_demo_stops_only_a_stack_that_it_started(stack: FakeStack) -> None:
    demo.main([], stack)
    assert (stack.ups, stack.downs) == (1, 1)
    stack.running = True
    demo.main([], stack)
    assert (stack.ups, stack.downs) == (2, 1)


def test_stay_leaves_the_stack_running_and_prints_calls(
    stack: FakeStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STAY", "1")
    assert demo.main([], stack) == 0
    assert stack.downs == 0
    printed = capsys.readouterr().out
    assert f"{stack.api.url}/v1/executions/$ID/results/0/image" in printed
    assert "Bearer token-b" in printed
    assert WORKFLOW in printed


def test_a_stack_that_does_not_start_prints_one_line(
    stack: FakeStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise StackError("Port 8000 is busy.")

    monkeypatch.setattr(stack, "up", refuse)
    assert demo.main([], stack) == 1
    assert capsys.readouterr().err == "demo: Port 8000 is busy.\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("was_running", [False, True])
def test_an_interrupted_demo_stops_only_a_stack_that_it_started(
    api: FakeApi,
    stack: FakeStack,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    was_running: bool,
) -> None:
    monkeypatch.setenv("STAY", "1")
    stack.running = was_running
    api.polls_until_done = 1_000_000

    def interrupt_while_it_polls() -> None:
        deadline = time.monotonic() + 10
        while api.polls < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt_while_it_polls)
    thread.start()
    assert demo.main([], stack) == demo.INTERRUPTED
    thread.join(5)
    assert stack.downs == (0 if was_running else 1)
