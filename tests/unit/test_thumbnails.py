"""A thumbnail shows the image of every kind that a model may answer, and never costs the image."""

import io
import random
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image, ImageCms

from masstock.errors import InvalidImage
from masstock_generate import thumbnails
from masstock_generate.images import inspect_image

LIMIT = 64 * 2**20
RED = (200, 30, 30)


def encoded(image: Image.Image, format: str, **save: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **save)
    return stream.getvalue()


def thumbnail(content: bytes) -> Image.Image:
    made = inspect_image(content, LIMIT).thumbnail
    assert made is not None
    image = Image.open(io.BytesIO(made))
    assert image.format == "WEBP"
    assert not image.info.keys() & {"icc_profile", "exif", "xmp"}
    image.load()
    return image


def colour(image: Image.Image, at: tuple[int, int] = (5, 5)) -> tuple[int, ...]:
    pixel = image.getpixel(at)
    assert isinstance(pixel, tuple)
    return tuple(int(value) for value in pixel)


def near(found: tuple[int, ...], wanted: tuple[int, ...], tolerance: int = 12) -> bool:
    return all(abs(one - other) <= tolerance for one, other in zip(found, wanted, strict=True))


def sixteen_bit_grey() -> bytes:
    """A quarter of full brightness."""
    return encoded(Image.new("I;16", (64, 64), 0x4000), "PNG")


def lab_profile() -> bytes:
    """A profile of pixels that are not RGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


KINDS: dict[str, tuple[Callable[[], bytes], tuple[int, ...]]] = {
    "RGB": (lambda: encoded(Image.new("RGB", (64, 64), RED), "PNG"), RED),
    "CMYK": (
        lambda: encoded(Image.new("RGB", (64, 64), RED).convert("CMYK"), "JPEG", quality=95),
        RED,
    ),
    "16-bit grey": (sixteen_bit_grey, (64, 64, 64)),
    "grey": (lambda: encoded(Image.new("L", (64, 64), 90), "JPEG"), (90, 90, 90)),
    "one bit": (lambda: encoded(Image.new("1", (64, 64), 1), "PNG"), (255, 255, 255)),
    "palette": (lambda: encoded(Image.new("RGB", (64, 64), RED).quantize(), "PNG"), RED),
    "alpha": (
        lambda: encoded(Image.new("RGBA", (64, 64), (*RED, 128)), "PNG"),
        (*RED, 128),
    ),
    "grey with alpha": (
        lambda: encoded(Image.new("LA", (64, 64), (90, 128)), "PNG"),
        (90, 90, 90, 128),
    ),
    "transparent colour": (
        lambda: encoded(Image.new("RGB", (64, 64), RED), "PNG", transparency=RED),
        (*RED, 0),
    ),
    "animated PNG": (
        lambda: encoded(
            Image.new("RGB", (64, 64), RED),
            "PNG",
            save_all=True,
            append_images=[Image.new("RGB", (64, 64), "blue")],
        ),
        RED,
    ),
    "animated WebP": (
        lambda: encoded(
            Image.new("RGB", (64, 64), RED),
            "WEBP",
            save_all=True,
            append_images=[Image.new("RGB", (64, 64), "blue")],
        ),
        RED,
    ),
    "foreign profile": (
        lambda: encoded(Image.new("RGB", (64, 64), RED), "PNG", icc_profile=lab_profile()),
        RED,
    ),
    "damaged profile": (
        lambda: encoded(Image.new("RGB", (64, 64), RED), "PNG", icc_profile=b"no profile"),
        RED,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_keeps_its_colours(kind: str) -> None:
    make, wanted = KINDS[kind]
    found = colour(thumbnail(make()))
    if wanted[-1] == 0 and len(wanted) == 4:
        assert found[3] == 0
    else:
        assert near(found, wanted)


def test_a_colour_profile_is_applied() -> None:
    """Swapped primaries: without the profile the thumbnail would be red."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red], profile[blue] = profile[blue], profile[red]
    content = encoded(Image.new("RGB", (64, 64), RED), "PNG", icc_profile=bytes(profile))
    assert near(colour(thumbnail(content)), RED[::-1])


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((1024, 1024), (512, 512)),
        ((1376, 768), (512, 286)),
        ((2928, 368), (512, 64)),
        ((368, 2928), (64, 512)),
        ((4096, 4096), (512, 512)),
        ((512, 300), (512, 300)),
        ((5, 1), (5, 1)),
        ((4000, 1), (512, 1)),
    ],
)
@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_a_thumbnail_has_the_ratio_and_at_most_512_pixels(
    format: str, size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    content = encoded(Image.new("RGB", size, RED), format)
    facts = inspect_image(content, LIMIT)
    # A JPEG is decoded smaller, but measured in full.
    assert (facts.width, facts.height) == size
    assert thumbnail(content).size == wanted


def test_a_large_photograph_becomes_a_small_file() -> None:
    grain = random.Random(0).randbytes(48 * 48 * 3)
    photograph = Image.frombytes("RGB", (48, 48), grain).resize((2048, 2048))
    made = inspect_image(encoded(photograph, "JPEG", quality=95), LIMIT).thumbnail
    assert made is not None
    assert len(made) < 60_000


@pytest.mark.parametrize("missing", [2, 100, 20_000])
def test_a_large_jpeg_that_is_cut_short_is_refused_although_it_is_decoded_smaller(
    missing: int,
) -> None:
    noise = Image.frombytes("RGB", (2048, 2048), random.Random(0).randbytes(2048 * 2048 * 3))
    content = encoded(noise, "JPEG", quality=50)
    with pytest.raises(InvalidImage):
        inspect_image(content[:-missing], LIMIT)


def test_a_camera_note_turns_the_thumbnail_and_not_the_measures() -> None:
    picture = Image.new("RGB", (64, 32), "blue")
    picture.paste(RED, (0, 0, 32, 32))
    exif = Image.Exif()
    exif[thumbnails.ORIENTATION] = 6
    content = encoded(picture, "JPEG", exif=exif, quality=95)
    facts = inspect_image(content, LIMIT)
    assert (facts.width, facts.height) == (64, 32)
    small = thumbnail(content)
    assert small.size == (32, 64)
    assert near(colour(small, (16, 8)), RED, 40)


def test_a_thumbnail_that_fails_costs_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(thumbnails, "_resized", fails)
    facts = inspect_image(encoded(Image.new("RGB", (64, 64)), "PNG"), LIMIT)
    assert (facts.width, facts.thumbnail) == (64, None)
