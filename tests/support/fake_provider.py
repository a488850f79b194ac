"""An image provider that needs no network: it paints one pixel, in a colour made from the prompt.

tests/e2e/test_second_provider.py copies this file into generate's providers.
"""

import hashlib
import struct
import zlib

from masstock.catalogue.image_models import Usage
from masstock_generate.providers import Painting, PaintRequest

INPUT_TOKENS, OUTPUT_TOKENS = 7, 1000


def paint(request: PaintRequest) -> Painting:
    """See masstock_generate.providers.Provider."""
    colour = hashlib.sha256(f"{request.model}: {request.prompt}".encode()).digest()[:3]
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (
            (b"IHDR", header),
            (b"IDAT", zlib.compress(b"\0" + colour)),
            (b"IEND", b""),
        )
    )
    return Painting(content, Usage(INPUT_TOKENS, OUTPUT_TOKENS, 0), request.model, 1)
