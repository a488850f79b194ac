"""Requests of Gemini's generateContent: the members that determine the answer."""

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from local.image_model.errors import invalid_argument
from masstock.catalogue.image_models import (
    ASPECT_RATIOS,
    LONG_RATIOS,
    MODELS,
    ImageModel,
    prompt_tokens,
)
from masstock.catalogue.image_sizes import DEFAULT_SIZE

# A model that the catalogue does not list paints every size and ratio, as PNG.
UNLISTED = ImageModel(
    input_price=Decimal(0),
    text_price=Decimal(0),
    image_price=Decimal(0),
    image_tokens={"512": 747, "1K": 1290, "2K": 1680, "4K": 2520},
    aspect_ratios=ASPECT_RATIOS + LONG_RATIOS,
    max_reference_images=14,
    mime_type="image/png",
    reference_tokens=258,
)
# The context of gemini-2.5-flash-image. The other models accept more.
MAX_INPUT_TOKENS = 32_768
IMAGE_CONFIG = "* GenerateContentRequest.generation_config.image_config"
SEEDS = range(-(2**31), 2**31)


@dataclass(frozen=True, slots=True)
class Ask:
    """The members of a generateContent call that determine the answer."""

    model: str
    prompt: str
    references: tuple[bytes, ...] = ()
    aspect_ratio: str | None = None
    size: str = DEFAULT_SIZE
    seed: int | None = None
    # True if the call carries the token of an answer with the finish reason CONTINUATION.
    continues: bool = False

    @property
    def facts(self) -> ImageModel:
        return MODELS.get(self.model, UNLISTED)

    @property
    def input_tokens(self) -> tuple[int, int]:
        """Tokens of the prompt and of the references."""
        references = self.facts.reference_tokens * len(self.references)
        return prompt_tokens(self.prompt), references


def read_ask(model: str, body: bytes) -> Ask:
    """Parse a generateContent body; GoogleError 400 for a body that Gemini refuses."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid_argument(f"Invalid JSON payload received. {error}") from None
    return ask_of(model, request)


def ask_of(model: str, request: object, read_file: Callable[[str], bytes] | None = None) -> Ask:
    """Read a parsed generateContent request. `read_file` returns the content of a file's URI."""
    turn = _last_user_turn(_member(request, "contents", list, []))
    texts: list[str] = []
    references: list[bytes] = []
    for part in _member(turn, "parts", list, []):
        texts.append(_member(part, "text", str, ""))
        blob = _member(part, "inlineData", dict, None)
        if blob is not None:
            references.append(_read_base64(_member(blob, "data", str, "")))
        file = _member(part, "fileData", dict, None)
        if file is not None and read_file:
            references.append(read_file(_member(file, "fileUri", str, "")))
    prompt = "".join(texts)
    if not prompt.strip():
        raise invalid_argument("* GenerateContentRequest.contents: contents is not specified")
    config = _member(request, "generationConfig", dict, {})
    image = _member(config, "imageConfig", dict, {})
    return Ask(
        model,
        prompt,
        tuple(references),
        _member(image, "aspectRatio", str, None) or None,
        _member(image, "imageSize", str, None) or DEFAULT_SIZE,
        _read_seed(_member(config, "seed", int, None)),
        bool(_member(request, "continuationToken", str, "")),
    )


def check(ask: Ask) -> None:
    """Raise GoogleError 400 for a shape or an amount that the model does not accept."""
    facts = ask.facts
    if ask.aspect_ratio is not None and ask.aspect_ratio not in facts.aspect_ratios:
        ratios = sorted(facts.aspect_ratios, key=lambda ratio: [*map(int, ratio.split(":"))])
        raise invalid_argument(_must_be_one_of("aspect_ratio", ratios))
    if ask.size not in facts.image_tokens:
        raise invalid_argument(_must_be_one_of("image_size", list(facts.image_tokens)))
    if len(ask.references) > facts.max_reference_images:
        raise invalid_argument(
            "* GenerateContentRequest.contents: the number of images must be at most"
            f" {facts.max_reference_images}.\n"
        )
    if (tokens := sum(ask.input_tokens)) > MAX_INPUT_TOKENS:
        raise invalid_argument(
            f"The input token count ({tokens}) exceeds the maximum number of tokens allowed"
            f" ({MAX_INPUT_TOKENS})."
        )


def _must_be_one_of(name: str, values: Sequence[str]) -> str:
    """Google's words, seen in https://github.com/muyouzhi6/astrbot_plugin_gitee_aiimg/issues/37"""
    *first, last = (f"'{value}'" for value in values)
    listed = f"one of {', '.join(first)}, or {last}" if first else last
    return f"{IMAGE_CONFIG}.{name}: {name} must be {listed}.\n"


def _read_seed(seed: int | None) -> int | None:
    if seed is None or (seed in SEEDS and not isinstance(seed, bool)):
        return seed
    raise invalid_argument(f"Invalid value at 'generation_config.seed' (TYPE_INT32), {seed}")


def _read_base64(text: str) -> bytes:
    """Decode base64 of both alphabets, padded or not, as protobuf does. The SDK sends URL-safe."""
    text = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise invalid_argument("Base64 decoding failed for inlineData.data") from None


def _last_user_turn(contents: Sequence[object]) -> object:
    turns = [turn for turn in contents if _member(turn, "role", str, "user") == "user"]
    if not turns:
        raise invalid_argument("* GenerateContentRequest.contents: contents is not specified")
    return turns[-1]


def _member[T](parent: object, name: str, kind: type[T], absent: Any) -> Any:
    """Return a member of a JSON object by its camelCase or snake_case name, as protobuf does."""
    if not isinstance(parent, dict):
        raise invalid_argument(f"Invalid value: the parent of {name!r} is not an object")
    snake = re.sub(r"([A-Z])", lambda letter: "_" + letter[1].lower(), name)
    value = parent.get(name, parent.get(snake))
    if value is None:
        return absent
    if not isinstance(value, kind):
        raise invalid_argument(f"Invalid value at {name!r}")
    return value
