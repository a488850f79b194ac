#!/usr/bin/env bash
# Guess: urllib3 without any Retry object returns a 429 at once. A timeout of one second bounds the
#   call.
# So: A GET follows Retry-After of a 429, 503 or 413 by default, up to three times: the call sleeps
#   in your thread for as long as the server says, at most six hours. The timeout does not count the
#   sleep. A POST returns at once.
# Matters: A poll of a job's status, or the fetch of a key set, stops a Lambda function until its
#   own timeout. retries=False returns the answer.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'urllib3==2.8.0'

venv/bin/python - <<'EOF'
import http.server
import sys
import threading
import time

import urllib3

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


print(f"urllib3 {urllib3.__version__}")
http_pool = urllib3.PoolManager(timeout=urllib3.Timeout(total=1))


def call(method, status, retry_after, **options):
    def answer(request, body):
        return (status, {"Retry-After": retry_after}, b"wait") if len(server.calls) == 1 else (200, {}, b"")

    server = serve(answer)
    started = time.monotonic()
    seen = http_pool.request(method, server.url, **options).status
    return seen, len(server.calls), round(time.monotonic() - started)


print("Each line: status, calls, seconds.")
check("GET, 429 with Retry-After: 2, timeout 1 s", call("GET", 429, "2"), (200, 2, 2))
check("POST, 429 with Retry-After: 2", call("POST", 429, "2"), (429, 1, 0))
check("GET, 429 with Retry-After: 2, retries=False", call("GET", 429, "2", retries=False), (429, 1, 0))
check("The statuses", sorted(urllib3.Retry.RETRY_AFTER_STATUS_CODES), [413, 429, 503])
check("The calls after the first one", urllib3.Retry.DEFAULT.total, 3)
check("The longest sleep, in seconds", urllib3.Retry().retry_after_max, 21600)

sys.exit(bool(failed))
EOF
