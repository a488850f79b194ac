"""The sizes of images. A module of its own: most cold starts need the default, not the models."""

DEFAULT_SIZE = "1K"
SIZES = ("512", "1K", "2K", "4K")
