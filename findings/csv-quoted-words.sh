#!/usr/bin/env bash
# Guess: A CSV reader that is set to tabs reads tab-separated values. In that format a quote is text
#   (IANA's text/tab-separated-values).
# So: Python's csv drops the quotes of a first word and says nothing. papaparse makes one prompt of
#   this line and all that follow. csv-parse refuses the file.
# Matters: A prompt such as "OPEN" sign over a door is common. With Python the text to paint is not
#   in the picture's prompt as written; with papaparse three prompts become one paid image. csv's
#   QUOTE_NONE reads the file as it is.
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
TEXT = 'id\tprompt\n1\t"OPEN" sign over a door\n2\ta cat\n3\ta dog\n'
PROGRAM = """
const text = JSON.parse(process.argv[1]);
const papa = require('papaparse').parse(text, { delimiter: '\\t', header: true, skipEmptyLines: true }).data.map(row => row.prompt);
let parsed;
try { parsed = require('csv-parse/sync').parse(text, { delimiter: '\\t', columns: true }); } catch (error) { parsed = error.code; }
console.log(JSON.stringify([papa, parsed]));
"""
command = ["node", "-e", PROGRAM, json.dumps(TEXT)]
papa, parsed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def prompts(**options):
    return [row["prompt"] for row in csv.DictReader(io.StringIO(TEXT), delimiter="\t", **options)]


check("Python's csv", prompts(), ["OPEN sign over a door", "a cat", "a dog"])
check("Python's csv with QUOTE_NONE", prompts(quoting=csv.QUOTE_NONE), ['"OPEN" sign over a door', "a cat", "a dog"])
check("papaparse", papa, ['OPEN" sign over a door\n2\ta cat\n3\ta dog\n'])
check("csv-parse", parsed, "CSV_INVALID_CLOSING_QUOTE")

sys.exit(bool(failed))
EOF
