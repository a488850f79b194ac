"""What a submission asks for, read from its stored form."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, repeat
from typing import cast


@dataclass(frozen=True, slots=True)
class Asked:
    """How an image is to be painted, beside its prompt. `references` are (key, ETag)."""

    references: list[tuple[str, str]]
    aspect_ratio: str | None
    image_size: str | None


def asked_in(settings: Mapping[str, object]) -> Asked:
    """The wishes of a submission's stored form."""
    return Asked(
        _references(settings),
        text_of(settings.get("aspect_ratio")),
        text_of(settings.get("image_size")),
    )


def api_key_in(settings: Mapping[str, object]) -> str | None:
    """The sealed API key of a submission's stored form."""
    return text_of(settings.get("api_key"))


def _references(settings: Mapping[str, object]) -> list[tuple[str, str]]:
    """(key, ETag) of each reference image. A missing ETag becomes '', which no object has."""
    keys, etags = _list(settings.get("reference_images")), _list(settings.get("reference_etags"))
    pairs = zip(keys, chain(etags, repeat("")), strict=False)
    return [(str(key), str(etag)) for key, etag in pairs]


# Values of an execution that was inserted without the api may be any JSON.


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def text_of(value: object) -> str | None:
    """Any JSON as text."""
    return None if value is None else str(value)
