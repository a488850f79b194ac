#!/usr/bin/env bash
# Guess: A Lambda function that returns a namedtuple answers with an array, as json.dumps writes it.
# So: The runtime client writes results with simplejson: a namedtuple becomes an object with its
#   field names, and a Decimal becomes a number. json.dumps gives an array and raises.
# Matters: A unit test that passes a handler's result through json.dumps sees another document than
#   the next step of a state machine. A path such as $.rows[0][1] works in the test only.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'awslambdaric==4.2.2'

venv/bin/python - <<'EOF'
import collections
import decimal
import importlib.metadata as metadata
import json
import sys

from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"awslambdaric {metadata.version('awslambdaric')}")
Row = collections.namedtuple("Row", "index status")


def by_runtime(result):
    return LambdaMarshaller().marshal_response(result)[0]


def by_json(result):
    try:
        return json.dumps(result)
    except TypeError as error:
        return str(error)


rows = [Row(0, "done")]
check("A list of namedtuples by json.dumps", by_json(rows), '[[0, "done"]]')
check("A list of namedtuples by the runtime client", by_runtime(rows), '[{"index": 0, "status": "done"}]')
price = {"price": decimal.Decimal("0.10")}
check("A Decimal by json.dumps", by_json(price), "Object of type Decimal is not JSON serializable")
check("A Decimal by the runtime client", by_runtime(price), '{"price": 0.10}')

sys.exit(bool(failed))
EOF
