#!/usr/bin/env bash
# Guess: An archive whose source fails in the middle of an entry stays incomplete, so that readers
#   refuse it.
# So: Python's zipfile closes the entry when the block is left by an exception, and gives the half
#   image a correct CRC. A ZipStream of zipstream-ng that is iterated again after the error goes on
#   with the next entry and finishes an archive without the failed one. Both archives pass testzip.
#   stream-zip gives no more bytes.
# Matters: A handler that catches the error of one image and goes on publishes a valid archive with
#   half an image or none. Compare names and sizes with what was asked.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'zipstream-ng==1.9.3' 'stream-zip==0.0.84'

venv/bin/python - <<'EOF'
import datetime
import io
import sys
import zipfile
from importlib.metadata import version

from stream_zip import ZIP_32, stream_zip
from zipstream import ZipStream

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"Python {sys.version.split()[0]}, zipstream-ng {version('zipstream-ng')}, stream-zip {version('stream-zip')}")


def failing():
    yield b"ha"
    raise OSError("The storage is gone.")


def entries(archive):
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            assert opened.testzip() is None
            return {entry.filename: entry.file_size for entry in opened.infolist()}
    except zipfile.BadZipFile as error:
        return str(error)


def drain(chunks):
    """Iterate again after an error, and keep what comes."""
    content = b""
    for _ in range(2):
        try:
            for chunk in chunks:
                content += chunk
        except OSError:
            pass
    return content


stdlib = io.BytesIO()
with zipfile.ZipFile(stdlib, "w") as archive:
    archive.writestr("1.png", b"whole")
    try:
        with archive.open("2.png", "w") as entry:
            for part in failing():
                entry.write(part)
    except OSError:
        pass
    archive.writestr("3.png", b"whole")
check("zipfile: entries and sizes", entries(stdlib.getvalue()), {"1.png": 5, "2.png": 2, "3.png": 5})

streamed = ZipStream()
for name, source in (("1.png", b"whole"), ("2.png", failing()), ("3.png", b"whole")):
    streamed.add(source, name)
check("zipstream-ng: entries and sizes", entries(drain(streamed)), {"1.png": 5, "3.png": 5})

when = datetime.datetime(2030, 1, 1)
members = ((name, when, 0o644, ZIP_32, source)
           for name, source in (("1.png", [b"whole"]), ("2.png", failing()), ("3.png", [b"whole"])))
check("stream-zip: entries and sizes", entries(drain(stream_zip(members))), "File is not a zip file")

sys.exit(bool(failed))
EOF
