"""The pictures of the stand-in are real and distinct, and have the requested shape."""

import time
from collections.abc import Iterator

import pytest
from PIL import Image

from local.image_model.painter import paint
from tests.local.pictures import a_picture, decode

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


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(None, 1.0), ("1:1", 1.0), ("16:9", 16 / 9), ("9:16", 9 / 16), ("21:9", 21 / 9), ("8:1", 8.0)],
)
def test_the_picture_has_the_requested_aspect_ratio(ratio: str | None, expected: float) -> None:
    image = decode(paint("a long prompt " * 50, [a_picture("red")], ratio))
    assert image.format == "PNG"
    assert image.width / image.height == pytest.approx(expected, rel=0.01)
    assert min(image.size) >= 512


@pytest.mark.parametrize("ratio", ["", "16x9", "0:1", "1:9", "-1:2", "1:1:1", "99999:1"])
def test_an_invalid_aspect_ratio_is_refused(ratio: str) -> None:
    with pytest.raises(ValueError, match="aspect ratio"):
        paint("a mug", aspect_ratio=ratio)


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
    assert decode(paint(prompt)).size == (640, 640)
    assert len({paint(prompt), paint(prompt + "!")}) == 2


def test_a_picture_takes_less_than_25_ms_of_cpu() -> None:
    paint("warm up")
    started = time.process_time()
    for n in range(40):
        paint(f"A hand-thrown cup on a counter, steam curling, minimal campaign, number {n}")
    assert (time.process_time() - started) / 40 < 0.025
