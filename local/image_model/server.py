"""A stand-in for Google's image model: Gemini's REST interface, with failures on demand.

`python -m local.image_model --port 8081` serves
    POST /v1/models/{model}:generateContent   (and /v1beta/…), as Gemini does
    POST /_control   {"rules": [{"match", "behave", "times"?, "delay_ms"?, "retry_delay_s"?}]}
    GET  /_calls     every call since the start, oldest first
A rule applies to a prompt if its regular expression is found in it. The first such rule with
`times` left decides the answer. Without one, the answer is an image.
"""

import argparse
import hashlib
import json
import re
import signal
import socketserver
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from local.image_model.painter import paint
from local.image_model.replies import (
    BEHAVIOURS,
    MAX_IMAGE_MEGABYTES,
    SILENCES,
    GoogleError,
    Json,
    answer,
    read_ask,
    unregistered,
)

__all__ = ["Model", "ModelServer", "main", "paint"]

GENERATE = re.compile(r"/v1(?:beta)?/models/([^/:]+):generateContent")
LARGEST_BODY = 64 * 1024 * 1024
LONGEST_DELAY_MS = 600_000
IDLE_SECONDS = 120


class RuleError(ValueError):
    """The body of /_control is not valid; the message names the place and the reason."""


# Rules and calls


@dataclass(slots=True)
class Rule:
    """One rule of /_control. `times` counts down; None means always."""

    match: re.Pattern[str]
    behave: str
    times: int | None = None
    delay_ms: float = 0
    retry_delay_s: float | None = None


def read_rules(body: bytes) -> list[Rule]:
    """Parse a /_control body; RuleError if a rule is not valid. A null member counts as absent."""
    try:
        control = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RuleError(f"the body is not JSON: {error}") from None
    if not isinstance(control, dict) or control.keys() != {"rules"}:
        raise RuleError('the body must be {"rules": […]} and nothing else')
    if not isinstance(control["rules"], list):
        raise RuleError("rules must be a list")
    return [_read_rule(f"rules[{number}]", rule) for number, rule in enumerate(control["rules"])]


def _read_rule(where: str, rule: object) -> Rule:
    if not isinstance(rule, dict):
        raise RuleError(f"{where} must be an object")
    if unknown := sorted(rule.keys() - {"match", "behave", "times", "delay_ms", "retry_delay_s"}):
        raise RuleError(f"{where} has unknown members: {', '.join(unknown)}")
    match, behave = rule.get("match"), rule.get("behave")
    if not isinstance(match, str):
        raise RuleError(f"{where}.match must be a string")
    try:
        pattern = re.compile(match)
    except (re.error, RecursionError, OverflowError) as error:
        raise RuleError(f"{where}.match is not a regular expression: {error}") from None
    if behave not in BEHAVIOURS:
        raise RuleError(f"{where}.behave must be one of {', '.join(BEHAVIOURS)}")
    times = rule.get("times")
    if times is not None and (type(times) is not int or times < 0):
        raise RuleError(f"{where}.times must be a whole number, 0 or more")
    delay_ms = _read_number(where, rule, "delay_ms", LONGEST_DELAY_MS) or 0
    return Rule(pattern, behave, times, delay_ms, _read_number(where, rule, "retry_delay_s", 1e6))


def _read_number(where: str, rule: Mapping[str, object], name: str, most: float) -> float | None:
    value = rule.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise RuleError(f"{where}.{name} must be a number from 0 to {most:g}")
    return value


class Model:
    """The current rules and every call since the start. Safe for concurrent threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._calls: list[str] = []

    def replace_rules(self, rules: Sequence[Rule]) -> None:
        with self._lock:
            self._rules = list(rules)

    def admit(self, prompt: str, model: str, api_key: str) -> Rule:
        """Log a call on arrival, count it against the rule that applies, and return that rule."""
        with self._lock:
            rule = next((rule for rule in self._rules if self._applies(rule, prompt)), PAINT)
            if rule.times is not None:
                rule.times -= 1
            self._log(prompt, model, api_key, rule.behave)
        return rule

    def admit_refused(self, model: str, api_key: str, behave: str) -> None:
        """Log a call whose prompt could not be read."""
        with self._lock:
            self._log("", model, api_key, behave)

    def calls_json(self) -> str:
        """Return every call as a JSON array, oldest first."""
        with self._lock:
            calls = list(self._calls)
        return f"[{','.join(calls)}]"

    @staticmethod
    def _applies(rule: Rule, prompt: str) -> bool:
        return rule.times != 0 and rule.match.search(prompt) is not None

    def _log(self, prompt: str, model: str, api_key: str, behave: str) -> None:
        call = {
            "prompt": prompt,
            "model": model,
            "api_key_sha256": hashlib.sha256(api_key.encode()).hexdigest(),
            "time": time.time(),
            "behave": behave,
        }
        self._calls.append(json.dumps(call))


PAINT = Rule(re.compile(""), "ok")


# HTTP


class ModelServer(ThreadingHTTPServer):
    """Serves one Model, with one thread for each connection."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(
        self, address: tuple[str, int], max_image_megabytes: int = MAX_IMAGE_MEGABYTES
    ) -> None:
        self.model = Model()
        self.max_image_megabytes = max_image_megabytes
        super().__init__(address, Handler)

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

    @property
    def _max_image_megabytes(self) -> int:
        assert isinstance(self.server, ModelServer)
        return self.server.max_image_megabytes

    def do_GET(self) -> None:
        if urlsplit(self.path).path == "/_calls":
            self._send(200, self.model.calls_json().encode())
        else:
            self._send_unknown_path()

    def do_POST(self) -> None:
        body = self._read_body()
        path = urlsplit(self.path).path
        if body is None:
            return
        if path == "/_control":
            self._control(body)
        elif call := GENERATE.fullmatch(path):
            self._generate(unquote(call[1]), body)
        else:
            self._send_unknown_path()

    def _control(self, body: bytes) -> None:
        try:
            rules = read_rules(body)
        except RuleError as error:
            self._send_json(400, {"error": str(error)})
            return
        self.model.replace_rules(rules)
        self._send_json(200, {"rules": len(rules)})

    def _generate(self, model_name: str, body: bytes) -> None:
        api_key = self._api_key()
        try:
            if not api_key:
                raise unregistered()
            ask = read_ask(model_name, body, self._max_image_megabytes)
        except GoogleError as error:
            behave = "bad_request" if error.code == 400 else "invalid_key"
            self.model.admit_refused(model_name, api_key, behave)
            self._send_json(error.code, error.body)
            return
        rule = self.model.admit(ask.prompt, model_name, api_key)
        if rule.delay_ms:
            time.sleep(rule.delay_ms / 1000)
        if rule.behave in SILENCES:
            if rule.behave == "stall":
                self._wait_for_hang_up()
            self.close_connection = True
            return
        try:
            self._send_json(200, answer(ask, rule.behave, rule.retry_delay_s))
        except GoogleError as error:
            self._send_json(error.code, error.body)

    def _api_key(self) -> str:
        header = self.headers.get("x-goog-api-key")
        return header or parse_qs(urlsplit(self.path).query).get("key", [""])[0]

    def _read_body(self) -> bytes | None:
        """Return the body; None after an error reply if its length is unknown or over 64 MiB."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self.close_connection = True
            self._send_json(411, GoogleError(411, "INVALID_ARGUMENT", "Length required").body)
        elif int(length) > LARGEST_BODY:
            self.close_connection = True
            message = f"Request payload size exceeds the limit: {LARGEST_BODY} bytes."
            self._send_json(413, GoogleError(413, "INVALID_ARGUMENT", message).body)
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
        self._send_json(404, GoogleError(404, "NOT_FOUND", message).body)

    def _send_json(self, code: int, body: Json) -> None:
        self._send(code, json.dumps(body).encode())

    def _send(self, code: int, body: bytes) -> None:
        self.send_response(code, HTTPStatus(code).phrase)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: /_calls is the log."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m local.image_model", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument(
        "--max-image-megabytes",
        type=int,
        default=MAX_IMAGE_MEGABYTES,
        help="the behaviour `oversize` answers with a larger image",
    )
    arguments = parser.parse_args(argv)
    try:
        server = ModelServer((arguments.host, arguments.port), arguments.max_image_megabytes)
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
