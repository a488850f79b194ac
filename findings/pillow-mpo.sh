#!/usr/bin/env bash
# Guess: A photo that begins and ends as a JPEG has the format JPEG in Pillow, at least if only JPEG
#   is allowed.
# So: A JPEG with a second picture behind it (Multi-Picture Format: photos of many phones, with a
#   gain map or a depth map) has the format MPO and the type image/mpo, even with formats=['JPEG'].
# Matters: A check such as image.format in ('JPEG', 'PNG', 'WEBP') refuses reference images that
#   every browser shows, and a file extension made from the format is wrong.
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

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"Pillow {PIL.__version__}")
photo = Image.new("RGB", (64, 48), "green")
content = io.BytesIO()
photo.save(content, "MPO", save_all=True, append_images=[photo.resize((32, 24))])
check("The first and the last bytes are those of a JPEG",
      (content.getvalue()[:3].hex(), content.getvalue()[-2:].hex()), ("ffd8ff", "ffd9"))
image = Image.open(content, formats=["JPEG", "PNG", "WEBP"])
check("Format, type and pictures with formats=['JPEG', 'PNG', 'WEBP']",
      (image.format, image.get_format_mimetype(), image.n_frames), ("MPO", "image/mpo", 2))

sys.exit(bool(failed))
EOF
