#!/usr/bin/env bash
# Guess: moto compares strings and timestamps in a Choice as the States Language says: only * is
#   special in StringMatches, and timestamps are points in time.
# So: It matches with a file name pattern: ? stands for any character and [ ] for a set, so that a
#   text with brackets does not match itself. And it compares timestamps as something else than
#   times: the same moment with another offset is not equal, and half a second before is not less.
# Matters: A rule on an error's text or on a deadline takes one way in the tests and the other in
#   AWS.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'moto[s3,stepfunctions]==5.2.5' 'boto3==1.44.8' 'botocore==1.44.8'

venv/bin/python - <<'EOF'
import json
import logging
import sys
import time

import boto3
import moto

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"moto {moto.__version__}")
logging.disable(logging.CRITICAL)
moto.mock_aws(config={"stepfunctions": {"execute_state_machine": True}}).start()
client = boto3.client("stepfunctions", region_name="us-east-1")


def run(states, event):
    """The output, or the name of the error, of a machine that starts in the first state."""
    run.number = getattr(run, "number", 0) + 1
    definition = json.dumps({"StartAt": next(iter(states)), "States": states})
    machine = client.create_state_machine(name=f"m{run.number}", definition=definition,
                                          roleArn="arn:aws:iam::123456789012:role/r")["stateMachineArn"]
    execution = client.start_execution(stateMachineArn=machine, name="e", input=json.dumps(event))["executionArn"]
    while True:
        answer = client.describe_execution(executionArn=execution)
        if answer["status"] != "RUNNING":
            return json.loads(answer["output"]) if "output" in answer else answer["error"]
        time.sleep(0.05)


def choose(rule, event):
    """Which way a Choice goes: 'rule' or 'default', or the name of the error."""
    result = run({
        "Choice": {"Type": "Choice", "Choices": [rule | {"Next": "Rule"}], "Default": "Default"},
        "Rule": {"Type": "Pass", "Result": {"went": "rule"}, "End": True},
        "Default": {"Type": "Pass", "Result": {"went": "default"}, "End": True},
    }, event)
    return result["went"] if isinstance(result, dict) else result


check("'a?c' matches 'abc' (AWS: default)", choose({"Variable": "$", "StringMatches": "a?c"}, "abc"), "rule")
check("'[1]*' matches '[1] image' (AWS: rule)", choose({"Variable": "$", "StringMatches": "[1]*"}, "[1] image"), "default")
check("01:00+01:00 equals 00:00Z (AWS: rule)",
      choose({"Variable": "$", "TimestampEquals": "2030-01-01T00:00:00Z"}, "2030-01-01T01:00:00+01:00"), "default")
check("00:00:00.5Z is less than 00:00:01Z (AWS: rule)",
      choose({"Variable": "$", "TimestampLessThan": "2030-01-01T00:00:01Z"}, "2030-01-01T00:00:00.5Z"), "default")
check("00:00:00Z is less than 00:00:01Z (AWS: rule)",
      choose({"Variable": "$", "TimestampLessThan": "2030-01-01T00:00:01Z"}, "2030-01-01T00:00:00Z"), "rule")

sys.exit(bool(failed))
EOF
