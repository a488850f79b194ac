"""One picture of a whole execution: a tile with a caption for every prompt."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from local.image_model.lettering import printable, type_face, wrap

USUAL_WIDTH, LARGEST_WIDTH = 1600, 3200
WIDEST_TILE = 380
NARROWEST_CAPTIONED_TILE = 120
FEWEST_COLUMNS = 4
HEADER = 76

BACKDROP, WORDS, QUIET_WORDS = "#f4f1ec", "#1f2428", "#7b7f86"
FAILED_TILE, FAILED_EDGE, FAILED_WORDS = "#f7e3df", "#d9a79d", "#9c2f1f"


@dataclass(frozen=True, slots=True)
class Tile:
    """One prompt with its image file, or with the reason why it has no image."""

    index: int
    prompt: str
    image: Path | None = None
    failure: str = ""


def draw_contact_sheet(title: str, tiles: Sequence[Tile]) -> Image.Image:
    """Return the tiles as a grid in their order. A file that is not an image counts as failed."""
    columns = max(min(FEWEST_COLUMNS, len(tiles)), math.ceil(math.sqrt(len(tiles))), 1)
    legible = min(NARROWEST_CAPTIONED_TILE, LARGEST_WIDTH // columns)
    side = min(WIDEST_TILE, max(legible, USUAL_WIDTH // columns))
    gap = max(2, side // 18)
    caption = 44 if side >= NARROWEST_CAPTIONED_TILE else 0
    rows = math.ceil(len(tiles) / columns)
    size = (
        gap + columns * (side + gap),
        HEADER + rows * (side + caption + gap) + gap,
    )
    sheet = Image.new("RGB", size, BACKDROP)
    pen = ImageDraw.Draw(sheet)
    pen.text((gap, HEADER // 2), "MasStock", font=type_face(28), fill=WORDS, anchor="lm")
    start = gap + round(type_face(28).getlength("MasStock")) + 16
    if (room := size[0] - start - gap) > 0 and (title := _first_line(title, 16, room)):
        pen.text((start, HEADER // 2 + 3), title, font=type_face(16), fill=QUIET_WORDS, anchor="lm")
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        x, y = gap + column * (side + gap), HEADER + row * (side + caption + gap)
        sheet.paste(_picture(tile, side), (x, y))
        if caption:
            colour = WORDS if tile.image else FAILED_WORDS
            pen.text((x, y + side + 6), f"{tile.index:03d}", font=type_face(12), fill=QUIET_WORDS)
            line = _first_line(tile.prompt, 13, side)
            pen.text((x, y + side + 21), line, font=type_face(13), fill=colour)
    return sheet


def _picture(tile: Tile, side: int) -> Image.Image:
    """Return the tile's image as a square, or a card with the reason why it has no image."""
    if tile.image is None:
        return _card(tile.failure or "failed", side)
    try:
        return _square(tile.image, side)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return _card("not an image", side)


def _card(reason: str, side: int) -> Image.Image:
    card = Image.new("RGB", (side, side), FAILED_EDGE)
    pen = ImageDraw.Draw(card)
    pen.rectangle((1, 1, side - 2, side - 2), fill=FAILED_TILE)
    if side >= NARROWEST_CAPTIONED_TILE:
        size = min(17, side // 9)
        face = type_face(size)
        lines = wrap(printable(reason.replace("_", " ")), size, side - 2 * size)[:4]
        top = side / 2 - len(lines) * size * 0.65
        for number, line in enumerate(lines):
            at = (side / 2, top + number * size * 1.3)
            pen.text(at, line, font=face, fill=FAILED_WORDS, anchor="ma")
    return card


def _square(path: Path, side: int) -> Image.Image:
    """Return the image scaled to fit into a square of `side` pixels, centred on the backdrop."""
    with Image.open(path) as image:
        image.draft("RGB", (side, side))
        return ImageOps.pad(image.convert("RGB"), (side, side), color=BACKDROP)


def _first_line(text: str, size: int, width: int) -> str:
    lines = wrap(printable(text), size, width)
    if len(lines) < 2:
        return lines[0]
    return wrap(lines[0], size, width - 14)[0] + "…"
