"""Small pictures for tests, and decoding."""

import io

from PIL import Image


def a_picture(colour: str, format: str = "PNG") -> bytes:
    """Return the bytes of a picture of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(stream, format)
    return stream.getvalue()


def decode(image: bytes) -> Image.Image:
    """Return the image with all its pixels; OSError if it is not an image."""
    decoded = Image.open(io.BytesIO(image))
    decoded.load()
    return decoded
