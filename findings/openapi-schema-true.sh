#!/usr/bin/env bash
# Guess: OpenAPI 3.1 uses JSON Schema 2020-12, so a generator that reads 3.1 knows the schema `true`
#   (any value).
# So: openapi-python-client refuses the whole document. @hey-api/openapi-ts leaves the property out
#   of the type without a word. openapi-typescript gives it the type unknown.
# Matters: A document that validates can still have no client in one language and an incomplete one
#   in another. The schema {} means the same and works in all three.
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
npm install --silent --no-audit --no-fund --ignore-scripts 'openapi-typescript@7.13.0' 'typescript@5.9.3' '@hey-api/openapi-ts@0.95.0'

cat > api.json <<'EOF'
{"openapi": "3.1.0", "info": {"title": "Runs", "version": "1"},
 "paths": {"/runs/{id}": {
   "parameters": [{"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}],
   "get": {"operationId": "getRun", "responses": {"200": {"description": "The run.",
     "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Run"}}}}}}}},
 "components": {"schemas": {"Run": {"type": "object", "properties": {"id": {"type": "string"}, "extra": true}}}}}
EOF

venv/bin/python - <<'EOF'
import subprocess
import sys
from importlib.metadata import version

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"openapi-python-client {version('openapi-python-client')}, @hey-api/openapi-ts 0.95.0, openapi-typescript 7.13.0")
COMMANDS = {
    "openapi-python-client": (
        "venv/bin/openapi-python-client generate --meta none --overwrite --output-path py --path", "py/models/run.py"),
    "@hey-api/openapi-ts": ("node_modules/.bin/openapi-ts -o hey -i", "hey/types.gen.ts"),
    "openapi-typescript": ("node_modules/.bin/openapi-typescript -o api.ts", "api.ts"),
}


def generate(name, document):
    """How the generated type declares the property `extra`."""
    command, result = COMMANDS[name]
    done = subprocess.run([*command.split(), document], capture_output=True, text=True)
    if done.returncode:
        return "refused"
    with open(result) as file:
        lines = [line.strip() for line in file if line.strip().startswith("extra")]
    return lines[0] if lines else "left out"


with open("api.json") as file:
    text = file.read()
with open("braces.json", "w") as file:
    file.write(text.replace('"extra": true', '"extra": {}'))
expected = {
    "openapi-python-client": ("refused", "extra (Any | Unset):"),
    "@hey-api/openapi-ts": ("left out", "extra?: unknown;"),
    "openapi-typescript": ("extra?: unknown;", "extra?: unknown;"),
}
for name, (for_true, for_braces) in expected.items():
    check(f"{name}, schema true", generate(name, "api.json"), for_true)
    check(f"{name}, schema {{}}", generate(name, "braces.json"), for_braces)

sys.exit(bool(failed))
EOF
