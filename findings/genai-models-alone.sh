#!/usr/bin/env bash
# Guess: A program may keep client.models and forget the client. The service object keeps what it
#   needs alive.
# So: When the last reference to the Client goes away, the Client closes the connections that its
#   services use. The next call of the kept service raises RuntimeError, and no request is sent.
# Matters: A helper that returns genai.Client(…).models, or an iterator over a list or a stream,
#   works only while something else holds the client. The error speaks of a closed client that
#   nobody closed.
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


def client(server):
    options = types.HttpOptions(base_url=server.url, timeout=5000)
    return genai.Client(api_key="key", vertexai=False, http_options=options)


def answer(request, body):
    content = {"candidates": [{"content": {"parts": [{"text": "painted"}]}}]}
    return 200, {"Content-Type": "application/json"}, json.dumps(content).encode()


def call(models):
    try:
        return models.generate_content(model="m", contents="p").text
    except RuntimeError as error:
        return str(error)


server = serve(answer)
kept = client(server)
check("The client is kept", call(kept.models), "painted")
check("Only its models are kept", call(client(server).models), "Cannot send a request, as the client has been closed.")
check("The requests of both calls", len(server.calls), 1)

sys.exit(bool(failed))
EOF
