"""Originals are stored byte for byte as the model sent them, and each kind of image gets the
thumbnail that decision 90 describes.

The stand-in paints the same bytes again for the same prompt and seed.
"""

import base64
import hashlib
import io
from typing import Any

import pytest
import requests
from PIL import Image, ImageStat

from tests.e2e.conftest import Stack, workflow

pytestmark = pytest.mark.timeout(180)

# Its images are PNGs.
MODEL = "gemini-2.5-flash-image"
# Its images are JPEGs, and it paints in 4K.
PRO = "gemini-3-pro-image"
SEED = 7
# Of each behaviour: type, size and mode of the image, and the chunk or segment of its provenance.
KINDS: dict[str, tuple[str, int, str, bytes | None]] = {
    "ok": ("image/jpeg", 4096, "RGB", None),
    "provenance": ("image/png", 1024, "P", b"caBX"),
    "jpeg": ("image/jpeg", 1024, "RGB", None),
    "webp": ("image/webp", 1024, "RGB", None),
    "cmyk": ("image/jpeg", 1024, "CMYK", None),
    "deep_grey": ("image/png", 1024, "I;16", None),
    "animated": ("image/webp", 1024, "RGB", None),
}
SETTINGS = {"ok": (PRO, {"imageSize": "4K"})}


def prompt_of(behave: str) -> str:
    return f"an original that is {behave}"


def sent(stack: Stack, behave: str) -> bytes:
    """The image that the model sends for the prompt."""
    model, shape = SETTINGS.get(behave, (MODEL, {}))
    answer = requests.post(
        f"{stack.access['model_url']}/v1beta/models/{model}:generateContent",
        headers={"x-goog-api-key": stack.api_key},
        json={
            "contents": [{"role": "user", "parts": [{"text": prompt_of(behave)}]}],
            "generationConfig": {"seed": SEED, "imageConfig": shape},
        },
        timeout=60,
    )
    parts = answer.json()["candidates"][0]["content"]["parts"]
    return base64.b64decode(parts[-1]["inlineData"]["data"])


@pytest.fixture(scope="module")
def originals(stack: Stack) -> dict[str, dict[str, Any]]:
    behaviours = [*KINDS, "truncated"]
    stack.rule(*({"match": f"^{prompt_of(each)}$", "behave": each} for each in behaviours))
    behaviours.remove("ok")
    usual = stack.submit(
        [*map(prompt_of, behaviours)], workflow_id=workflow(stack, model=MODEL), seed=SEED
    )
    large = stack.submit(
        [prompt_of("ok")], workflow_id=workflow(stack, model=PRO), seed=SEED, image_size="4K"
    )
    for execution_id in (usual, large):
        stack.wait(execution_id, 120)
    rows = [*stack.results(large), *stack.results(usual)]
    return dict(zip(["ok", *behaviours], rows, strict=True))


@pytest.mark.parametrize("behave", KINDS)
def test_an_original_is_what_the_model_sent(
    stack: Stack, originals: dict[str, dict[str, Any]], behave: str
) -> None:
    row = originals[behave]
    mime_type, size, mode, chunk = KINDS[behave]
    assert row["status"] == "completed", row["error_message"]
    stored = requests.get(row["result_url"], timeout=30)
    digest = hashlib.sha256(sent(stack, behave)).hexdigest()
    assert (hashlib.sha256(stored.content).hexdigest(), row["image_sha256"]) == (digest, digest)
    assert (stored.headers["Content-Type"], row["mime_type"]) == (mime_type, mime_type)
    assert (row["width"], row["height"]) == (size, size)
    assert row["has_provenance"] == (chunk is not None)
    assert chunk is None or chunk in stored.content
    original = Image.open(io.BytesIO(stored.content))
    assert (original.mode, original.size) == (mode, (size, size))


@pytest.mark.parametrize("behave", KINDS)
def test_a_thumbnail_is_a_small_still_picture_of_the_original(
    originals: dict[str, dict[str, Any]], behave: str
) -> None:
    row = originals[behave]
    content = requests.get(row["thumbnail_url"], timeout=30).content
    thumbnail = Image.open(io.BytesIO(content))
    assert (thumbnail.format, thumbnail.size, thumbnail.mode) == ("WEBP", (512, 512), "RGB")
    assert getattr(thumbnail, "n_frames", 1) == 1
    original = Image.open(io.BytesIO(requests.get(row["result_url"], timeout=30).content))
    if original.mode == "I;16":
        original = original.convert("I").point(lambda value: value / 256).convert("L")
    # Of an animation, the first frame. A negative or a white picture has another mean.
    wanted = ImageStat.Stat(original.convert("RGB").resize((64, 64))).mean
    found = ImageStat.Stat(thumbnail.resize((64, 64))).mean
    assert found == pytest.approx(wanted, abs=6)


def test_an_image_that_is_cut_off_is_no_result(originals: dict[str, dict[str, Any]]) -> None:
    row = originals["truncated"]
    assert (row["status"], row["error_code"]) == ("failed", "invalid_image")
    assert (row["result_url"], row["thumbnail_url"]) == (None, None)
