#!/usr/bin/env bash
# Guess: A prompt that begins with a quoted word is read in the same way by every CSV reader, or
#   refused by every one.
# So: Python's csv drops the quotes and says nothing. papaparse makes one prompt of this line and
#   all that follow. csv-parse refuses the file.
# Matters: A prompt such as "OPEN" sign over a door is common. With Python the text to paint is not
#   in the picture's prompt as written; with papaparse three prompts become one paid image. csv's
#   strict=True raises.
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
TEXT = 'prompt\n"OPEN" sign over a door\na cat\na dog\n'
PROGRAM = """
const text = JSON.parse(process.argv[1]);
const papa = require('papaparse').parse(text, { header: true, skipEmptyLines: true }).data.map(row => row.prompt);
let parsed;
try { parsed = require('csv-parse/sync').parse(text, { columns: true }); } catch (error) { parsed = error.code; }
console.log(JSON.stringify([papa, parsed]));
"""
command = ["node", "-e", PROGRAM, json.dumps(TEXT)]
papa, parsed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
rows = [row["prompt"] for row in csv.DictReader(io.StringIO(TEXT))]
check("Python's csv", rows, ["OPEN sign over a door", "a cat", "a dog"])
try:
    strict = list(csv.reader(io.StringIO(TEXT), strict=True))
except csv.Error as error:
    strict = str(error)
check("Python's csv with strict=True", strict, "',' expected after '\"'")
check("papaparse", papa, ['OPEN" sign over a door\na cat\na dog\n'])
check("csv-parse", parsed, "CSV_INVALID_CLOSING_QUOTE")

sys.exit(bool(failed))
EOF
