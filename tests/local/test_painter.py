"""The pictures of the stand-in are distinct, have the requested shape and carry their prompt."""

import hashlib
import io
import json
import time
from collections.abc import Iterator

import pytest
from PIL import Image

from local.image_model.painter import paint, prompt_of
from tests.local.pictures import a_picture, decode

FORMATS = ("PNG", "JPEG", "WEBP")
# A lone surrogate, controls, and texts that are longer than one comment of a JPEG.
PROMPTS = ["a mug", "\ud800 lone", "a\x00b\tc\nd", '"é" \\ 日本 🦊', "🦊" * 10_000, "\x00" * 30_000]
pytestmark = pytest.mark.timeout(60)


def pixels(image: Image.Image) -> Iterator[tuple[int, int, int]]:
    raw = image.convert("RGB").tobytes()
    return zip(raw[0::3], raw[1::3], raw[2::3], strict=True)


def test_each_prompt_has_its_own_picture_every_time() -> None:
    prompts = [f"prompt number {n}" for n in range(40)]
    pictures = [paint(prompt) for prompt in prompts]
    assert len(set(pictures)) == 40
    assert len({decode(each).convert("RGB").tobytes() for each in pictures}) == 40
    assert pictures == [paint(prompt) for prompt in prompts]


@pytest.mark.parametrize("format", FORMATS)
def test_each_seed_has_its_own_picture_every_time(format: str) -> None:
    seeds = [None, -1, 0, 1, 2**31 - 1]
    pictures = [paint("a mug", seed=seed, format=format) for seed in seeds]
    assert len({decode(each).convert("RGB").tobytes() for each in pictures}) == len(seeds)
    assert pictures == [paint("a mug", seed=seed, format=format) for seed in seeds]


# https://ai.google.dev/gemini-api/docs/image-generation#aspect-ratios
AT_1K = {
    None: (1024, 1024),
    "1:1": (1024, 1024),
    "3:2": (1264, 848),
    "4:5": (928, 1152),
    "9:16": (768, 1376),
    "16:9": (1376, 768),
    "21:9": (1584, 672),
    "1:4": (512, 2048),
    "4:1": (2048, 512),
    "1:8": (384, 3072),
    "8:1": (3072, 384),
}


@pytest.mark.parametrize("ratio", AT_1K)
@pytest.mark.parametrize("references", [0, 6])
def test_ratio_and_size_decide_the_pixels(ratio: str | None, references: int) -> None:
    width, height = AT_1K[ratio]
    pinned = [a_picture("red")] * references
    for size, scale in {"512": 0.5, "1K": 1, "2K": 2}.items():
        image = decode(paint("a long prompt " * 50, pinned, ratio, size=size))
        assert image.size == (width * scale, height * scale)


@pytest.mark.parametrize("format", FORMATS)
def test_4k_has_four_times_the_sides(format: str) -> None:
    image = decode(paint("a mug", aspect_ratio="16:9", size="4K", format=format))
    assert (image.format, image.size) == (format, (5504, 3072))


def test_a_larger_size_shows_the_same_picture() -> None:
    small, large = decode(paint("a mug")), decode(paint("a mug", size="2K"))
    assert large.convert("RGB").reduce(2).tobytes() == small.convert("RGB").tobytes()


@pytest.mark.parametrize("ratio", ["", "16x9", "0:1", "1:9", "7:3", "1:1:1", "2:2"])
def test_an_unknown_aspect_ratio_is_refused(ratio: str) -> None:
    with pytest.raises(ValueError, match="aspect ratio"):
        paint("a mug", aspect_ratio=ratio)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"size": "2k"}, "image size"), ({"size": ""}, "image size"), ({"format": "GIF"}, "format")],
)
def test_an_unknown_size_or_format_is_refused(arguments: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        paint("a mug", **arguments)


# The prompt in the file


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("prompt", PROMPTS, ids=range(len(PROMPTS)))
def test_the_file_carries_the_whole_prompt(format: str, prompt: str) -> None:
    for size, references in (("1K", []), ("512", [a_picture("red")])):
        content = paint(prompt, references, size=size, format=format)
        assert decode(content).format == format
        assert prompt_of(content) == prompt


@pytest.mark.parametrize("format", FORMATS)
def test_other_programs_can_read_the_prompt_and_its_digest(format: str) -> None:
    image = Image.open(io.BytesIO(paint("a mug", format=format)))
    note = {
        "PNG": lambda: image.info["Prompt"],
        "JPEG": lambda: image.info["comment"],
        "WEBP": lambda: image.getexif()[0x010E],
    }[format]()
    assert json.loads(note)["prompt"] == "a mug"
    assert json.loads(note)["sha256"] == hashlib.sha256(b"a mug").hexdigest()


@pytest.mark.parametrize("format", FORMATS)
def test_prompt_of_refuses_other_pictures_and_changed_prompts(format: str) -> None:
    changed = paint("a mug", format=format).replace(b'"a mug"', b'"a jug"')
    for content in (a_picture("red", format), changed, b"", b"no image"):
        with pytest.raises(ValueError, match=r"prompt|stand-in"):
            prompt_of(content)


# What the pictures show


def test_references_are_visible_in_the_picture() -> None:
    plain = decode(paint("a mug")).convert("RGB")
    red = decode(paint("a mug", [a_picture("#ff0000", "JPEG")])).convert("RGB")
    blue = decode(paint("a mug", [a_picture("#0000ff", "WEBP")])).convert("RGB")
    assert len({image.tobytes() for image in (plain, red, blue)}) == 3
    reddish = sum(r > 240 and g < 15 and b < 15 for r, g, b in pixels(red))
    assert reddish > 5000


def test_many_or_broken_references_can_be_painted() -> None:
    many = [a_picture(colour) for colour in ("red", "green", "blue", "black", "white", "pink")]
    assert paint("a mug", many) != paint("a mug", many[:5])
    broken = [b"\x89PNG\r\n\x1a\n and no more"]
    assert decode(paint("a mug", broken)).size == decode(paint("a mug")).size


@pytest.mark.parametrize(
    "prompt",
    ["x", "é ñ ø 日本 🦊", "\ud800 lone", "tab\there\nline\x00null", "w" * 10_000, "a b " * 2_500],
)
def test_any_text_can_be_painted(prompt: str) -> None:
    assert decode(paint(prompt)).size == (1024, 1024)
    assert len({paint(prompt), paint(prompt + "!")}) == 2


def test_a_picture_takes_less_than_25_ms_of_cpu() -> None:
    paint("warm up")
    started = time.process_time()
    for n in range(40):
        paint(f"A hand-thrown cup on a counter, steam curling, minimal campaign, number {n}")
    assert (time.process_time() - started) / 40 < 0.025


@pytest.mark.parametrize(("format", "kilobytes"), [("PNG", 60), ("JPEG", 120)])
def test_a_picture_is_small(format: str, kilobytes: int) -> None:
    pictures = [paint(f"A hand-thrown cup, number {n}", format=format) for n in range(20)]
    assert sum(map(len, pictures)) / 20 < kilobytes * 1024
