"""Generated images are decoded once, to validate and measure them and to make their thumbnails. The
bytes stay as they came."""

import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from masstock.catalogue.image_sizes import SIZES
from masstock.errors import InvalidImage
from masstock_generate.thumbnails import ENOUGH, make_thumbnail

# An image of more pixels is refused from its header: decoding it would take over 256 MB.
MAX_PIXELS = 64_000_000
MIME_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
# A model rounds to multiples of 8 or 16 pixels: 16:9 is painted as 1376 × 768, for example.
RATIO_TOLERANCE = 0.04
RATIO = re.compile("([1-9][0-9]?):([1-9][0-9]?)")


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What decoding an image shows. Sizes are in pixels."""

    mime_type: str
    width: int
    height: int
    # True if the file carries a C2PA manifest.
    has_provenance: bool
    thumbnail: bytes | None = field(default=None, compare=False, repr=False)


def inspect_image(content: bytes, max_bytes: int) -> ImageFacts:
    """Decodes the image. Raises InvalidImage if it is no PNG, JPEG or WebP, is damaged or cut
    short, or exceeds a limit."""
    if len(content) > max_bytes:
        megabytes = max_bytes // 2**20
        raise InvalidImage(
            f"The image has {len(content)} bytes; images of at most {megabytes} MB are stored."
        )
    # Imported here: Pillow takes 45 to 90 ms, and generate's cold start already waits for the SDK.
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # our own limit is checked before decoding
    try:
        with Image.open(io.BytesIO(content), formats=list(MIME_TYPES)) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise InvalidImage(
                    f"The image has {width} × {height} pixels; at most 64 megapixels are stored."
                )
            # Pillow calls a JPEG that holds further pictures MPO (findings/pillow-mpo.sh).
            format = "JPEG" if image.format == "MPO" else image.format
            mime_type = MIME_TYPES[format or ""]
            # Only of JPEG, and only fewer pixels: all of the file is still read and checked.
            image.draft(None, (ENOUGH, ENOUGH))
            image.load()
            chunks = set(_CHUNKS[mime_type](content))
            # Pillow accepts a PNG without its last bytes.
            if mime_type == "image/png" and b"IEND" not in chunks:
                raise EOFError
            thumbnail = make_thumbnail(image, width, height)
    except UnidentifiedImageError as error:
        raise InvalidImage from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError) as error:
        raise InvalidImage("The image of the model is damaged or cut short.") from error
    return ImageFacts(mime_type, width, height, bool(PROVENANCE & chunks), thumbnail)


# Chunks that hold a C2PA manifest: in a PNG, in a WebP, and in a JPEG (APP11 with a JUMBF box).
# https://spec.c2pa.org/specifications/specifications/2.1/specs/C2PA_Specification.html
PROVENANCE = {b"caBX", b"C2PA", b"\xebJP"}


def _png_chunks(content: bytes) -> Iterator[bytes]:
    """The types of the complete chunks."""
    position = 8
    while position + 12 <= len(content):
        end = position + 12 + int.from_bytes(content[position : position + 4])
        if end > len(content):
            return
        yield content[position + 4 : position + 8]
        position = end


def _webp_chunks(content: bytes) -> Iterator[bytes]:
    position = 12
    while position + 8 <= len(content):
        yield content[position : position + 4]
        size = int.from_bytes(content[position + 4 : position + 8], "little")
        position += 8 + size + size % 2


def _jpeg_segments(content: bytes) -> Iterator[bytes]:
    """Marker and first two bytes of each segment before the picture's data."""
    position = 2
    while position + 6 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1 : position + 2]
        if marker == b"\xda":
            return
        yield marker + content[position + 4 : position + 6]
        position += 2 + int.from_bytes(content[position + 2 : position + 4])


_CHUNKS = {"image/png": _png_chunks, "image/webp": _webp_chunks, "image/jpeg": _jpeg_segments}


def is_as_asked(facts: ImageFacts, aspect_ratio: str | None, size: str | None) -> bool | None:
    """True if the image has the ratio and the size that were asked for. None if neither was. A row
    that was inserted without the api can have a text that is no ratio; it is ignored."""
    ratio = RATIO.fullmatch(aspect_ratio or "")
    if ratio is None and size is None:
        return None
    if ratio is not None:
        wanted = int(ratio[1]) / int(ratio[2])
        if abs(facts.width / facts.height / wanted - 1) > RATIO_TOLERANCE:
            return False
    return size is None or _nearest_size(facts) == size


def _nearest_size(facts: ImageFacts) -> str:
    """The size whose square has about as many pixels."""
    edge = math.sqrt(facts.width * facts.height)
    edges = {"512": 512, "1K": 1024, "2K": 2048, "4K": 4096}
    return min(SIZES, key=lambda size: abs(math.log(edge / edges[size])))
