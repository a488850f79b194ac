"""Posters that stand in for an image model's work: a real, distinct PNG for every prompt.

An image is composed as tones (one byte a pixel) and coloured by a palette of 256 entries, which
makes it several times cheaper to compose and to compress than RGB. Only a poster that shows
reference images is true colour.
"""

import hashlib
import io
import math
import random
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont, ImageOps, PngImagePlugin

SHORTEST_SIDE = 512
AREA = 640 * 640
MOST_STRETCHED = 8

SUPERSAMPLING = 2
MARGIN = 26
INK, PAPER, FOOTNOTE = 6, 252, 96
CAPTION_SIZES = (34, 30, 26, 23, 20, 17)
LINES_OF_LARGE_TYPE = 3
LEADING = 1.25
LONGEST_CAPTION = 1500
THUMBNAIL = 132
MOST_THUMBNAILS = 4

# Five stops each, dark to light, so that a tone is as bright as its number in every palette.
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
    """Return a PNG of at least 512 px a side that shows the prompt and the reference images.

    The same arguments give the same bytes; a different prompt or reference gives different ones.
    Raises ValueError for an aspect ratio that is not "W:H" or is stretched beyond 8:1.
    """
    width, height = size_for(aspect_ratio)
    seed = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()
    rng = random.Random(seed)
    palette = rng.choice(PALETTES)
    compose = rng.choice(COMPOSITIONS)

    lines, font = _fit_caption(printable(prompt), width - 2 * MARGIN, height * 2 // 5)
    line_height = round(font.size * LEADING)
    caption_height = line_height * len(lines) + 40
    art = (width - 2 * MARGIN, height - 2 * MARGIN - caption_height)

    poster = Image.new("L", (width, height), PAPER)
    poster.paste(_compose(compose, art, rng), (MARGIN, MARGIN))
    pen = ImageDraw.Draw(poster)
    top = MARGIN + art[1] + 16
    for number, line in enumerate(lines):
        pen.text((MARGIN, top + number * line_height), line, font=font, fill=INK)
    footnote = f"stand-in model  ·  {seed.hex()[:8]}"
    pen.text((MARGIN, height - MARGIN), footnote, font=type_face(13), fill=FOOTNOTE, anchor="ls")

    poster.putpalette(_ramp(palette))
    if references:
        poster = poster.convert("RGB")
        _pin_references(poster, references, MARGIN + art[1])
    return _encode(poster, prompt, references)


def size_for(aspect_ratio: str | None) -> tuple[int, int]:
    """Return width and height for "W:H" (square for None); ValueError for a ratio we refuse."""
    if aspect_ratio is None:
        across, down = 1, 1
    else:
        match = re.fullmatch(r"([1-9]\d{0,2}):([1-9]\d{0,2})", aspect_ratio)
        if not match:
            raise ValueError(f"aspect ratio {aspect_ratio!r} is not of the form W:H")
        across, down = int(match[1]), int(match[2])
    ratio = across / down
    if not 1 / MOST_STRETCHED <= ratio <= MOST_STRETCHED:
        raise ValueError(f"aspect ratio {aspect_ratio!r} is stretched beyond {MOST_STRETCHED}:1")
    height = math.sqrt(AREA / ratio)
    scale = max(1.0, SHORTEST_SIDE / min(height, height * ratio))
    return round(height * ratio * scale), round(height * scale)


# Compositions: each draws on a canvas of tones, twice as large as it will be shown.

Composition = Callable[[Image.Image, ImageDraw.ImageDraw, random.Random], None]


def _horizon(canvas: Image.Image, pen: ImageDraw.ImageDraw, rng: random.Random) -> None:
    width, height = canvas.size
    sun = min(width, height) * rng.uniform(0.17, 0.27)
    x, y = width * rng.uniform(0.25, 0.75), height * rng.uniform(0.28, 0.5)
    for ring, tone in ((1.5, 176), (1.22, 206), (1.0, 242)):
        _disc(pen, x, y, sun * ring, tone)
    ridges = rng.randint(4, 6)
    for ridge in range(ridges):
        near = (ridge + 1) / ridges
        base = height * (0.42 + 0.5 * near * near)
        swell = height * rng.uniform(0.04, 0.1)
        phases = [rng.uniform(0, math.tau) for _ in range(3)]
        waves = [rng.uniform(0.8, 1.8), rng.uniform(2.2, 4.0), rng.uniform(5, 9)]
        outline = []
        for step in range(81):
            at = step / 80 * math.tau
            lift = sum(
                math.sin(at * wave + phase) / (order + 1) ** 1.5
                for order, (wave, phase) in enumerate(zip(waves, phases, strict=True))
            )
            outline.append((step / 80 * width, base + lift * swell))
        pen.polygon([*outline, (width, height), (0, height)], fill=round(140 - 128 * near))


def _orbits(canvas: Image.Image, pen: ImageDraw.ImageDraw, rng: random.Random) -> None:
    width, height = canvas.size
    x, y = width * rng.uniform(0.3, 0.7), height * rng.uniform(0.35, 0.65)
    reach = math.hypot(width, height) * 0.62
    rings = rng.randint(6, 9)
    for ring in range(rings, 0, -1):
        radius = reach * ring / rings
        _disc(pen, x, y, radius, round(22 + 150 * (1 - ring / rings)))
        pen.ellipse(
            (x - radius, y - radius, x + radius, y + radius),
            outline=round(70 + 140 * (1 - ring / rings)),
            width=4,
        )
    for ring in range(1, rings):
        for _ in range(rng.randint(1, 2)):
            angle, radius = rng.uniform(0, math.tau), reach * ring / rings
            px, py = x + radius * math.cos(angle), y + radius * math.sin(angle)
            size = min(width, height) * rng.uniform(0.016, 0.062)
            _disc(pen, px, py, size * 1.28, 24)
            _disc(pen, px, py, size, rng.choice((190, 216, 246)))
    _disc(pen, x, y, reach / rings * 0.66, 240)


def _tiles(canvas: Image.Image, pen: ImageDraw.ImageDraw, rng: random.Random) -> None:
    width, height = canvas.size
    side = min(width, height) / rng.choice((3, 4))
    columns, rows = max(1, round(width / side)), max(1, round(height / side))
    across, down = width / columns, height / rows
    tones = (20, 66, 118, 150, 192, 226)
    for row in range(rows):
        for column in range(columns):
            x, y = column * across, row * down
            back, front, accent = rng.sample(tones, 3)
            pen.rectangle((x, y, x + across, y + down), fill=back)
            shape = rng.randrange(5)
            if shape == 0:
                _quarter(pen, (x, y, across, down), rng.randrange(4), front)
            elif shape == 1:
                corner = rng.randrange(4)
                for share, tone in ((1.0, front), (0.66, accent), (0.33, back)):
                    _quarter(pen, (x, y, across, down), corner, tone, share)
            elif shape == 2:
                box = (x + across * 0.12, y + down * 0.12, x + across * 0.88, y + down * 0.88)
                pen.ellipse(box, fill=front)
                start = rng.choice((0, 90, 180, 270))
                pen.pieslice(box, start, start + 180, fill=accent)
            elif shape == 3:
                corners = [(x, y), (x + across, y), (x + across, y + down), (x, y + down)]
                corners.pop(rng.randrange(4))
                pen.polygon(corners, fill=front)
            else:
                pen.pieslice((x, y - down / 2, x + across, y + down / 2), 0, 180, fill=front)
                pen.pieslice((x, y + down / 2, x + across, y + down * 1.5), 180, 360, fill=accent)
                _disc(
                    pen,
                    x + across / 2,
                    y + down / 2,
                    across * 0.1,
                    rng.choice((tones[0], tones[-1])),
                )


def _tides(canvas: Image.Image, pen: ImageDraw.ImageDraw, rng: random.Random) -> None:
    width, height = canvas.size
    bands = rng.randint(9, 13)
    lean = height * rng.uniform(-0.35, 0.35)
    wave, phase, drift = rng.uniform(0.7, 1.5), rng.uniform(0, math.tau), rng.uniform(0.25, 0.6)
    swing = height * rng.uniform(0.07, 0.13)
    light_first = rng.random() < 0.5
    order = range(-2, bands + 3)
    for band in order:
        share = min(1.0, max(0.0, band / bands))
        tone = round(232 - 214 * share) if light_first else round(18 + 214 * share)
        top = [
            (
                step / 60 * width,
                height * band / bands
                + lean * (step / 60 - 0.5)
                + swing * math.sin(step / 60 * math.tau * wave + phase + band * drift),
            )
            for step in range(61)
        ]
        pen.polygon([*top, (width, height), (0, height)], fill=tone)
    moon = min(width, height) * rng.uniform(0.08, 0.13)
    _disc(
        pen,
        width * rng.uniform(0.2, 0.8),
        height * rng.uniform(0.2, 0.45),
        moon,
        20 if light_first else 244,
    )


def _facets(canvas: Image.Image, pen: ImageDraw.ImageDraw, rng: random.Random) -> None:
    width, height = canvas.size
    cell = min(width, height) / rng.uniform(3.6, 5.4)
    columns, rows = math.ceil(width / cell) + 1, math.ceil(height / cell) + 1
    light = (rng.uniform(0, width), rng.uniform(0, height * 0.6))
    reach = math.hypot(width, height) * 0.8
    points = [
        [
            (
                (column - 0.5 + rng.uniform(-0.32, 0.32)) * cell,
                (row - 0.5 + rng.uniform(-0.32, 0.32)) * cell,
            )
            for column in range(columns + 1)
        ]
        for row in range(rows + 1)
    ]
    for row in range(rows):
        for column in range(columns):
            a, b = points[row][column], points[row][column + 1]
            c, d = points[row + 1][column], points[row + 1][column + 1]
            halves = ((a, b, c), (b, d, c)) if rng.random() < 0.5 else ((a, b, d), (a, d, c))
            for half in halves:
                x, y = sum(p[0] for p in half) / 3, sum(p[1] for p in half) / 3
                far = math.hypot(x - light[0], y - light[1]) / reach
                tone = 238 - 215 * min(1.0, far) + rng.uniform(-20, 20)
                pen.polygon(half, fill=round(min(246, max(10, tone))))


def _blossom(canvas: Image.Image, pen: ImageDraw.ImageDraw, rng: random.Random) -> None:
    width, height = canvas.size
    x, y = width * rng.uniform(0.38, 0.62), height * rng.uniform(0.42, 0.58)
    petals = rng.randint(7, 14)
    reach = min(width, height) * rng.uniform(0.46, 0.62)
    turn = rng.uniform(0, math.tau)
    layers = 4
    for layer in range(layers):
        length = reach * (1 - layer / layers * 0.86)
        breadth = length * math.tan(math.pi / petals) * 0.86
        for petal in range(petals):
            angle = turn + (petal + layer / 2) / petals * math.tau
            cos, sin = math.cos(angle), math.sin(angle)
            outline = []
            for step in range(25):
                at = step / 24 * math.tau
                along = length * (1 - math.cos(at)) / 2
                aside = breadth * math.sin(at) * math.sin(at / 2)
                outline.append((x + along * cos - aside * sin, y + along * sin + aside * cos))
            shade = 10 if petal % 2 else -10
            pen.polygon(outline, fill=88 + layer * 44 + shade)
    _disc(pen, x, y, reach * 0.1, 26)
    _disc(pen, x, y, reach * 0.055, 236)


COMPOSITIONS: tuple[Composition, ...] = (_horizon, _orbits, _tiles, _tides, _facets, _blossom)


def _compose(compose: Composition, size: tuple[int, int], rng: random.Random) -> Image.Image:
    """Return the composition over a background gradient, drawn large and scaled for smoothness."""
    large = (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING)
    top, bottom = rng.choice(((24, 120), (56, 168), (196, 120), (168, 224), (20, 72)))
    column = Image.linear_gradient("L").resize((1, large[1]), box=(0, 0, 1, 256))
    column = column.point([round(top + (bottom - top) * tone / 255) for tone in range(256)])
    canvas = column.resize(large, Image.Resampling.NEAREST)
    compose(canvas, ImageDraw.Draw(canvas), rng)
    return canvas.reduce(SUPERSAMPLING)


def _disc(pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, tone: int) -> None:
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=tone)


def _quarter(
    pen: ImageDraw.ImageDraw,
    cell: tuple[float, float, float, float],
    corner: int,
    tone: int,
    share: float = 1.0,
) -> None:
    """Fill a quarter disc that grows from one corner of a cell (x, y, width, height)."""
    x, y, across, down = cell
    cx, cy = x + across * (corner in (1, 2)), y + down * (corner in (2, 3))
    rx, ry = across * share, down * share
    pen.pieslice((cx - rx, cy - ry, cx + rx, cy + ry), corner * 90, corner * 90 + 90, fill=tone)


# Words


def printable(prompt: str) -> str:
    """Return the beginning of the prompt as one line that the bundled font can draw."""
    words = prompt[:LONGEST_CAPTION].encode("utf-8", "replace").decode().split()
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


def _fit_caption(text: str, width: int, height: int) -> tuple[list[str], ImageFont.FreeTypeFont]:
    """Wrap the text in the largest type that fits; at the smallest, end it with an ellipsis."""
    *larger, smallest = CAPTION_SIZES
    unwrapped = sum(_advance(smallest, character) for character in text)
    for size in larger:
        room = min(LINES_OF_LARGE_TYPE, int(height // (size * LEADING)))
        if unwrapped * size / smallest <= room * width:
            lines = wrap(text, size, width)
            if len(lines) <= room:
                return lines, type_face(size)
    lines, room = wrap(text, smallest, width), int(height // (smallest * LEADING))
    if len(lines) > room:
        lines = [*lines[: room - 1], lines[room - 1][:-1].rstrip() + "…"]
    return lines, type_face(smallest)


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


# References


def _pin_references(poster: Image.Image, references: Sequence[bytes], bottom: int) -> None:
    """Lay framed thumbnails along the lower edge of the art, the last one counting the rest."""
    shown = [_thumbnail(reference) for reference in references[:MOST_THUMBNAILS]]
    room = (poster.width - 2 * MARGIN - 16) // MOST_THUMBNAILS - 12
    side = min(THUMBNAIL, room, bottom - MARGIN - 24)
    x = MARGIN + 16
    for thumbnail in shown:
        print_ = ImageOps.expand(thumbnail.resize((side - 10, side - 10)), 5, "white")
        poster.paste(print_, (x, bottom - side - 16))
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
    """Return a square crop of a reference, or a plain tile of its own colour if undecodable."""
    try:
        with Image.open(io.BytesIO(reference)) as picture:
            picture.draft("RGB", (THUMBNAIL * 2, THUMBNAIL * 2))
            return ImageOps.fit(picture.convert("RGB"), (THUMBNAIL, THUMBNAIL))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        red, green, blue = hashlib.sha256(reference).digest()[:3]
        return Image.new("RGB", (THUMBNAIL, THUMBNAIL), (red, green, blue))


# Colour and bytes


@lru_cache
def _ramp(palette: tuple[str, ...]) -> list[int]:
    """Return 256 RGB entries that run through the palette's stops from dark to light."""
    stops = [bytes.fromhex(stop[1:]) for stop in palette]
    entries: list[int] = []
    for tone in range(256):
        at = tone / 255 * (len(stops) - 1)
        lower = min(int(at), len(stops) - 2)
        share = at - lower
        entries += [
            round(a + (b - a) * share) for a, b in zip(stops[lower], stops[lower + 1], strict=True)
        ]
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
