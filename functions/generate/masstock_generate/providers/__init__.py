"""Image providers: their interface, and a registry by name.

To add a provider, add a module here, a line to PROVIDERS and its models to masstock.catalogue. A
new outcome also needs a class in masstock.errors and a row in docs/errors.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from masstock.catalogue.image_models import Usage


@dataclass(frozen=True, slots=True)
class PaintRequest:
    """One image to paint. `references` are images as (content, MIME type). `timeout_seconds` is
    for the whole call, from connecting to the last byte."""

    api_key: str
    model: str
    prompt: str
    references: Sequence[tuple[bytes, str]]
    aspect_ratio: str | None
    image_size: str | None
    timeout_seconds: float
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Painting:
    """An image as the provider sent it. `usage` is None if the provider reports no tokens, or
    numbers that make no sense. `model` is the one that answered, None if the answer does not say.
    `images_in_answer` counts the images that are not drafts."""

    content: bytes
    usage: Usage | None
    model: str | None
    images_in_answer: int


class Provider(Protocol):
    """Functions of a provider's module."""

    def paint(self, request: PaintRequest) -> Painting:
        """Calls the model once, without retries. The state machine repeats failed calls. If there
        is no image, raises the Outcome that names the reason."""
        ...


# The module of each provider. The names of providers are those of masstock.catalogue.
PROVIDERS: Mapping[str, str] = {
    "gemini": "masstock_generate.providers.gemini",
}


def provider(name: str) -> Provider:
    """The provider of that name. Imports its module at the first call. Raises KeyError."""
    return cast(Provider, import_module(PROVIDERS[name]))
