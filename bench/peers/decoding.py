"""The minimum that decodes an image: Pillow alone."""

import io
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

read = cache(Path.read_bytes)


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Decodes the image in the event's file."""
    with Image.open(io.BytesIO(read(Path(event["path"])))) as image:
        image.load()
        return {"width": image.width}
