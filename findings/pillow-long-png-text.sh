#!/usr/bin/env bash
# Guess: A PNG with a long text in it opens, or fails with UnidentifiedImageError or OSError.
# So: A compressed text of more than one megabyte raises ValueError while the file is opened, so the
#   whole image is refused. The same text without compression is accepted at twice that length.
# Matters: Image tools store their whole workflow as a text in the PNG. Code that catches OSError
#   around Image.open lets the ValueError through, and a paid or uploaded picture ends as an
#   internal error.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'pillow==13.0.0'

venv/bin/python - <<'EOF'
import io
import sys

import PIL
from PIL import Image
from PIL.PngImagePlugin import PngInfo

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"Pillow {PIL.__version__}")


def reopen(length, compressed):
    content, info = io.BytesIO(), PngInfo()
    info.add_text("workflow", "x" * length, zip=compressed)
    Image.new("RGB", (8, 8)).save(content, "PNG", pnginfo=info)
    try:
        image = Image.open(content)
        image.load()
        return len(image.text["workflow"])
    except Exception as error:
        return f"{type(error).__name__}, an OSError: {isinstance(error, OSError)}"


check("2 MB of text, not compressed", reopen(2_000_000, False), 2000000)
check("1 MB of text, compressed", reopen(1_000_000, True), 1000000)
check("1.1 MB of text, compressed", reopen(1_100_000, True), "ValueError, an OSError: False")

sys.exit(bool(failed))
EOF
