#!/usr/bin/env bash
# Guess: A Catch of States.ALL does not catch States.Runtime in moto either. AWS documents that it
#   never does: such an execution always fails.
# So: moto catches it. A Map whose ItemsPath does not exist continues in the state of the Catch.
# Matters: The tests show a clean-up that runs after every failure. In AWS an error in a path skips
#   it, so something outside the machine must notice the end, for example a rule on its status.
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


machine = {
    "Map": {
        "Type": "Map", "ItemsPath": "$.items", "End": True,
        "ItemProcessor": {"StartAt": "One", "States": {"One": {"Type": "Pass", "End": True}}},
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "CleanUp"}],
    },
    "CleanUp": {"Type": "Pass", "Parameters": {"caught.$": "$.error.Error"}, "End": True},
}
check("A path that exists", run(machine, {"items": [1, 2]}), [1, 2])
print("A path that does not exist (AWS: the execution fails).")
check("With the Catch", run(machine, {}), {"caught": "States.Runtime"})
del machine["Map"]["Catch"], machine["CleanUp"]
check("Without it", run(machine, {}), "States.Runtime")

sys.exit(bool(failed))
EOF
