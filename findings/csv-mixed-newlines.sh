#!/usr/bin/env bash
# Guess: A CSV file of one column whose header ends with CRLF and whose rows end with LF gives the
#   same rows everywhere.
# So: papaparse and csv-parse take the first line ending as the one of the file, and join all rows
#   that end otherwise into one field. Neither reports an error. Python's csv takes both endings.
# Matters: Such a file comes from a spreadsheet's header with rows pasted from an editor. A preview
#   in the browser shows one prompt where the server paints many.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
echo '{"private": true}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts 'papaparse@5.7.1' 'csv-parse@7.0.3'

venv/bin/python - <<'EOF'
import csv
import io
import json
import subprocess
import sys

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"Python {sys.version.split()[0]}, papaparse 5.7.1, csv-parse 7.0.3")
TEXT = "prompt\r\na cat\na dog\na cow\n"
PROGRAM = """
const text = JSON.parse(process.argv[1]);
const papa = require('papaparse').parse(text, { delimiter: ',', skipEmptyLines: true });
let parsed;
try { parsed = require('csv-parse/sync').parse(text); } catch (error) { parsed = error.code; }
console.log(JSON.stringify([papa.data.length, papa.errors.map(error => error.code), parsed.length]));
"""
command = ["node", "-e", PROGRAM, json.dumps(TEXT)]
papa, errors, parsed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
print("Each line: the number of rows, with the header. The file has four lines.")
check("Python's csv", len(list(csv.reader(io.StringIO(TEXT, newline="")))), 4)
check("papaparse, and its errors", (papa, errors), (2, []))
check("csv-parse", parsed, 2)

sys.exit(bool(failed))
EOF
