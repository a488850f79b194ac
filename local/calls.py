"""The curl commands that `make up` and `make demo STAY=1` print."""

import json
import shlex
from typing import Any

WAIT_SECONDS = 300


def example_calls(
    base_url: str, workflow_id: str, api_key: str, authorization_a: str, authorization_b: str
) -> str:
    """Return a shell script: client A submits a prompt, waits for the end and fetches the image;
    client B gets a 404.

    `authorization_a` and `authorization_b` are shell words: the values of the header.
    """
    body: dict[str, Any] = {
        "workflow_id": workflow_id,
        "prompts": ["a red fox"],
        "api_key": api_key,
    }
    base = f"{base_url}/v1/executions"
    return f"""\
A={authorization_a}
B={authorization_b}
ID=$(curl -s -H "$A" -H 'Content-Type: application/json' {base} \\
  -d {shlex.quote(json.dumps(body))} \\
  | python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')
for _ in $(seq {WAIT_SECONDS}); do
  curl -s -H "$A" {base}/$ID | grep -qE '"status":"(completed|failed)"' && break; sleep 1
done
curl -s -H "$A" {base}/$ID; echo
curl -sL -H "$A" {base}/$ID/results/0/image -o fox.png
curl -s -H "$B" {base}/$ID; echo"""
