"""Image providers: what each must offer, and a registry by name.

A second provider is one module here, one line in PROVIDERS, its models in masstock.catalogue, and
its errors in the table of docs/errors.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast


@dataclass(frozen=True, slots=True)
class PaintRequest:
    """One image to paint. `references` are images as (content, MIME type)."""

    api_key: str
    model: str
    prompt: str
    references: Sequence[tuple[bytes, str]]
    aspect_ratio: str | None
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Painting:
    """The image of an answer, and the tokens that it costs; None if the answer does not say."""

    content: bytes
    mime_type: str
    input_tokens: int | None
    output_tokens: int | None


class Provider(Protocol):
    """What a provider's module offers."""

    def paint(self, request: PaintRequest) -> Painting:
        """Calls the model once and never repeats the call: the state machine owns retries. Raises
        an Outcome that says why there is no image."""
        ...


# The provider of every model that the catalogue does not list. Generate imports it in its cold
# start; the others are imported at their first use.
DEFAULT = "gemini"
PROVIDERS: Mapping[str, str] = {
    DEFAULT: "masstock_generate.providers.gemini",
}


def provider(name: str) -> Provider:
    """The provider of that name; raises KeyError."""
    return cast(Provider, import_module(PROVIDERS[name]))
