"""A stand-in for Google's image model: Gemini's REST interface, with failures on demand.

`python -m local.image_model --port 8081` serves
    POST /v1/models/{model}:generateContent   (and /v1beta/…), as Gemini does
    …/files, …/batches, …/models/{model}:batchGenerateContent   Gemini's files and jobs
    POST /_control   replaces the rules, the limits, the outages or the batches
    GET  /_calls     every call since the start, oldest first
    GET  /_jobs      every job since the start, oldest first
docs/stand-in-model.md describes both. Without a control, the answer is an image.
"""

import argparse
import json
import re
import signal
import socketserver
import sys
import tempfile
import time
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from local.image_model.asks import Ask, read_ask
from local.image_model.batch_api import BatchApi, Download, Lost, Request
from local.image_model.control import read_control
from local.image_model.errors import GoogleError, unregistered
from local.image_model.files import PIECE_BYTES
from local.image_model.members import ControlError
from local.image_model.model import Model, sha256
from local.image_model.replies import (
    FOLLOWED_PATH,
    SILENCES,
    Answer,
    answer,
    error_answer,
    json_answer,
)
from local.image_model.rules import Rule

GENERATE = re.compile(r"/v1(?:beta)?/models/([^/:]+):generateContent")
LARGEST_BODY = 64 * 1024 * 1024
IDLE_SECONDS = 120
# `dribble` sends at least this many pieces, and one at least every half second.
FEWEST_PIECES = 10
PIECE_SECONDS = 0.5
# Statuses that http.HTTPStatus does not know.
PHRASES = {499: "Client Closed Request"}


class ModelServer(ThreadingHTTPServer):
    """Serves one Model, with one thread for each connection."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int]) -> None:
        self._directory = tempfile.TemporaryDirectory(
            prefix="stand-in-model-", ignore_cleanup_errors=True
        )
        self.model = Model(Path(self._directory.name))
        self.batch_api = BatchApi(self.model.files, self.model.jobs)
        super().__init__(address, Handler)

    def server_close(self) -> None:
        super().server_close()
        self._directory.cleanup()

    def server_bind(self) -> None:
        # HTTPServer.server_bind also looks up the host's name, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A closed connection is expected: stalls and timeouts end that way.
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    server_version = "stand-in-model"
    timeout = IDLE_SECONDS
    wbufsize = -1
    disable_nagle_algorithm = True

    @property
    def model(self) -> Model:
        assert isinstance(self.server, ModelServer)
        return self.server.model

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/_calls":
            self._send(Answer(self.model.calls_json().encode()))
        elif path == "/_jobs":
            self._send(Answer(json.dumps(self.model.jobs.listed()).encode()))
        elif BatchApi.serves(path):
            self._answer_batch_api()
        elif path == FOLLOWED_PATH:
            self._paint_for_a_follower()
        else:
            self._send_unknown_path()

    def do_DELETE(self) -> None:
        if BatchApi.serves(urlsplit(self.path).path):
            self._answer_batch_api()
        else:
            self._send_unknown_path()

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        if BatchApi.serves(path):
            self._answer_batch_api()
            return
        body = self._read_body()
        if body is None:
            return
        if path == "/_control":
            self._control(body)
        elif call := GENERATE.fullmatch(path):
            self._generate(unquote(call[1]), body)
        elif path == FOLLOWED_PATH:
            self._paint_for_a_follower()
        else:
            self._send_unknown_path()

    def _control(self, body: bytes) -> None:
        try:
            control = read_control(body)
        except ControlError as error:
            self._send(json_answer({"error": str(error)}, 400))
            return
        self._send(json_answer(self.model.replace(control)))

    def _answer_batch_api(self) -> None:
        assert isinstance(self.server, ModelServer)
        api_key = self._api_key()
        request = Request.of(self, sha256(api_key))
        try:
            # The address of an upload needs no key.
            if not api_key and "upload_id" not in request.query:
                raise unregistered()
            answer = self.server.batch_api.answer(request)
        except GoogleError as error:
            # The body may be unread.
            self.close_connection = True
            self._send(error_answer(error))
        except Lost:
            self.close_connection = True
        else:
            if isinstance(answer, Download):
                self._send_file(answer)
            else:
                self._send(answer)

    def _send_file(self, download: Download) -> None:
        with download.file.path.open("rb") as content:
            size = left = download.file.path.stat().st_size
            self.send_response(200)
            self.send_header("Content-Type", download.file.mime_type)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            if download.is_cut:
                left = size // 2
                self.close_connection = True
            while left > 0 and (piece := content.read(min(left, PIECE_BYTES))):
                self.wfile.write(piece)
                left -= len(piece)

    def _generate(self, model_name: str, body: bytes) -> None:
        api_key = self._api_key()
        try:
            if not api_key:
                raise unregistered()
            ask = read_ask(model_name, body)
        except GoogleError as error:
            behave = "bad_request" if error.code == 400 else "invalid_key"
            self.model.log("", model_name, api_key, behave)
            self._send(error_answer(error))
            return
        try:
            self._follow(self.model.admit(ask.prompt, model_name, api_key), ask)
        except GoogleError as error:
            self._send(error_answer(error))

    def _follow(self, rule: Rule, ask: Ask) -> None:
        """Answer as the rule says; GoogleError for an error answer."""
        if rule.behave == "dribble":
            self._send(answer(ask, rule.behave), seconds=rule.delay_s)
            return
        time.sleep(rule.delay_s)
        if rule.behave not in SILENCES:
            self._send(answer(ask, rule.behave, rule.retry_delay_s))
            return
        if rule.behave == "stall":
            self._wait_for_hang_up()
        self.close_connection = True

    def _paint_for_a_follower(self) -> None:
        """Answer a client that followed the redirect, and log that it did."""
        query = parse_qs(urlsplit(self.path).query)
        prompt, model = query.get("prompt", [" "])[0], query.get("model", [""])[0]
        self.model.log(prompt, model, self._api_key(), "followed")
        self._send(answer(Ask(model, prompt), "ok"))

    def _api_key(self) -> str:
        header = self.headers.get("x-goog-api-key")
        return header or parse_qs(urlsplit(self.path).query).get("key", [""])[0]

    def _read_body(self) -> bytes | None:
        """Return the body; None after an error reply if its length is unknown or over 64 MiB."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self.close_connection = True
            self._send(error_answer(GoogleError(411, "INVALID_ARGUMENT", "Length required")))
        elif int(length) > LARGEST_BODY:
            self.close_connection = True
            message = f"Request payload size exceeds the limit: {LARGEST_BODY} bytes."
            self._send(error_answer(GoogleError(413, "INVALID_ARGUMENT", message)))
        else:
            return self.rfile.read(int(length))
        return None

    def _wait_for_hang_up(self) -> None:
        """Wait until the other side closes the connection."""
        self.connection.settimeout(None)
        while self.connection.recv(65536):
            pass

    def _send_unknown_path(self) -> None:
        message = f"The requested URL {urlsplit(self.path).path} was not found on this server."
        self._send(error_answer(GoogleError(404, "NOT_FOUND", message)))

    def _send(self, reply: Answer, seconds: float = 0) -> None:
        """Send an answer; its body in small pieces over so many seconds if they are above 0."""
        phrase = PHRASES.get(reply.code) or HTTPStatus(reply.code).phrase
        self.send_response(reply.code, phrase)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if not seconds:
            self.wfile.write(reply.body)
            return
        self.wfile.flush()
        pieces = max(FEWEST_PIECES, round(seconds / PIECE_SECONDS))
        step = -(-len(reply.body) // pieces)
        for start in range(0, len(reply.body), step):
            time.sleep(seconds / pieces)
            self.wfile.write(reply.body[start : start + step])
            self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: /_calls is the log."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m local.image_model", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args(argv)
    try:
        server = ModelServer((arguments.host, arguments.port))
    except OSError as error:
        print(f"cannot listen on {arguments.host}:{arguments.port}: {error}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with server:
        print(f"listening on http://{server.server_name}:{server.server_port}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
