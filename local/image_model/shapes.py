"""Pixels of the pictures, by aspect ratio and size, as Gemini's image models paint them.

Source of the table: https://ai.google.dev/gemini-api/docs/image-generation#aspect-ratios
"""

from masstock.catalogue.image_sizes import DEFAULT_SIZE

# Width and height at 1K. 2K and 4K have twice and four times these sides, 512 has half of them.
PIXELS = {
    "1:1": (1024, 1024),
    "1:4": (512, 2048),
    "1:8": (384, 3072),
    "2:3": (848, 1264),
    "3:2": (1264, 848),
    "3:4": (896, 1200),
    "4:1": (2048, 512),
    "4:3": (1200, 896),
    "4:5": (928, 1152),
    "5:4": (1152, 928),
    "8:1": (3072, 384),
    "9:16": (768, 1376),
    "16:9": (1376, 768),
    "21:9": (1584, 672),
}
SCALES = {"512": 0.5, DEFAULT_SIZE: 1.0, "2K": 2.0, "4K": 4.0}


def pixels(aspect_ratio: str | None = None, size: str = DEFAULT_SIZE) -> tuple[int, int]:
    """Return width and height in pixels; square for a ratio of None.

    Raises ValueError for a ratio or a size that no model paints.
    """
    try:
        width, height = PIXELS["1:1" if aspect_ratio is None else aspect_ratio]
    except KeyError:
        raise ValueError(f"aspect ratio {aspect_ratio!r} is none of {', '.join(PIXELS)}") from None
    try:
        scale = SCALES[size]
    except KeyError:
        raise ValueError(f"image size {size!r} is none of {', '.join(SCALES)}") from None
    return round(width * scale), round(height * scale)
