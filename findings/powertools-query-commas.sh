#!/usr/bin/env bash
# Guess: A list parameter of Powertools gets the values that the caller sent.
# So: Behind an HTTP API, format 2.0, a value that contains a comma becomes two values. API Gateway
#   joins the values of one name with commas, and Powertools splits them again. It does not read
#   rawQueryString, which still has the difference.
# Matters: A filter by words, prompts or names finds too much or is refused, for the values with a
#   comma only.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'aws-lambda-powertools==3.37.0' 'pydantic==2.13.5'

venv/bin/python - <<'EOF'
import json
import sys
from importlib.metadata import version
from typing import Annotated
from urllib.parse import quote

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.event_handler.openapi.params import Query

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"aws-lambda-powertools {version('aws-lambda-powertools')}")
app = APIGatewayHttpResolver(enable_validation=True)


@app.get("/images")
def images(prompt: Annotated[list[str], Query()]) -> list[str]:
    return prompt


def ask(path, query=None):
    """Status and body of a GET, as an HTTP API sends it."""
    event = {
        "version": "2.0", "rawPath": path, "headers": {}, "isBase64Encoded": False,
        "rawQueryString": "&".join(f"{name}={quote(value)}" for name, value in query or ()),
        "requestContext": {"stage": "$default", "http": {"method": "GET", "path": path}},
    }
    if query:
        # API Gateway joins the values of one name with commas, in format 2.0.
        joined = {}
        for name, value in query:
            joined[name] = f"{joined[name]},{value}" if name in joined else value
        event["queryStringParameters"] = joined
    answer = app.resolve(event, None)
    return int(answer["statusCode"]), json.loads(answer["body"])


check("?prompt=a fox&prompt=a hen", ask("/images", [("prompt", "a fox"), ("prompt", "a hen")])[1], ["a fox", "a hen"])
check("?prompt=a fox, red", ask("/images", [("prompt", "a fox, red")])[1], ["a fox", " red"])

sys.exit(bool(failed))
EOF
