#!/usr/bin/env bash
# Guess: put_object of boto3 sends the same request to a local store at http:// as to S3 at https://,
#   only without encryption.
# So: Over http the body has its length, and the signature covers its SHA-256. Over https it has no
#   Content-Length: it is sent in chunks of S3's own format (aws-chunked), unsigned, with the
#   checksum behind it. A stream that cannot seek works over https only: over http boto3 reads it
#   twice and raises.
# Matters: Tests against a store at http:// say nothing about what a proxy or a store of another
#   vendor gets in production, and they refuse streams that S3 takes. Give a test store a
#   certificate.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'boto3==1.44.8' 'botocore==1.44.8' 'trustme==1.2.1'

venv/bin/python - <<'EOF'
import io
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import trustme
from botocore.config import Config

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


class Store(BaseHTTPRequestHandler):
    """Accepts every PUT and remembers how its body came."""

    protocol_version = "HTTP/1.1"
    seen = {}

    def do_PUT(self):
        signed = self.headers["x-amz-content-sha256"]
        Store.seen = {
            "length": self.headers["Content-Length"],
            "encoding": self.headers["Content-Encoding"],
            "signed": "its SHA-256" if len(signed) == 64 else signed,
        }
        if self.headers["Content-Length"]:
            self.rfile.read(int(self.headers["Content-Length"]))
        else:
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Stream(io.RawIOBase):
    """A body that can be read once."""

    def __init__(self):
        self.rest = io.BytesIO(b"image")

    def readable(self):
        return True

    def read(self, size=-1):
        return self.rest.read(size)


def sent(client, body):
    try:
        client.put_object(Bucket="images", Key="1", Body=body)
    except Exception as error:
        return type(error).__name__
    return Store.seen


authority = trustme.CA()
authority.cert_pem.write_to_path("authority.pem")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
authority.issue_cert("127.0.0.1").configure_cert(context)


def client_of(scheme):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    if scheme == "https":
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return boto3.client(
        "s3",
        region_name="eu-central-1",
        endpoint_url=f"{scheme}://127.0.0.1:{server.server_port}",
        verify="authority.pem",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(retries={"total_max_attempts": 1}),
    )


print(f"boto3 {boto3.__version__}")
chunks = {"length": None, "encoding": "aws-chunked", "signed": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}
http, https = client_of("http"), client_of("https")
check("Five bytes over http", sent(http, b"image"), {"length": "5", "encoding": None, "signed": "its SHA-256"})
check("Five bytes over https", sent(https, b"image"), chunks)
check("A stream that cannot seek, over http", sent(http, Stream()), "UnsupportedOperation")
check("A stream that cannot seek, over https", sent(https, Stream()), chunks)

sys.exit(bool(failed))
EOF
