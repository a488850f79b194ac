"""Posters that stand in for an image model's work: a real, distinct PNG for every prompt.

A poster is drawn as tones (one byte a pixel) and coloured by a palette of 256 entries. Drawing
and compressing RGB would take several times the CPU. Only a poster with reference images is RGB.
`compositions` makes the drawing and `lettering` fits the prompt below it.
"""

import hashlib
import io
import math
import random
import re
from collections.abc import Sequence
from functools import lru_cache

from PIL import Image, ImageDraw, ImageOps, PngImagePlugin

from local.image_model import compositions
from local.image_model.lettering import LEADING, fit_caption, printable, type_face

SHORTEST_SIDE = 512
AREA = 640 * 640
MOST_STRETCHED = 8

MARGIN = 26
INK, PAPER, FOOTNOTE = 6, 252, 96
THUMBNAIL = 132
MOST_THUMBNAILS = 4

# Five stops each, from dark to light: a higher tone is lighter in every palette.
PALETTES = (
    ("#14213d", "#274c77", "#e07a5f", "#f2b880", "#fdf6ec"),
    ("#1b1b2f", "#5b2a86", "#c8468c", "#ff9f7a", "#fff5ee"),
    ("#0b2b26", "#1f5f52", "#4fa083", "#c9d99a", "#fbfaf0"),
    ("#22181c", "#7a2e3a", "#d1603d", "#f0b04f", "#fdf7e9"),
    ("#0d1b2a", "#1d4e89", "#2a9dc4", "#96d9dd", "#f6fcfb"),
    ("#2b1a3d", "#5d3a9b", "#8d7fd8", "#d5b8ea", "#fcf8ff"),
    ("#1f2421", "#216869", "#49a078", "#dcc48e", "#fcfaf2"),
    ("#2d1e2f", "#8f2d56", "#e2607a", "#f7b7a3", "#fff7f2"),
    ("#11212d", "#37556b", "#c98b5a", "#ecca96", "#fbf8f1"),
    ("#151e3f", "#3f4db8", "#e5659b", "#ffc38a", "#fff9ef"),
    ("#26201a", "#6b4f2a", "#b98b3e", "#e9cf83", "#fdfaee"),
    ("#0f2027", "#2c5364", "#6fa8a8", "#f2a977", "#fef8f0"),
)


def paint(prompt: str, references: Sequence[bytes] = (), aspect_ratio: str | None = None) -> bytes:
    """Return a PNG with sides of at least 512 px that shows the prompt and the reference images.

    The same arguments give the same bytes; a different prompt or reference gives different ones.
    Raises ValueError for an aspect ratio that is not "W:H" or is stretched beyond 8:1.
    """
    width, height = size_for(aspect_ratio)
    seed = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()
    rng = random.Random(seed)
    palette = rng.choice(PALETTES)

    lines, font = fit_caption(printable(prompt), width - 2 * MARGIN, height * 2 // 5)
    line_height = round(font.size * LEADING)
    bottom = height - MARGIN - line_height * len(lines) - 40

    poster = Image.new("L", (width, height), PAPER)
    poster.paste(compositions.draw((width - 2 * MARGIN, bottom - MARGIN), rng), (MARGIN, MARGIN))
    pen = ImageDraw.Draw(poster)
    for number, line in enumerate(lines):
        pen.text((MARGIN, bottom + 16 + number * line_height), line, font=font, fill=INK)
    footnote = f"stand-in model  ·  {seed.hex()[:8]}"
    pen.text((MARGIN, height - MARGIN), footnote, font=type_face(13), fill=FOOTNOTE, anchor="ls")

    poster.putpalette(_ramp(palette))
    if references:
        poster = poster.convert("RGB")
        _pin_references(poster, references, bottom)
    return _encode(poster, prompt, references)


def size_for(aspect_ratio: str | None) -> tuple[int, int]:
    """Return width and height in pixels for "W:H" (square for None).

    Raises ValueError for another form and for a ratio beyond 8:1.
    """
    wanted = "1:1" if aspect_ratio is None else aspect_ratio
    match = re.fullmatch(r"([1-9]\d{0,2}):([1-9]\d{0,2})", wanted)
    if not match:
        raise ValueError(f"aspect ratio {aspect_ratio!r} is not of the form W:H")
    ratio = int(match[1]) / int(match[2])
    if not 1 / MOST_STRETCHED <= ratio <= MOST_STRETCHED:
        raise ValueError(f"aspect ratio {aspect_ratio!r} is stretched beyond {MOST_STRETCHED}:1")
    height = math.sqrt(AREA / ratio)
    scale = max(1.0, SHORTEST_SIDE / min(height, height * ratio))
    return round(height * ratio * scale), round(height * scale)


def _pin_references(poster: Image.Image, references: Sequence[bytes], bottom: int) -> None:
    """Paste framed thumbnails along the lower edge of the drawing. The last thumbnail has the
    number of references that are not shown."""
    shown = [_thumbnail(reference) for reference in references[:MOST_THUMBNAILS]]
    room = (poster.width - 2 * MARGIN - 16) // MOST_THUMBNAILS - 12
    side = min(THUMBNAIL, room, bottom - MARGIN - 24)
    x = MARGIN + 16
    for thumbnail in shown:
        framed = ImageOps.expand(thumbnail.resize((side - 10, side - 10)), 5, "white")
        poster.paste(framed, (x, bottom - side - 16))
        x += side + 12
    if len(references) > len(shown):
        pen = ImageDraw.Draw(poster)
        more = f"+{len(references) - len(shown)}"
        pen.text(
            (x - 24, bottom - 26), more, font=type_face(24), fill="white", anchor="rs",
            stroke_width=3, stroke_fill="black",
        )  # fmt: skip


@lru_cache(maxsize=64)
def _thumbnail(reference: bytes) -> Image.Image:
    """Return a square crop of a reference, or a plain tile if it is not an image.

    The colour of the plain tile follows from the bytes of the reference.
    """
    try:
        with Image.open(io.BytesIO(reference)) as picture:
            picture.draft("RGB", (THUMBNAIL * 2, THUMBNAIL * 2))
            return ImageOps.fit(picture.convert("RGB"), (THUMBNAIL, THUMBNAIL))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        red, green, blue = hashlib.sha256(reference).digest()[:3]
        return Image.new("RGB", (THUMBNAIL, THUMBNAIL), (red, green, blue))


@lru_cache
def _ramp(palette: tuple[str, ...]) -> list[int]:
    """Return 256 RGB entries that run through the palette's stops from dark to light."""
    stops = [bytes.fromhex(stop[1:]) for stop in palette]
    entries: list[int] = []
    for tone in range(256):
        at = tone / 255 * (len(stops) - 1)
        lower = min(int(at), len(stops) - 2)
        for dark, light in zip(stops[lower], stops[lower + 1], strict=True):
            entries.append(round(dark + (light - dark) * (at - lower)))
    return entries


def _encode(poster: Image.Image, prompt: str, references: Sequence[bytes]) -> bytes:
    """Return PNG bytes that carry the prompt and a digest, so that no two posters are equal."""
    digest = hashlib.sha256(prompt.encode("utf-8", "surrogatepass"))
    for reference in references:
        digest.update(hashlib.sha256(reference).digest())
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Software", "MasStock stand-in model")
    notes.add_text("Source", digest.hexdigest())
    notes.add_itxt("Description", prompt.encode("utf-8", "replace").decode())
    stream = io.BytesIO()
    poster.save(stream, "PNG", compress_level=1, pnginfo=notes)
    return stream.getvalue()
