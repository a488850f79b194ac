"""The drawings on the posters: six compositions with random positions, sizes and tones.

A tone is a number from 0 (dark) to 255 (light); a palette turns it into a colour later.
"""

import math
from collections.abc import Callable
from random import Random

from PIL import Image
from PIL.ImageDraw import Draw, ImageDraw

type Composition = Callable[[ImageDraw, int, int, Random], None]

# Tones at the top and at the bottom of the background.
GRADIENTS = ((24, 120), (56, 168), (196, 120), (168, 224), (20, 72))
TILE_TONES = (20, 66, 118, 150, 192, 226)


def draw(size: tuple[int, int], rng: Random) -> Image.Image:
    """Return a random composition over a background gradient, as an image of tones."""
    composition = rng.choice(COMPOSITIONS)
    width, height = size
    top, bottom = rng.choice(GRADIENTS)
    column = Image.linear_gradient("L").resize((1, height), box=(0, 0, 1, 256))
    column = column.point([round(top + (bottom - top) * tone / 255) for tone in range(256)])
    canvas = column.resize((width, height), Image.Resampling.NEAREST)
    composition(Draw(canvas), width, height, rng)
    return canvas


def _horizon(pen: ImageDraw, width: int, height: int, rng: Random) -> None:
    """Draw a sun behind ridges that get darker towards the viewer."""
    sun = min(width, height) * rng.uniform(0.17, 0.27)
    x, y = width * rng.uniform(0.25, 0.75), height * rng.uniform(0.28, 0.5)
    for ring, tone in ((1.5, 176), (1.22, 206), (1.0, 242)):
        _disc(pen, x, y, sun * ring, tone)
    ridges = rng.randint(4, 6)
    for ridge in range(1, ridges + 1):
        near = ridge / ridges
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


def _orbits(pen: ImageDraw, width: int, height: int, rng: Random) -> None:
    """Draw a star, its rings, and one or two planets on each ring."""
    x, y = width * rng.uniform(0.3, 0.7), height * rng.uniform(0.35, 0.65)
    reach = math.hypot(width, height) * 0.62
    rings = rng.randint(6, 9)
    for ring in range(rings, 0, -1):
        light = 1 - ring / rings
        _disc(
            pen, x, y, reach * ring / rings, round(22 + 150 * light), edge=round(70 + 140 * light)
        )
    for ring in range(1, rings):
        for _ in range(rng.randint(1, 2)):
            angle, radius = rng.uniform(0, math.tau), reach * ring / rings
            px, py = x + radius * math.cos(angle), y + radius * math.sin(angle)
            size = min(width, height) * rng.uniform(0.016, 0.062)
            _disc(pen, px, py, size * 1.28, 24)
            _disc(pen, px, py, size, rng.choice((190, 216, 246)))
    _disc(pen, x, y, reach / rings * 0.66, 240)


def _tiles(pen: ImageDraw, width: int, height: int, rng: Random) -> None:
    """Draw a grid of tiles, each with one of five shapes."""
    side = min(width, height) / rng.choice((3, 4))
    columns, rows = max(1, round(width / side)), max(1, round(height / side))
    across, down = width / columns, height / rows
    for number in range(rows * columns):
        x, y = number % columns * across, number // columns * down
        back, front, accent = rng.sample(TILE_TONES, 3)
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
            del corners[rng.randrange(4)]
            pen.polygon(corners, fill=front)
        else:
            pen.pieslice((x, y - down / 2, x + across, y + down / 2), 0, 180, fill=front)
            pen.pieslice((x, y + down / 2, x + across, y + down * 1.5), 180, 360, fill=accent)
            tone = rng.choice((TILE_TONES[0], TILE_TONES[-1]))
            _disc(pen, x + across / 2, y + down / 2, across * 0.1, tone)


def _tides(pen: ImageDraw, width: int, height: int, rng: Random) -> None:
    """Draw parallel waves from light to dark or from dark to light, and a moon."""
    bands = rng.randint(9, 13)
    lean = height * rng.uniform(-0.35, 0.35)
    wave, phase, drift = rng.uniform(0.7, 1.5), rng.uniform(0, math.tau), rng.uniform(0.25, 0.6)
    swing = height * rng.uniform(0.07, 0.13)
    light_first = rng.random() < 0.5
    for band in range(-2, bands + 3):
        share = min(1.0, max(0.0, band / bands))
        tone = round(232 - 214 * share) if light_first else round(18 + 214 * share)
        outline = []
        for step in range(61):
            at = step / 60
            lift = math.sin(at * math.tau * wave + phase + band * drift)
            y = height * band / bands + lean * (at - 0.5) + swing * lift
            outline.append((at * width, y))
        pen.polygon([*outline, (width, height), (0, height)], fill=tone)
    moon = min(width, height) * rng.uniform(0.08, 0.13)
    x, y = width * rng.uniform(0.2, 0.8), height * rng.uniform(0.2, 0.45)
    _disc(pen, x, y, moon, 20 if light_first else 244)


def _facets(pen: ImageDraw, width: int, height: int, rng: Random) -> None:
    """Draw a surface of triangles that get darker away from a light."""
    cell = min(width, height) / rng.uniform(3.6, 5.4)
    columns, rows = math.ceil(width / cell) + 1, math.ceil(height / cell) + 1
    light_x, light_y = rng.uniform(0, width), rng.uniform(0, height * 0.6)
    reach = math.hypot(width, height) * 0.8

    def near(place: int) -> float:
        return (place - 0.5 + rng.uniform(-0.32, 0.32)) * cell

    points = [
        [(near(column), near(row)) for column in range(columns + 1)] for row in range(rows + 1)
    ]
    for row in range(rows):
        for column in range(columns):
            a, b = points[row][column : column + 2]
            c, d = points[row + 1][column : column + 2]
            halves = ((a, b, c), (b, d, c)) if rng.random() < 0.5 else ((a, b, d), (a, d, c))
            for half in halves:
                x, y = sum(p[0] for p in half) / 3, sum(p[1] for p in half) / 3
                far = math.hypot(x - light_x, y - light_y) / reach
                tone = 238 - 215 * min(1.0, far) + rng.uniform(-20, 20)
                pen.polygon(half, fill=round(min(246, max(10, tone))))


def _blossom(pen: ImageDraw, width: int, height: int, rng: Random) -> None:
    """Draw a flower with four layers of petals, lighter towards its middle."""
    x, y = width * rng.uniform(0.38, 0.62), height * rng.uniform(0.42, 0.58)
    petals = rng.randint(7, 14)
    reach = min(width, height) * rng.uniform(0.46, 0.62)
    turn = rng.uniform(0, math.tau)
    for layer in range(4):
        length = reach * (1 - layer / 4 * 0.86)
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
            pen.polygon(outline, fill=88 + layer * 44 + (10 if petal % 2 else -10))
    _disc(pen, x, y, reach * 0.1, 26)
    _disc(pen, x, y, reach * 0.055, 236)


COMPOSITIONS: tuple[Composition, ...] = (_horizon, _orbits, _tiles, _tides, _facets, _blossom)


def _disc(
    pen: ImageDraw, x: float, y: float, radius: float, tone: int, *, edge: int | None = None
) -> None:
    box = (x - radius, y - radius, x + radius, y + radius)
    pen.ellipse(box, fill=tone, outline=edge, width=3)


def _quarter(
    pen: ImageDraw,
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
