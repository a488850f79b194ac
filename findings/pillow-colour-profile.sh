#!/usr/bin/env bash
# Guess: Pillow either carries an image's colour profile into the file that it saves, or leaves it
#   to the caller. All formats behave in the same way.
# So: PNG, AVIF and TIFF carry the profile over. JPEG and WebP drop it without a word, although both
#   formats can hold it, and also if the image came from a JPEG with a profile.
# Matters: A picture in Display P3 keeps its colours when it is saved as PNG or AVIF. The WebP
#   thumbnail beside it is duller, and a browser shows both on the same page.
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
from PIL import Image, ImageCms

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"Pillow {PIL.__version__}")
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def saved(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    copy = Image.open(io.BytesIO(file.getvalue()))
    copy.load()
    return copy


def keeps(image, **options):
    formats = ("PNG", "AVIF", "TIFF", "JPEG", "WEBP")
    return [format for format in formats if saved(image, format, **options).info.get("icc_profile") == PROFILE]


picture = Image.new("RGB", (32, 32), "teal")
check("Formats that keep the profile of a PNG", keeps(saved(picture, "PNG", icc_profile=PROFILE)), ["PNG", "AVIF", "TIFF"])
check("Formats that keep the profile of a JPEG", keeps(saved(picture, "JPEG", icc_profile=PROFILE)), ["PNG", "AVIF", "TIFF"])
check("Formats that keep it if save gets it", keeps(picture, icc_profile=PROFILE), ["PNG", "AVIF", "TIFF", "JPEG", "WEBP"])

sys.exit(bool(failed))
EOF
