#!/usr/bin/env bash
# Guess: If has_transparency_data is true, a thumbnail saved as WebP is transparent where the image
#   was.
# So: For an RGB PNG whose transparent colour stands in a tRNS chunk, the property is true and the
#   WebP has no alpha channel: the transparent parts become opaque. A PNG with a palette or in grey
#   keeps its transparency.
# Matters: Optimisers write such chunks for cut-out pictures. The thumbnail shows a coloured box.
#   convert('RGBA') before saving keeps it.
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


def through_webp(image, mode=None, **options):
    """has_transparency_data of the PNG, the mode of the WebP, and the alpha of its first pixel."""
    png, webp = io.BytesIO(), io.BytesIO()
    image.save(png, "PNG", **options)
    opened = Image.open(png)
    (opened.convert(mode) if mode else opened).save(webp, "WEBP", lossless=True)
    result = Image.open(webp)
    return opened.has_transparency_data, result.mode, result.convert("RGBA").getpixel((0, 0))[3]


palette = Image.new("P", (4, 4), 0)
palette.putpalette([255, 0, 0])
check("Palette with a transparent entry", through_webp(palette, transparency=0), (True, "RGBA", 0))
check("RGB with a transparent colour", through_webp(Image.new("RGB", (4, 4), (255, 0, 0)), transparency=(255, 0, 0)),
      (True, "RGB", 255))
check("The same with convert('RGBA')",
      through_webp(Image.new("RGB", (4, 4), (255, 0, 0)), "RGBA", transparency=(255, 0, 0)), (True, "RGBA", 0))
check("Grey with a transparent shade", through_webp(Image.new("L", (4, 4), 9), transparency=9), (True, "RGBA", 0))

sys.exit(bool(failed))
EOF
