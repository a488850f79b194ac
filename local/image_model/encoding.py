"""Image files that carry their prompt: PNG, JPEG and WebP.

The note is JSON in ASCII: the prompt, its SHA-256, and a digest of all that the picture was
painted from. It is a tEXt chunk of a PNG, the comments of a JPEG, and the ImageDescription (EXIF)
of a WebP.
"""

import hashlib
import io
import json
import zlib
from itertools import batched

from PIL import Image, ImageChops, JpegImagePlugin, PngImagePlugin
from PIL.ExifTags import Base

SOFTWARE = "MasStock stand-in model"
PNG_KEY = "Prompt"
JPEG_QUALITY = 80
# A JPEG comment holds at most 65,533 bytes. A longer note takes several.
JPEG_COMMENT_BYTES = 65_533


def digest_of(prompt: str) -> str:
    """Return the SHA-256 of a prompt in hexadecimal digits. A lone surrogate is allowed."""
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()


def encode(picture: Image.Image, format: str, prompt: str, source: str) -> bytes:
    """Return the bytes of a file in the format "PNG", "JPEG" or "WEBP".

    Unusual kinds of these: "CMYK" is a JPEG in the colours of print, "DEEP_GREY" a grey PNG of 16
    bits, "ANIMATION" a WebP whose second frame is the picture's negative.
    """
    note = json.dumps({"sha256": digest_of(prompt), "source": source, "prompt": prompt}).encode()
    stream = io.BytesIO()
    match format:
        case "PNG" | "DEEP_GREY":
            if format == "DEEP_GREY":
                grey = picture.convert("L").convert("I").point(lambda value: value * 257)
                picture = grey.convert("I;16")
            notes = PngImagePlugin.PngInfo()
            notes.add_text("Software", SOFTWARE)
            notes.add_text(PNG_KEY, note.decode())
            # Of zlib's strategies, runs are the fastest and the smallest for flat colours.
            strategy = zlib.Z_RLE if picture.mode == "P" else zlib.Z_DEFAULT_STRATEGY
            picture.save(stream, "PNG", compress_level=1, compress_type=strategy, pnginfo=notes)
            return stream.getvalue()
        case "JPEG" | "CMYK":
            mode = "CMYK" if format == "CMYK" else "RGB"
            picture.convert(mode).save(stream, "JPEG", quality=JPEG_QUALITY)
            return _with_comments(stream.getvalue(), note)
        case "WEBP" | "ANIMATION":
            picture = picture.convert("RGB")
            more = [ImageChops.invert(picture)] if format == "ANIMATION" else []
            exif = Image.Exif()
            exif[Base.Software], exif[Base.ImageDescription] = SOFTWARE, note.decode()
            picture.save(
                stream,
                "WEBP",
                quality=JPEG_QUALITY,
                method=0,
                exif=exif,
                save_all=bool(more),
                append_images=more,
            )
            return stream.getvalue()
        case _:
            raise ValueError(f"there is no format {format!r}")


def with_manifest(content: bytes) -> bytes:
    """Insert a chunk like a C2PA manifest into a PNG or a JPEG. Its content is not a manifest."""
    manifest = b"JP: a stand-in for a manifest"
    if content.startswith(b"\x89PNG"):
        chunk = b"caBX" + manifest
        framed = len(manifest).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4)
        # After the signature and IHDR.
        return content[:33] + framed + content[33:]
    # APP11, after the first segment.
    at = 4 + int.from_bytes(content[4:6])
    return content[:at] + b"\xff\xeb" + (len(manifest) + 2).to_bytes(2) + manifest + content[at:]


def prompt_of(content: bytes) -> str:
    """Return the prompt that a picture of the stand-in was painted from.

    Raises ValueError for any other content.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as picture:
            note = json.loads(_note_in(picture))
        prompt, digest = note["prompt"], note["sha256"]
    except (OSError, SyntaxError, ValueError, TypeError, KeyError) as error:
        raise ValueError("the content is not a picture of the stand-in model") from error
    if digest_of(prompt) != digest:
        raise ValueError("the prompt in the picture does not have the digest beside it")
    return prompt


def _note_in(picture: Image.Image) -> str | bytes:
    match picture:
        case PngImagePlugin.PngImageFile():
            return picture.info[PNG_KEY]
        case JpegImagePlugin.JpegImageFile():
            return b"".join(content for marker, content in picture.applist if marker == "COM")
        case _:
            return picture.getexif()[Base.ImageDescription]


def _with_comments(jpeg: bytes, note: bytes) -> bytes:
    """Insert the note after the first segment of a JPEG, which says that the file is one."""
    at = 4 + int.from_bytes(jpeg[4:6])
    comments = b"".join(
        b"\xff\xfe" + (len(part) + 2).to_bytes(2) + bytes(part)
        for part in batched(note, JPEG_COMMENT_BYTES, strict=False)
    )
    return jpeg[:at] + comments + jpeg[at:]
