#!/usr/bin/env bash
# Guess: The timeout of google-genai means the same in the synchronous and in the asynchronous
#   client, whatever else is installed.
# So: Where aiohttp is installed, client.aio uses it by itself, and the timeout covers the whole
#   call. Without aiohttp, and in the synchronous client, each read of the answer begins the timeout
#   again. An answer that comes in five pieces within 1.5 seconds passes a timeout of one second in
#   three of the four cases. In the fourth it ends with a bare TimeoutError without a message.
# Matters: Another package that brings aiohttp along turns slow images into timeouts, and their
#   repeats are paid for. Code that catches the errors of httpx does not catch this one.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'google-genai==3.6.1'

cat > call.py <<'EOF'
import asyncio
import http.server
import json
import sys
import threading
import time

from google import genai
from google.genai import types

PAUSE = 0.3

def serve():
    """A local HTTP server, which sends its answer in five pieces."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            pieces = PIECES
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(sum(map(len, pieces))))
            self.end_headers()
            try:
                for piece in pieces:
                    self.wfile.write(piece)
                    self.wfile.flush()
                    time.sleep(PAUSE)
            except OSError:
                pass  # The client has left.

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


TEXT = json.dumps({"candidates": [{"content": {"parts": [{"text": "painted"}]}}]}).encode()
PIECES = [TEXT[start : start + 15] for start in range(0, len(TEXT), 15)]
assert len(PIECES) == 5, len(PIECES)
options = types.HttpOptions(base_url=serve(), timeout=1000)
client = genai.Client(api_key="key", vertexai=False, http_options=options)
ask = {"model": "m", "contents": "p"}


async def later():
    return await client.aio.models.generate_content(**ask)


try:
    print((client.models.generate_content(**ask) if sys.argv[1] == "sync" else asyncio.run(later())).text)
except Exception as error:
    print(f"{type(error).__module__}.{type(error).__name__}: {error}")
EOF

cat > run.py <<'EOF'
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


def installed(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def call(kind):
    done = subprocess.run([sys.executable, "-W", "ignore", "call.py", kind], capture_output=True, text=True, check=True)
    return done.stdout.strip()


print(f"google-genai {version('google-genai')}, aiohttp {installed('aiohttp')}. The timeout is 1 s, the answer takes 1.5 s")
check("Synchronous", call("sync"), "painted")
check("Asynchronous", call("async"), sys.argv[1])

sys.exit(bool(failed))
EOF

venv/bin/python run.py painted
venv/bin/pip install -qq --disable-pip-version-check 'aiohttp==3.14.5'
venv/bin/python run.py 'builtins.TimeoutError:'
