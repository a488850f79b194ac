#!/usr/bin/env bash
# Guess: openapi-python-client makes a member for each value of an enum, or says that it cannot.
# So: Values that differ only in case or punctuation become one member, and the last one wins
#   without a word. An answer with one of the others, valid by the document, raises ValueError in
#   the generated client.
# Matters: Names of models and sizes are such values (flux-1-dev, flux-1.dev). The server works, and
#   the client of one customer fails on certain rows.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'openapi-python-client==0.29.1'

cat > api.json <<'EOF'
{"openapi": "3.1.0", "info": {"title": "Runs", "version": "1"},
 "paths": {"/runs/{id}": {
   "parameters": [{"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}],
   "get": {"operationId": "getRun", "responses": {"200": {"description": "The run.",
     "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Run"}}}}}}}},
 "components": {"schemas": {"Run": {"type": "object", "required": ["model"], "properties": {
   "model": {"type": "string", "enum": ["flux-1-dev", "flux-1.dev", "flux-2"]}}}}}}
EOF
venv/bin/openapi-python-client generate --path api.json --meta none --output-path runs_client

venv/bin/python - <<'EOF'
import sys
from importlib.metadata import version

from runs_client.models import Run, RunModel

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"openapi-python-client {version('openapi-python-client')}")


def read(model):
    try:
        return Run.from_dict({"model": model}).model.value
    except ValueError as error:
        return str(error)


check("The members of the enum", [member.value for member in RunModel], ["flux-1.dev", "flux-2"])
check("An answer with flux-1.dev", read("flux-1.dev"), "flux-1.dev")
check("An answer with flux-1-dev", read("flux-1-dev"), "'flux-1-dev' is not a valid RunModel")

sys.exit(bool(failed))
EOF
