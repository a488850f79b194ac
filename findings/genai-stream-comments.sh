#!/usr/bin/env bash
# Guess: generate_content_stream reads server-sent events, so it skips comment lines and event
#   names, which the format allows.
# So: A comment line (: keep-alive) or a line with the event's name raises UnknownApiResponseError
#   and ends the stream. CRLF and data over several lines are read as the format says.
# Matters: Gateways and proxies between the SDK and the model send comments to keep a slow stream
#   alive. A long paid answer then ends with a parse error.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'google-genai==3.6.1'

venv/bin/python - <<'EOF'
import http.server
import json
import sys
import threading
from importlib.metadata import version

from google import genai
from google.genai import types

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)



def serve(answer):
    """A local HTTP server. `answer` gets the request and the body and returns status, headers, bytes."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def handle_one(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            server.calls.append((self.command, self.path, body))
            status, headers, content = answer(self, body)
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = handle_one

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.calls = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    return server


print(f"google-genai {version('google-genai')}")


def client(answer):
    options = types.HttpOptions(base_url=serve(answer).url, timeout=5000)
    return genai.Client(api_key="key", vertexai=False, http_options=options)


def event(text):
    return "data: " + json.dumps({"candidates": [{"content": {"parts": [{"text": text}]}}]}) + "\n\n"


def stream(content):
    def answer(request, body):
        return 200, {"Content-Type": "text/event-stream"}, content.encode()

    texts = []
    try:
        made = client(answer)
        for chunk in made.models.generate_content_stream(model="m", contents="p"):
            texts.append(chunk.text)
    except Exception as error:
        texts.append(type(error).__name__)
    return texts


check("Two events", stream(event("a") + event("b")), ["a", "b"])
check("Two events with CRLF", stream((event("a") + event("b")).replace("\n", "\r\n")), ["a", "b"])
split = 'data: {"candidates": [{"content":\ndata: {"parts": [{"text": "c"}]}}]}\n\n'
check("An event with two data lines", stream(split), ["c"])
check("A comment in front", stream(": keep-alive\n\n" + event("a")), ["UnknownApiResponseError"])
check("An event with a name", stream("event: message\n" + event("a")), ["UnknownApiResponseError"])

sys.exit(bool(failed))
EOF
