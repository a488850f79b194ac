#!/usr/bin/env bash
# Guess: `sam local start-api` gives a function the event of an HTTP API, format 2.0: the names of
#   headers in lower case, and a body that is not text in Base64.
# So: The names of headers come as the client wrote them, or as the server spells them. A body that
#   is not UTF-8 is answered with 502, and no function is called. A REST API with that type in its
#   binary media types gets the body in Base64.
# Matters: `event["headers"]["x-api-key"]` works deployed and raises KeyError here. An upload of a
#   picture can only be tried deployed.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'aws-sam-cli==1.170.0'

venv/bin/python - <<'EOF'
import json
import logging
import sys
from importlib.metadata import version

from samcli.lib.providers.provider import Api
from samcli.local.apigw.local_apigw_service import LocalApigwService
from samcli.local.apigw.route import Route

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"aws-sam-cli {version('aws-sam-cli')}")
logging.disable(logging.CRITICAL)  # SAM writes a log line about the refused body.


class Function:
    """Stands for the container: it notes the event, and its answer is empty."""

    events = []

    def is_debugging(self):
        return False

    def invoke(self, name, event, stdout, stderr=None, **_):
        self.events.append(json.loads(event))
        stdout.write_str(json.dumps({"statusCode": 200, "body": ""}))



def api(route, binary_types=()):
    """A client of an API with one route."""
    description = Api(routes=[route])
    description.binary_media_types_set = set(binary_types)
    service = LocalApigwService(description, Function(), port=3000, host="127.0.0.1")
    service.create()
    return service._app.test_client()


# An HTTP API has no setting for binary types: it encodes whatever is not text.
http = api(Route("f", path="/", methods=["POST"], event_type=Route.HTTP, payload_format_version="2.0"))
rest = api(Route("f", path="/", methods=["POST"], event_type=Route.API), ["image/png"])


def post(client, body, kind):
    """The status, and the event if the function got one."""
    Function.events.clear()
    answer = client.post("/", data=body, headers={"X-Api-Key": "key", "Content-Type": kind})
    return answer.status_code, Function.events[0] if Function.events else None


status, event = post(http, b"{}", "application/json")
check("HTTP API, JSON: the status, and the headers", (status, sorted(event["headers"])),
      (200, ["Content-Length", "Content-Type", "Host", "User-Agent", "X-Api-Key", "X-Forwarded-Port", "X-Forwarded-Proto"]))
check("HTTP API, a picture", post(http, b"\x89PNG\r\n", "image/png"), (502, None))
status, event = post(rest, b"\x89PNG\r\n", "image/png")
check("REST API, a picture: the status, and the body", (status, event["body"], event["isBase64Encoded"]), (200, "iVBORw0K", True))

sys.exit(bool(failed))
EOF
