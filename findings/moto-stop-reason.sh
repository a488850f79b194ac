#!/usr/bin/env bash
# Guess: In moto, DescribeExecution and the history show the error and the cause that StopExecution
#   was given, as AWS does.
# So: moto drops both. DescribeExecution has neither, and the event ExecutionAborted has two empty
#   texts. StopExecution itself answers without the stopDate that AWS's interface requires.
# Matters: Code that tells by the error who stopped an execution (a user, a budget, a deadline)
#   takes the wrong branch locally, and a test of it cannot pass.
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


def machine(name, state):
    definition = json.dumps({"StartAt": "One", "States": {"One": state}})
    role = "arn:aws:iam::123456789012:role/r"
    return client.create_state_machine(name=name, definition=definition, roleArn=role)["stateMachineArn"]


def seen(execution):
    # Status, error and cause, and what the last event says of both.
    while (answer := client.describe_execution(executionArn=execution))["status"] == "RUNNING":
        time.sleep(0.05)
    event = client.get_execution_history(executionArn=execution)["events"][-1]
    details = [value for name, value in event.items() if name.endswith("EventDetails")]
    return answer["status"], answer.get("error"), answer.get("cause"), details


failing = machine("failing", {"Type": "Fail", "Error": "Budget", "Cause": "It is used up."})
failed_execution = client.start_execution(stateMachineArn=failing)["executionArn"]
check("An execution that fails", seen(failed_execution),
      ("FAILED", "Budget", "It is used up.", [{"error": "Budget", "cause": "It is used up."}]))

waiting = machine("waiting", {"Type": "Wait", "Seconds": 5, "End": True})
stopped = client.start_execution(stateMachineArn=waiting)["executionArn"]
time.sleep(0.5)
answer = client.stop_execution(executionArn=stopped, error="Budget", cause="It is used up.")
check("An execution that is stopped", seen(stopped), ("ABORTED", None, None, [{"error": "", "cause": ""}]))
check("The answer to StopExecution has a stopDate", "stopDate" in answer, False)

sys.exit(bool(failed))
EOF
