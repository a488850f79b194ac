#!/usr/bin/env bash
# Guess: `Webhook.sign` of the Python libraries takes a datetime. If it knows its zone, the moment
#   counts.
# So: `sign` of standardwebhooks and of svix overwrites the zone with UTC. The moment 12:00+02:00 is
#   signed as 12:00 UTC, two hours later. The signature does not fit the timestamp of the moment.
# Matters: A sender whose times have a local zone signs wrongly in some seasons or countries only.
#   The receiver reports a wrong signature, not a wrong time.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'standardwebhooks==1.1.0' 'svix==2.9.1'

venv/bin/python - <<'EOF'
import base64
import sys
from datetime import UTC, datetime, timedelta, timezone
from importlib.metadata import version

import standardwebhooks
import svix.webhooks

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"standardwebhooks {version('standardwebhooks')}, svix {version('svix')}")
SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
MOMENT = datetime.now(UTC)
BODY = '{"type": "execution.completed"}'


def verified(webhook, prefix, time):
    headers = {
        f"{prefix}-id": "msg_1",
        f"{prefix}-timestamp": str(int(time.timestamp())),
        f"{prefix}-signature": webhook.sign("msg_1", time, BODY),
    }
    try:
        webhook.verify(BODY, headers)
    except Exception as error:
        return str(error)
    return "verified"


for name, webhook, prefix in (
    ("standardwebhooks", standardwebhooks.Webhook(SECRET), "webhook"),
    ("svix", svix.webhooks.Webhook(SECRET), "svix"),
):
    check(f"{name}, the moment in UTC", verified(webhook, prefix, MOMENT), "verified")
    there = MOMENT.astimezone(timezone(timedelta(hours=2)))
    assert there == MOMENT
    check(f"{name}, the same moment two hours east", verified(webhook, prefix, there), "No matching signature found")

sys.exit(bool(failed))
EOF
