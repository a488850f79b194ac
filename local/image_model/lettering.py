"""Text of the pictures: characters that the bundled font can draw, and lines that fit."""

import unicodedata
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

CAPTION_SIZES = (54, 48, 42, 37, 32, 27)
LINES_OF_LARGE_TYPE = 3
LEADING = 1.25
LONGEST_CAPTION = 1500
# A glyph's edge has four shades instead of 256: the files get a fifth smaller, at equal looks.
EDGE_SHADES = [round(shade / 85) * 85 for shade in range(256)]


def printable(text: str) -> str:
    """Return the first 1,500 characters as one line that the bundled font can draw."""
    words = text[:LONGEST_CAPTION].encode("utf-8", "replace").decode().split()
    return " ".join("".join(map(_drawable, word)) for word in words)


@lru_cache(maxsize=20_000)
def _drawable(character: str) -> str:
    """Return the character, or its base letters where the font has no glyph for it."""
    if not character.isprintable():
        return ""
    missing = _glyph("\uffff")
    if _glyph(character) != missing:
        return character
    plain = "".join(part for part in unicodedata.normalize("NFKD", character) if part.isascii())
    return plain or character


def _glyph(character: str) -> bytes:
    glyph = Image.new("L", (64, 64))
    ImageDraw.Draw(glyph).text((8, 8), character, font=type_face(32), fill=255)
    return glyph.tobytes()


@lru_cache
def type_face(size: int) -> ImageFont.FreeTypeFont:
    """Return the bundled font at a size in pixels."""
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "the captions need a Pillow with FreeType"
    return font


@lru_cache(maxsize=20_000)
def _advance(size: int, character: str) -> float:
    return type_face(size).getlength(character)


def write(canvas: Image.Image, position: tuple[int, int], text: str, size: int, tone: int) -> None:
    """Write a line on an image of tones. The position is its left end and the type's upper edge.

    The glyphs come from a cache, which makes it several times faster than ImageDraw.text.
    """
    pen = ImageDraw.Draw(canvas)
    x, y = position
    at = float(x)
    for character in text:
        mask, left, top = _mask(size, character)
        pen.bitmap((round(at) + left, y + top), mask, fill=tone)
        at += _advance(size, character)


@lru_cache(maxsize=4000)
def _mask(size: int, character: str) -> tuple[Image.Image, int, int]:
    """Return the picture of a character and its place: right of the pen, below the upper edge."""
    left, top, right, bottom = map(round, type_face(size).getbbox(character))
    mask = Image.new("L", (max(1, right - left), max(1, bottom - top)))
    ImageDraw.Draw(mask).text((-left, -top), character, font=type_face(size), fill=255)
    return mask.point(EDGE_SHADES), left, top


def fit_caption(text: str, width: int, height: int) -> tuple[list[str], int]:
    """Wrap the text in the largest type that fits; at the smallest, end it with an ellipsis.

    Returns the lines and the size of the type.
    """
    *larger, smallest = CAPTION_SIZES
    unwrapped = sum(_advance(smallest, character) for character in text)
    for size in larger:
        room = min(LINES_OF_LARGE_TYPE, int(height // (size * LEADING)))
        if unwrapped * size / smallest <= room * width:
            lines = wrap(text, size, width)
            if len(lines) <= room:
                return lines, size
    lines, room = wrap(text, smallest, width), int(height // (smallest * LEADING))
    if len(lines) > room:
        lines = [*lines[: room - 1], lines[room - 1][:-1].rstrip() + "…"]
    return lines, smallest


def wrap(text: str, size: int, width: int) -> list[str]:
    """Break text between words, and inside a word only where it is wider than the line."""
    lines: list[str] = []
    line, used = "", 0.0
    for word in text.split():
        length = sum(_advance(size, character) for character in word)
        space = _advance(size, " ") if line else 0.0
        if used + space + length <= width:
            line, used = f"{line} {word}" if line else word, used + space + length
            continue
        if line:
            lines.append(line)
        line, used = "", 0.0
        for character in word:
            step = _advance(size, character)
            if line and used + step > width:
                lines.append(line)
                line, used = "", 0.0
            line, used = line + character, used + step
    return [*lines, line] if line or not lines else lines
