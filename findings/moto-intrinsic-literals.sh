#!/usr/bin/env bash
# Guess: In moto's Step Functions, a text in an intrinsic function arrives as it was written, and
#   null is an argument as any other.
# So: Letters beyond ASCII become u and their number: Größe is Gru00f6u00dfe. A text with an escaped
#   apostrophe ends there, and the arguments after it are lost. null vanishes, and the arguments
#   after it move up. All three executions succeed. The same texts pass unchanged if they come from
#   the input. The States Language allows all of these: an apostrophe as \', Unicode, and null.
# Matters: A message or a key that a state builds with States.Format is wrong in local tests only,
#   or a test records the wrong text as the expected one.
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
logging.disable(logging.CRITICAL)  # moto logs what it cannot read.
moto.mock_aws(config={"stepfunctions": {"execute_state_machine": True}}).start()
client = boto3.client("stepfunctions", region_name="us-east-1")


def value(expression, **event):
    # The result of an expression, in a state that only passes it on.
    run = getattr(value, "runs", 0)
    value.runs = run + 1
    state = {"Type": "Pass", "Parameters": {"value.$": expression}, "End": True}
    definition = json.dumps({"StartAt": "Pass", "States": {"Pass": state}})
    role = "arn:aws:iam::123456789012:role/r"
    machine = client.create_state_machine(name=f"m{run}", definition=definition, roleArn=role)["stateMachineArn"]
    execution = client.start_execution(stateMachineArn=machine, input=json.dumps(event))["executionArn"]
    while (answer := client.describe_execution(executionArn=execution))["status"] == "RUNNING":
        time.sleep(0.05)
    assert answer["status"] == "SUCCEEDED", answer
    return json.loads(answer["output"])["value"]


check("Größe {}", value("States.Format('Größe {}', $.n)", n=5), "Gru00f6u00dfe 5")
check("Größe {} from the input", value("States.Format($.text, $.n)", text="Größe {}", n=5), "Größe 5")
check("It's {}, from the input", value("States.Format($.text, $.n)", text="It's {}", n=5), "It's 5")
check("It\\'s {}", value(r"States.Format('It\'s {}', $.n)", n=5), "It\\\\")
check("first, null, last", value("States.Array('first', null, 'last')"), ["first", "last"])

sys.exit(bool(failed))
EOF
