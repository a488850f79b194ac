"""One server that stands in for every service of the functions except Postgres: the issuer's keys,
Secrets Manager, its Lambda extension, the image model and S3. It answers immediately."""

import base64
import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY_SET_PATH = "/keys.json"
# One transparent pixel: the cost of painting is not part of these measurements.
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9Q"
    "DwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PAINTED = {
    "candidates": [
        {
            "content": {
                "role": "model",
                "parts": [{"inlineData": {"mimeType": "image/png", "data": PIXEL}}],
            },
            "finishReason": "STOP",
            "index": 0,
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 8,
        "candidatesTokenCount": 1290,
        "totalTokenCount": 1298,
    },
    "modelVersion": "gemini-2.5-flash-image",
}
assert base64.b64decode(PIXEL).startswith(b"\x89PNG")


class StandIn:
    """The server, as a context manager. Its address is `url`. `secrets` may get more entries."""

    def __init__(self, key_set: Mapping[str, Any], secrets: dict[str, str]) -> None:
        self.secrets = secrets
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(key_set, secrets))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "StandIn":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(
    key_set: Mapping[str, Any], secrets: Mapping[str, str]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """The issuer's keys, and the Parameters and Secrets extension."""
            parts = urlsplit(self.path)
            if parts.path == KEY_SET_PATH:
                self._answer(key_set)
            else:
                [secret_id] = parse_qs(parts.query)["secretId"]
                self._answer({"Name": secret_id, "SecretString": secrets[secret_id]})

        def do_POST(self) -> None:
            """Secrets Manager and the model."""
            body = self._body()
            if "x-amz-target" in self.headers:
                secret_id = json.loads(body)["SecretId"]
                self._answer({"Name": secret_id, "SecretString": secrets[secret_id]})
            else:
                self._answer(PAINTED)

        def do_PUT(self) -> None:
            """S3."""
            self._body()
            self._answer(None)

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))

        def _answer(self, content: object) -> None:
            body = b"" if content is None else json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("ETag", '"0"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Stay silent."""

    return Handler
