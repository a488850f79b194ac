#!/usr/bin/env bash
# Guess: A `default` in a schema says what the server assumes. A generated client sends only what
#   the caller sets.
# So: openapi-python-client sends each default of the document. A PATCH body with only a new name
#   also carries the defaults of all other members. openapi-typescript makes such members required
#   instead.
# Matters: A PATCH by the generated client resets fields that the caller did not name. And a default
#   that the server changes later stays as it was in every client. Describe the default in words.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'openapi-python-client==0.29.1'
echo '{"private": true}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts 'openapi-typescript@7.13.0' 'typescript@5.9.3'

cat > api.json <<'EOF'
{"openapi": "3.1.0", "info": {"title": "Runs", "version": "1"},
 "paths": {"/runs/{id}": {
   "parameters": [{"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}],
   "patch": {"operationId": "patchRun", "responses": {"204": {"description": "Changed."}},
     "requestBody": {"required": true,
       "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Patch"}}}}}}},
 "components": {"schemas": {"Patch": {"type": "object", "properties": {
   "name": {"type": "string"}, "tier": {"type": "string", "default": "standard"},
   "concurrency": {"type": "integer", "default": 20}}}}}}
EOF
venv/bin/openapi-python-client generate --path api.json --meta none --output-path runs_client
node_modules/.bin/openapi-typescript api.json -o api.ts

venv/bin/python - <<'EOF'
import sys
from importlib.metadata import version

from runs_client.models import Patch

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"openapi-python-client {version('openapi-python-client')}, openapi-typescript 7.13.0")
check("The body of a PATCH that sets only the name", Patch(name="cats").to_dict(),
      {"name": "cats", "tier": "standard", "concurrency": 20})
with open("api.ts") as file:
    lines = [line.strip() for line in file]
check("The members in TypeScript", [line for line in lines if line.startswith(("name", "tier", "concurrency"))],
      ["name?: string;", "tier: string;", "concurrency: number;"])

sys.exit(bool(failed))
EOF
