"""`MODEL_URL=… make up`: the functions call another server than the stand-in."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import pytest

from local.image_model.asks import read_ask
from local.image_model.replies import answer
from tests.e2e.conftest import Stack, counts, run_local

pytestmark = pytest.mark.timeout(240)
PROMPTS = [f"for the other model {number}" for number in range(3)]


class OtherModel(ThreadingHTTPServer):
    """A server that speaks Gemini's interface and records its calls."""

    daemon_threads = True

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.lock = Lock()
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/gateway"


class Answer(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        ask = read_ask("any", body)
        assert isinstance(self.server, OtherModel)
        with self.server.lock:
            self.server.calls.append((self.path, ask.prompt))
        content = answer(ask, "ok").body
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@pytest.fixture
def other() -> Iterator[OtherModel]:
    with OtherModel() as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


@pytest.fixture
def stack(other: OtherModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    monkeypatch.setenv("MODEL_URL", other.url)
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    directory = tmp_path / "local"
    try:
        run_local("up", directory)
        yield Stack(directory)
    finally:
        run_local("clean", directory)


def test_the_functions_call_the_url_and_stack_json_names_it(
    stack: Stack, other: OtherModel
) -> None:
    assert stack.access["model_url"] == other.url
    execution = stack.wait(stack.submit(PROMPTS), 120)
    assert counts(execution) == {"successful": 3, "failed": 0, "total": 3}
    assert sorted(prompt for _, prompt in other.calls) == PROMPTS
    assert all(path.startswith("/gateway/v1") for path, _ in other.calls)
