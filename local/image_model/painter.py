"""Posters that stand in for an image model's work: a real, distinct image for every prompt.

A poster is drawn as tones (one byte a pixel) and coloured by a palette of 256 entries. Drawing and
compressing that is several times cheaper than RGB. Reference images get one half of the palette.
Every poster is drawn at 1K and then scaled: nearest pixels, because the time has to stay short.
`compositions` makes the drawing, `lettering` fits the prompt below it, `encoding` makes the file.
"""

import hashlib
import io
import random
from collections.abc import Sequence
from functools import lru_cache
from threading import BoundedSemaphore

from PIL import Image, ImageDraw, ImageOps

from local.image_model import compositions
from local.image_model.encoding import digest_of, encode, prompt_of
from local.image_model.lettering import LEADING, fit_caption, printable, type_face, write
from local.image_model.shapes import SCALES, pixels
from masstock.catalogue.image_sizes import DEFAULT_SIZE

__all__ = ["paint", "prompt_of"]

MARGIN = 40
CAPTION_GAP = 24
FOOTER = 62
FOOTNOTE_SIZE = 20
INK, PAPER, FOOTNOTE = 6, 252, 96
THUMBNAIL = 210
THUMBNAIL_GAP, THUMBNAIL_FRAME = 20, 8
MOST_THUMBNAILS = 4
# Tones in the lower half of the palette, and the thumbnails' colours in the upper half.
HALVED = [tone // 2 for tone in range(256)]
RAISED = [min(index + 128, 255) for index in range(256)]
# A JPEG of 4K takes 130 MB while it is encoded. Calls for more than 1K wait for each other.
_large_pictures = BoundedSemaphore(2)

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


def paint(
    prompt: str,
    references: Sequence[bytes] = (),
    aspect_ratio: str | None = None,
    *,
    size: str = DEFAULT_SIZE,
    seed: int | None = None,
    format: str = "PNG",
) -> bytes:
    """Return an image file that shows the prompt and the reference images.

    The same arguments give the same bytes; a different prompt, reference or seed gives different
    ones. `prompt_of` reads the prompt back. Raises ValueError for an aspect ratio, a size or a
    format that does not exist.
    """
    width, height = pixels(aspect_ratio)
    digest = digest_of(prompt)
    rng = random.Random(digest if seed is None else f"{digest} {seed}")
    ramp = _ramp(rng.choice(PALETTES))
    poster, bottom = _draw(prompt, (width, height), rng, f"stand-in model  ·  {digest[:8]}")
    if references:
        poster, ramp = _pin_references(poster, tuple(references), bottom, ramp)
    poster.putpalette(ramp)
    source = _source(digest, seed, references)
    if SCALES.get(size) == 1:
        return encode(poster, format, prompt, source)
    with _large_pictures:
        return encode(_scaled(poster, pixels(aspect_ratio, size)), format, prompt, source)


def _draw(
    prompt: str, size: tuple[int, int], rng: random.Random, footnote: str
) -> tuple[Image.Image, int]:
    """Return a poster of tones and the lower edge of its drawing."""
    width, height = size
    lines, type_size = fit_caption(printable(prompt), width - 2 * MARGIN, height * 2 // 5)
    line_height = round(type_size * LEADING)
    bottom = height - MARGIN - line_height * len(lines) - FOOTER

    poster = Image.new("L", size, PAPER)
    poster.paste(compositions.draw((width - 2 * MARGIN, bottom - MARGIN), rng), (MARGIN, MARGIN))
    for number, line in enumerate(lines):
        write(poster, (MARGIN, bottom + CAPTION_GAP + number * line_height), line, type_size, INK)
    top = height - MARGIN - FOOTNOTE_SIZE
    write(poster, (MARGIN, top), footnote, FOOTNOTE_SIZE, FOOTNOTE)
    return poster, bottom


def _scaled(poster: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale a poster by a half, or by a whole number."""
    if size[0] < poster.width:
        return poster.convert("RGB").reduce(poster.width // size[0])
    return poster.resize(size, Image.Resampling.NEAREST)


def _source(digest: str, seed: int | None, references: Sequence[bytes]) -> str:
    """Return a digest of the picture's source. It makes the files of equal drawings differ."""
    source = hashlib.sha256(f"{digest} {seed}".encode())
    for reference in references:
        source.update(hashlib.sha256(reference).digest())
    return source.hexdigest()


def _pin_references(
    poster: Image.Image, references: tuple[bytes, ...], bottom: int, ramp: list[int]
) -> tuple[Image.Image, list[int]]:
    """Paste framed thumbnails along the lower edge of the drawing.

    Returns the poster with half as many tones, and the palette of tones and thumbnails.
    """
    inset = THUMBNAIL_GAP + THUMBNAIL_FRAME
    room = (poster.width - 2 * MARGIN - inset) // MOST_THUMBNAILS - THUMBNAIL_GAP
    side = min(THUMBNAIL, room, bottom - MARGIN - 2 * THUMBNAIL_GAP)
    thumbnails, colours = _thumbnails(references, side)
    poster = poster.point(HALVED)
    for number, thumbnail in enumerate(thumbnails):
        x = MARGIN + inset + number * (side + THUMBNAIL_GAP)
        poster.paste(thumbnail, (x, bottom - side - inset))
    tones = [channel for tone in range(0, 256, 2) for channel in ramp[tone * 3 : tone * 3 + 3]]
    return poster, tones + colours


# The prompts of an execution share their references.
@lru_cache(maxsize=8)
def _thumbnails(references: tuple[bytes, ...], side: int) -> tuple[list[Image.Image], list[int]]:
    """Return thumbnails in the upper half of the palette, and that half; the last counts the rest.

    All thumbnails together have at most 128 colours.
    """
    shown = references[:MOST_THUMBNAILS]
    strip = Image.new("RGB", (side * len(shown), side), "white")
    inner = side - 2 * THUMBNAIL_FRAME
    for number, reference in enumerate(shown):
        place = (number * side + THUMBNAIL_FRAME, THUMBNAIL_FRAME)
        strip.paste(_thumbnail(reference, inner), place)
    if len(references) > len(shown):
        more = f"+{len(references) - len(shown)}"
        ImageDraw.Draw(strip).text(
            (strip.width - side / 8, side * 7 / 8), more, font=type_face(max(12, side // 5)),
            fill="white", anchor="rs", stroke_width=max(1, side // 40), stroke_fill="black",
        )  # fmt: skip
    indexed = strip.quantize(128, dither=Image.Dither.NONE)
    colours = indexed.getpalette() or []
    upper = Image.frombytes("L", indexed.size, indexed.tobytes()).point(RAISED)
    boxes = [(number * side, 0, (number + 1) * side, side) for number in range(len(shown))]
    return [upper.crop(box) for box in boxes], colours


def _thumbnail(reference: bytes, side: int) -> Image.Image:
    """Return a square crop of a reference, or a plain tile if it is not an image.

    The colour of the plain tile follows from the bytes of the reference.
    """
    try:
        with Image.open(io.BytesIO(reference)) as picture:
            picture.draft("RGB", (side * 2, side * 2))
            return ImageOps.fit(picture.convert("RGB"), (side, side))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        red, green, blue = hashlib.sha256(reference).digest()[:3]
        return Image.new("RGB", (side, side), (red, green, blue))


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
