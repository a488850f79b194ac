#!/usr/bin/env bash
# Guess: google-genai writes the bytes of an image in the Base64 that `base64.b64decode` reads.
# So: It uses the alphabet for URLs, with - and _. `base64.b64decode` drops these characters without
#   an error and returns fewer and other bytes. With validate=True it raises an error. Both
#   alphabets are valid in the JSON of protocol buffers.
# Matters: A proxy, a stand-in for the model or a reader of batch files stores a damaged image, and
#   only some images are affected.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'google-genai==3.6.1'

venv/bin/python - <<'EOF'
import base64
import binascii
import sys
from importlib.metadata import version

from google.genai import types

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"google-genai {version('google-genai')}")
IMAGE = bytes(range(256))
sent = types.Part.from_bytes(data=IMAGE, mime_type="image/png").to_json_dict()["inline_data"]["data"]


def strict(text):
    try:
        return base64.b64decode(text, validate=True) == IMAGE
    except binascii.Error as error:
        return str(error)


check("Characters of the text beside letters and digits", sorted({c for c in sent if not c.isalnum()}), ["-", "=", "_"])
read = base64.b64decode(sent)
check("b64decode: bytes of 256, and whether they are the image", (len(read), read == IMAGE), (248, False))
check("b64decode with validate=True", strict(sent), "Only base64 data is allowed")
check("urlsafe_b64decode returns the image", base64.urlsafe_b64decode(sent) == IMAGE, True)

sys.exit(bool(failed))
EOF
