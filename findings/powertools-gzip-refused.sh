#!/usr/bin/env bash
# Guess: `compress=True` of Powertools compresses for callers that accept gzip.
# So: Powertools looks for the letters gzip anywhere in Accept-Encoding. It compresses for
#   `gzip;q=0`, which refuses gzip, and for `identity;q=1, gzip;q=0`. It does not compress for GZIP,
#   which means the same as gzip. It sends no Vary.
# Matters: A program that cannot unpack refuses gzip in this way, and gets bytes that it cannot
#   read. A shared cache hands the compressed answer to everybody.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'aws-lambda-powertools==3.37.0'

venv/bin/python - <<'EOF'
import sys
from importlib.metadata import version

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"aws-lambda-powertools {version('aws-lambda-powertools')}")
app = APIGatewayHttpResolver()


@app.get("/models", compress=True)
def models():
    return {"models": ["painter"] * 200}


def answer(accepted):
    """Content-Encoding and Vary of a GET with this Accept-Encoding."""
    event = {
        "version": "2.0", "rawPath": "/models", "headers": {"accept-encoding": accepted}, "isBase64Encoded": False,
        "rawQueryString": "", "requestContext": {"stage": "$default", "http": {"method": "GET", "path": "/models"}},
    }
    headers = app.resolve(event, None)["headers"]
    return headers.get("Content-Encoding"), headers.get("Vary")


print("Content-Encoding and Vary for an Accept-Encoding of:")
check("br", answer("br"), (None, None))
check("gzip", answer("gzip"), ("gzip", None))
check("gzip;q=0", answer("gzip;q=0"), ("gzip", None))
check("identity;q=1, gzip;q=0", answer("identity;q=1, gzip;q=0"), ("gzip", None))
check("GZIP", answer("GZIP"), (None, None))

sys.exit(bool(failed))
EOF
