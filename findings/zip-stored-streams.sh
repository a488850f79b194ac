#!/usr/bin/env bash
# Guess: A ZIP of images that was written to a pipe can be read from a pipe.
# So: zipfile and zipstream-ng write a stored entry to a pipe with its size behind the data, also
#   where zipstream-ng was told to know all sizes (`sized=True`). stream-unzip refuses such an
#   entry, because nothing says where it ends. It reads the archive of a file that can seek, and one
#   whose entries are deflated.
# Matters: Images are compressed already, so one stores them. An archive that every desktop program
#   opens fails in a pipeline that unpacks it while it arrives.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'zipstream-ng==1.9.3' 'stream-unzip==0.0.101'

venv/bin/python - <<'EOF'
import io
import os
import sys
import zipfile
from importlib.metadata import version

import zipstream
from stream_unzip import UnzipError, stream_unzip

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"zipstream-ng {version('zipstream-ng')}, stream-unzip {version('stream-unzip')}")
IMAGES = {f"{number}.png": os.urandom(5000) for number in range(3)}


class Pipe(io.RawIOBase):
    """Cannot seek."""

    def __init__(self):
        self.chunks = []

    def writable(self):
        return True

    def write(self, chunk):
        self.chunks.append(bytes(chunk))
        return len(chunk)


def by_zipfile(file, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in IMAGES.items():
            archive.writestr(name, content)
    return file


def by_zipstream(**options):
    stream = zipstream.ZipStream(**options)
    for name, content in IMAGES.items():
        stream.add(content, name)
    return b"".join(stream)


def read(archive):
    with zipfile.ZipFile(io.BytesIO(archive)) as found:
        assert {name: found.read(name) for name in found.namelist()} == IMAGES
    try:
        found = {name.decode(): b"".join(chunks) for name, _, chunks in stream_unzip([archive])}
    except UnzipError as error:
        return type(error).__name__
    return found == IMAGES


print("zipfile reads all five. stream-unzip:")
check("zipfile to a file", read(by_zipfile(io.BytesIO()).getvalue()), True)
check("zipfile to a pipe", read(b"".join(by_zipfile(Pipe()).chunks)), "NotStreamUnzippable")
check("zipfile to a pipe, deflated", read(b"".join(by_zipfile(Pipe(), zipfile.ZIP_DEFLATED).chunks)), True)
check("zipstream-ng", read(by_zipstream()), "NotStreamUnzippable")
check("zipstream-ng that knows the sizes", read(by_zipstream(sized=True)), "NotStreamUnzippable")

sys.exit(bool(failed))
EOF
