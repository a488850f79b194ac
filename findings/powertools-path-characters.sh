#!/usr/bin/env bash
# Guess: A path parameter of Powertools takes every character that a caller can encode.
# So: Quotation marks, backslashes, grave accents, # and ? that arrive decoded make the route
#   unknown: 404. Letters of any language and characters such as ; and | are accepted.
# Matters: The names of files, labels and tenants in a path work until one has such a character. The
#   caller reads that the route does not exist.
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
import json
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


@app.get("/labels/<label>")
def label(label):
    return {"label": label}


def status(label):
    """Of a GET whose path API Gateway has decoded."""
    path = f"/labels/{label}"
    event = {
        "version": "2.0", "rawPath": path, "headers": {}, "isBase64Encoded": False, "rawQueryString": "",
        "requestContext": {"stage": "$default", "http": {"method": "GET", "path": path}},
    }
    answer = app.resolve(event, None)
    if answer["statusCode"] == 200:
        assert json.loads(answer["body"]) == {"label": label}
    return int(answer["statusCode"])


for found in ("fox", "red fox", "füchse", "狐", "a;b|c", "50%"):
    check(f"/labels/{found}", status(found), 200)
for lost in ('19" screen', "a\\b", "`fox`", "fox #2", "fox?"):
    check(f"/labels/{lost}", status(lost), 404)

sys.exit(bool(failed))
EOF
