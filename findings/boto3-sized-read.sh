#!/usr/bin/env bash
# Guess: boto3 compares the length of an object with what arrived, however the body is read.
# So: If the connection ends too early, read() raises. read(n) returns what arrived without an error
#   when n is larger than that. Only the next read() raises.
# Matters: read(limit + 1), a usual way to bound memory, takes half an image for a whole one. Compare
#   the length with ContentLength.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'boto3==1.44.8' 'botocore==1.44.8'

venv/bin/python - <<'EOF'
import http.server
import sys
import threading

import boto3

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


print(f"boto3 {boto3.__version__}")


def cut_short(request, body):
    request.close_connection = True
    return 200, {"ETag": '"e"', "Content-Length": "10", "Connection": "close"}, b"12345"


def read(answer, *sizes):
    client = boto3.client("s3", endpoint_url=serve(answer).url, region_name="eu-central-1",
                          aws_access_key_id="id", aws_secret_access_key="key")
    try:
        body = client.get_object(Bucket="images", Key="1.png")["Body"]
        return [body.read(*size) for size in sizes]
    except Exception as error:
        return type(error).__name__


check("5 of 10 bytes arrive, read()", read(cut_short, ()), "ResponseStreamingError")
check("5 of 10 bytes arrive, read(100)", read(cut_short, (100,)), [b"12345"])
check("5 of 10 bytes arrive, read(100) and read()", read(cut_short, (100,), ()), "ResponseStreamingError")

sys.exit(bool(failed))
EOF
