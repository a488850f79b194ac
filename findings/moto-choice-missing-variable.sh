#!/usr/bin/env bash
# Guess: A Choice that compares a variable which the input does not have fails in moto too. The
#   States Language says that the machine must fail, and AWS ends the execution with States.Runtime.
# So: moto takes the rule as not fulfilled and goes to Default. A missing path on the other side of
#   the comparison (…Path) does fail.
# Matters: A renamed member of a function's answer sends every item to Default in the tests, green,
#   and fails every execution in AWS. Test the names of the members, or put IsPresent first.
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


check("$.attempt equals 1, the input has it", choose({"Variable": "$.attempt", "NumericEquals": 1}, {"attempt": 1}), "rule")
check("$.attempt equals 1, the input does not have it",
      choose({"Variable": "$.attempt", "NumericEquals": 1}, {"attempts": 1}), "default")
check("$.attempt equals $.limit, the input has no limit",
      choose({"Variable": "$.attempt", "NumericEqualsPath": "$.limit"}, {"attempt": 1}), "States.Runtime")

sys.exit(bool(failed))
EOF
