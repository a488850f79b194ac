#!/usr/bin/env bash
# Guess: `part.as_image().save("fox.png")` writes a PNG, as Pillow's save does.
# So: `as_image` returns google-genai's own Image. Its save writes the bytes of the answer into the
#   file, whatever the file is called. An answer in JPEG becomes a file fox.png with a JPEG in it.
#   Its open goes by the name: it reads the file back as image/png.
# Matters: The newer image models answer JPEG. A file that was saved as in the examples is sent back
#   as a reference with the wrong MIME type, and strict programs refuse it.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'google-genai==3.6.1' 'pillow==13.0.0'

venv/bin/python - <<'EOF'
import io
import sys
from importlib.metadata import version

import PIL.Image
from google.genai import types

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"google-genai {version('google-genai')}, Pillow {PIL.__version__}")
jpeg = io.BytesIO()
PIL.Image.new("RGB", (8, 8), "teal").save(jpeg, "JPEG")
part = types.Part.from_bytes(data=jpeg.getvalue(), mime_type="image/jpeg")

image = part.as_image()
image.save("fox.png")
check("What as_image returns", f"{type(image).__module__}.{type(image).__name__}", "google.genai.types.Image")
check("The format in fox.png", PIL.Image.open("fox.png").format, "JPEG")
check("Its type when google-genai reads it", types.Image.from_file(location="fox.png").mime_type, "image/png")

PIL.Image.open(jpeg).save("fox.png")
check("The format in fox.png if Pillow saves the same image", PIL.Image.open("fox.png").format, "PNG")

sys.exit(bool(failed))
EOF
