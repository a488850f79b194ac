"""Our function generate, except that it takes the facts of an image for granted."""

from generate import lambda_handler  # first: the order of imports matters there

# isort: split

from masstock_generate import painting
from masstock_generate.images import ImageFacts

__all__ = ["lambda_handler"]

painting.inspect_image = lambda content, max_bytes: ImageFacts("image/jpeg", 1024, 1024, False)
