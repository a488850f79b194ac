"""A generated image is decoded once: valid, measured, and with or without provenance."""

import io
import random
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from masstock.errors import InvalidImage
from masstock_generate.images import MAX_PIXELS, ImageFacts, inspect_image, is_as_asked

LIMIT = 10 * 1024 * 1024
FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


def picture(
    format: str, mode: str = "RGB", size: tuple[int, int] = (96, 64), **save: object
) -> bytes:
    grey = Image.frombytes("L", size, random.Random(0).randbytes(size[0] * size[1]))
    noise = grey.convert("RGB" if mode == "I;16" else mode)
    if mode == "I;16":
        noise = noise.convert("I").convert("I;16")
    stream = io.BytesIO()
    noise.save(stream, format, **save)
    return stream.getvalue()


@pytest.mark.parametrize("format", FORMATS)
def test_image_is_measured_by_its_content(format: str) -> None:
    assert inspect_image(picture(format), LIMIT) == ImageFacts(FORMATS[format], 96, 64, False)


@pytest.mark.parametrize(
    ("format", "mode"),
    [
        ("JPEG", "CMYK"),
        ("JPEG", "L"),
        ("PNG", "I;16"),
        ("PNG", "P"),
        ("PNG", "RGBA"),
        ("WEBP", "RGBA"),
    ],
)
def test_every_colour_mode_is_an_image(format: str, mode: str) -> None:
    assert inspect_image(picture(format, mode), LIMIT).width == 96


def test_a_jpeg_with_a_second_picture_is_a_jpeg() -> None:
    """Cameras and models add a gain map as a second picture. Pillow 13 calls the format MPO."""
    second = Image.new("RGB", (48, 32), "grey")
    content = picture("MPO", save_all=True, append_images=[second])
    assert content.startswith(b"\xff\xd8\xff")
    assert inspect_image(content, LIMIT) == ImageFacts("image/jpeg", 96, 64, False)


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_animation_is_its_first_frame(format: str) -> None:
    frames = [Image.new("RGB", (32, 16), colour) for colour in ("red", "blue")]
    content = picture(format, size=(32, 16), save_all=True, append_images=frames)
    assert inspect_image(content, LIMIT).height == 16


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("missing", [1, 2, 12, 13, 20, 100, 1000])
def test_image_cut_short_is_refused(format: str, missing: int) -> None:
    with pytest.raises(InvalidImage):
        inspect_image(picture(format)[:-missing], LIMIT)


@pytest.mark.parametrize("format", FORMATS)
def test_bytes_behind_an_image_do_not_matter(format: str) -> None:
    assert inspect_image(picture(format) + b"more", LIMIT).width == 96


@pytest.mark.parametrize("content", [b"", b"x", b"<svg/>", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"BM"])
def test_other_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(InvalidImage):
        inspect_image(content, LIMIT)


@given(st.sampled_from(list(FORMATS)), st.data())
def test_damage_is_refused_or_decoded_and_never_another_error(
    format: str, data: st.DataObject
) -> None:
    content = bytearray(picture(format, size=(16, 16)))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        facts = inspect_image(bytes(content), LIMIT)
    except InvalidImage:
        return
    assert facts.width > 0


def test_limit_of_bytes_is_named() -> None:
    content = picture("PNG")
    assert inspect_image(content, len(content)).width == 96
    with pytest.raises(InvalidImage, match="at most 10 MB"):
        inspect_image(content + b"\0" * LIMIT, LIMIT)


def test_too_many_pixels_are_refused_from_the_header() -> None:
    """The header of a picture without any data: it could not be decoded."""
    side = int(MAX_PIXELS**0.5) + 1
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header
    content = b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    content += struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    with pytest.raises(InvalidImage, match="64 megapixels"):
        inspect_image(content, LIMIT)


def with_provenance(format: str) -> bytes:
    content = picture(format)
    manifest = b"a manifest of C2PA"
    if format == "PNG":
        chunk = b"caBX" + manifest
        framed = struct.pack(">I", len(manifest)) + chunk + struct.pack(">I", zlib.crc32(chunk))
        return content[:33] + framed + content[33:]
    if format == "JPEG":
        segment = b"JP" + manifest
        return (
            content[:2] + b"\xff\xeb" + struct.pack(">H", len(segment) + 2) + segment + content[2:]
        )
    grown = content + b"C2PA" + struct.pack("<I", len(manifest)) + manifest
    return grown[:4] + struct.pack("<I", len(grown) - 8) + grown[8:]


@pytest.mark.parametrize("format", FORMATS)
def test_provenance_is_found_where_the_format_keeps_it(format: str) -> None:
    assert inspect_image(with_provenance(format), LIMIT).has_provenance


def test_words_in_the_picture_are_no_provenance() -> None:
    stream = io.BytesIO()
    Image.frombytes("L", (64, 64), b"caBXC2PA" * 512).save(stream, "PNG", compress_level=0)
    assert not inspect_image(stream.getvalue(), LIMIT).has_provenance


@pytest.mark.parametrize(
    ("size", "ratio", "asked", "expected"),
    [
        ((1376, 768), "16:9", None, True),
        ((1376, 768), "16:9", "1K", True),
        ((1024, 1024), "16:9", "2K", False),
        ((1024, 1024), None, "2K", False),
        ((2752, 1536), "16:9", "2K", True),
        ((512, 512), "1:1", "512", True),
        ((4096, 4096), "1:1", "4K", True),
        ((1024, 1024), None, None, None),
        ((864, 1184), "3:4", None, True),
        ((1184, 864), "3:4", None, False),
        ((2928, 368), "8:1", "1K", True),
        ((1024, 1024), "1:1", "8K", False),
        # Rows inserted past the api.
        ((1024, 1024), "1:0", None, None),
        ((1024, 1024), "wide", None, None),
        ((1024, 1024), "", "1K", True),
    ],
)
def test_image_is_compared_with_what_was_asked(
    size: tuple[int, int], ratio: str | None, asked: str | None, expected: bool | None
) -> None:
    assert is_as_asked(ImageFacts("image/png", *size, False), ratio, asked) is expected
