#!/usr/bin/env bash
# Guess: Webhook.verify of the Python packages svix and standardwebhooks returns the parsed body, as
#   their npm packages do.
# So: svix for Python returns None. standardwebhooks for Python, with the same class and method
#   names, returns the parsed body, and so do both npm packages. The signature is checked by all
#   four.
# Matters: A receiver that changes the import, or follows an example in the other language, gets
#   None instead of the event, and no error.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'svix==2.9.1' 'standardwebhooks==1.1.0'
echo '{"private": true}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts 'svix@1.99.1' 'standardwebhooks@1.1.1'

venv/bin/python - <<'EOF'
import base64
import datetime
import json
import subprocess
import sys
from importlib.metadata import version

import standardwebhooks
import svix.webhooks

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


KEY = base64.b64encode(b"0123456789abcdef01234567").decode()
BODY = '{"type":"execution.completed"}'
now = datetime.datetime.now(datetime.UTC)
signature = standardwebhooks.Webhook(KEY).sign("msg_1", now, BODY)
HEADERS = {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
PROGRAM = """
const { Webhook } = require(process.argv[1]);
const [key, body, headers] = JSON.parse(process.argv[2]);
console.log(JSON.stringify(new Webhook(key).verify(body, headers)));
"""


def in_node(package):
    command = ["node", "-e", PROGRAM, package, json.dumps([KEY, BODY, HEADERS])]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


EVENT = {"type": "execution.completed"}
check(f"standardwebhooks {version('standardwebhooks')} for Python", standardwebhooks.Webhook(KEY).verify(BODY, HEADERS), EVENT)
check(f"svix {version('svix')} for Python", svix.webhooks.Webhook(KEY).verify(BODY, HEADERS), None)
check("standardwebhooks 1.1.1 for npm", in_node("standardwebhooks"), EVENT)
check("svix 1.99.1 for npm", in_node("svix"), EVENT)
try:
    svix.webhooks.Webhook(KEY).verify(BODY + " ", HEADERS)
    refused = False
except svix.webhooks.WebhookVerificationError:
    refused = True
check("svix for Python refuses another body", refused, True)

sys.exit(bool(failed))
EOF
