"""The minimum that decodes an image and makes its thumbnail: Pillow alone."""

import io
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

read = cache(Path.read_bytes)


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Decodes the image in the event's file, resizes it and encodes it as WebP."""
    with Image.open(io.BytesIO(read(Path(event["path"])))) as image:
        image.load()
        small = image.resize((512, 512), Image.Resampling.BICUBIC, reducing_gap=1)
        small.save(io.BytesIO(), "WEBP", quality=75, method=0)
        return {"width": image.width}
