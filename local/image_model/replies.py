"""Requests, replies and errors of Gemini's generateContent, in their JSON shapes."""

import base64
import io
import json
import math
import random
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from PIL import Image

from local.image_model.painter import paint

TYPE = "type.googleapis.com/google.rpc."
SERVICE = "generativelanguage.googleapis.com"
IMAGE_TOKENS = 1290
REFERENCE_TOKENS = 258
# The default of template.yaml.
MAX_IMAGE_MEGABYTES = 10

type Json = dict[str, Any]


class GoogleError(Exception):
    """An error answer, in the shape that all Google APIs share."""

    def __init__(self, code: int, status: str, message: str, details: Sequence[Json] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.body: Json = {"error": {"code": code, "message": message, "status": status}}
        if details:
            self.body["error"]["details"] = list(details)


# Requests


@dataclass(frozen=True, slots=True)
class Ask:
    """The members of a generateContent call that determine the answer."""

    model: str
    prompt: str
    references: tuple[bytes, ...] = ()
    aspect_ratio: str | None = None
    # The behaviour `oversize` answers with a larger image.
    max_image_megabytes: int = MAX_IMAGE_MEGABYTES


def read_ask(model: str, body: bytes, max_image_megabytes: int = MAX_IMAGE_MEGABYTES) -> Ask:
    """Parse a generateContent body; GoogleError 400 for a body that Gemini refuses."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid_argument(f"Invalid JSON payload received. {error}") from None
    turn = _last_user_turn(_member(request, "contents", list, []))
    texts: list[str] = []
    references: list[bytes] = []
    for part in _member(turn, "parts", list, []):
        texts.append(_member(part, "text", str, ""))
        blob = _member(part, "inlineData", dict, None)
        if blob is not None:
            references.append(_read_base64(_member(blob, "data", str, "")))
    prompt = "".join(texts)
    if not prompt.strip():
        raise invalid_argument("* GenerateContentRequest.contents: contents is not specified")
    config = _member(request, "generationConfig", dict, {})
    ratio = _member(_member(config, "imageConfig", dict, {}), "aspectRatio", str, None)
    return Ask(model, prompt, tuple(references), ratio or None, max_image_megabytes)


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


# Replies


def invalid_argument(message: str, details: Sequence[Json] = ()) -> GoogleError:
    return GoogleError(400, "INVALID_ARGUMENT", message, details)


def _ok(ask: Ask) -> Json:
    try:
        image = paint(ask.prompt, ask.references, ask.aspect_ratio)
    except ValueError as error:
        raise invalid_argument(f"Invalid value at 'image_config.aspect_ratio': {error}") from None
    return _image_reply(ask, base64.b64encode(image).decode())


def _garbage(ask: Ask) -> Json:
    return _image_reply(ask, base64.b64encode(b"These bytes are not an image.").decode())


def _oversize(ask: Ask) -> Json:
    return _image_reply(ask, oversize_image(ask.max_image_megabytes))


@cache
def oversize_image(megabytes: int) -> str:
    """Return a valid PNG over this size in base64: noise, stored without compression."""
    side = math.isqrt(megabytes * 2**20 // 3) + 1
    noise = random.Random(0).randbytes(side * side * 3)
    stream = io.BytesIO()
    Image.frombytes("RGB", (side, side), noise).save(stream, "PNG", compress_level=0)
    return base64.b64encode(stream.getvalue()).decode()


def _image_reply(ask: Ask, image: str) -> Json:
    part = {"inlineData": {"mimeType": "image/png", "data": image}}
    return _reply(ask, [_candidate("STOP", [part])], IMAGE_TOKENS)


def _no_image(ask: Ask) -> Json:
    text = "I can describe that scene for you, but I did not create an image."
    return _reply(ask, [_candidate("STOP", [{"text": text}])], 16)


def _content_blocked(ask: Ask) -> Json:
    candidate = _candidate("IMAGE_SAFETY", [])
    candidate["finishMessage"] = (
        "Unable to show the generated image. The model could not generate the image based on the"
        " prompt provided. Try rephrasing the prompt."
    )
    return _reply(ask, [candidate], 0)


def _prompt_blocked(ask: Ask) -> Json:
    reply = _reply(ask, [], 0)
    del reply["candidates"]
    return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, **reply}


def _candidate(finish_reason: str, parts: list[Json]) -> Json:
    content = {"content": {"parts": parts, "role": "model"}} if parts else {}
    return {**content, "finishReason": finish_reason, "index": 0}


def _reply(ask: Ask, candidates: list[Json], candidates_tokens: int) -> Json:
    text_tokens = max(1, math.ceil(len(ask.prompt) / 4))
    image_tokens = REFERENCE_TOKENS * len(ask.references)
    prompt_details = [{"modality": "TEXT", "tokenCount": text_tokens}]
    if image_tokens:
        prompt_details.append({"modality": "IMAGE", "tokenCount": image_tokens})
    usage: Json = {"promptTokenCount": text_tokens + image_tokens}
    if candidates_tokens:
        modality = "IMAGE" if candidates_tokens == IMAGE_TOKENS else "TEXT"
        usage["candidatesTokenCount"] = candidates_tokens
        usage["candidatesTokensDetails"] = [{"modality": modality, "tokenCount": candidates_tokens}]
    usage["totalTokenCount"] = text_tokens + image_tokens + candidates_tokens
    usage["promptTokensDetails"] = prompt_details
    return {
        "candidates": candidates,
        "usageMetadata": usage,
        "modelVersion": ask.model,
        "responseId": uuid.uuid4().hex[:22],
    }


# Errors


def _throttle(ask: Ask) -> GoogleError:
    return _exhausted(ask, "GenerateRequestsPerMinutePerProjectPerModel", "10")


def _quota(ask: Ask) -> GoogleError:
    return _exhausted(ask, "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "100")


def _exhausted(ask: Ask, quota_id: str, quota_value: str) -> GoogleError:
    violation = {
        "quotaMetric": f"{SERVICE}/generate_content_free_tier_requests",
        "quotaId": quota_id,
        "quotaDimensions": {"location": "global", "model": ask.model},
        "quotaValue": quota_value,
    }
    return GoogleError(
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details."
        f" * Quota exceeded for metric: {violation['quotaMetric']}, limit: {quota_value},"
        f" model: {ask.model}",
        [{"@type": TYPE + "QuotaFailure", "violations": [violation]}],
    )


def _unavailable(_ask: Ask) -> GoogleError:
    message = "The model is overloaded. Please try again later."
    return GoogleError(503, "UNAVAILABLE", message)


def _invalid_key(_ask: Ask) -> GoogleError:
    message = "API key not valid. Please pass a valid API key."
    return invalid_argument(
        message,
        [
            {
                "@type": TYPE + "ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": {"service": SERVICE},
            },
            {"@type": TYPE + "LocalizedMessage", "locale": "en-US", "message": message},
        ],
    )


def unregistered() -> GoogleError:
    return GoogleError(
        403,
        "PERMISSION_DENIED",
        "Method doesn't allow unregistered callers (callers without established identity). Please"
        " use API Key or other form of API consumer identity to call this API.",
    )


def _bad_request(_ask: Ask) -> GoogleError:
    violation = {"field": "contents", "description": "Request contains an invalid argument."}
    details = [{"@type": TYPE + "BadRequest", "fieldViolations": [violation]}]
    return invalid_argument("Request contains an invalid argument.", details)


def _not_found(ask: Ask) -> GoogleError:
    return GoogleError(
        404,
        "NOT_FOUND",
        f"models/{ask.model} is not found for API version v1beta, or is not supported for"
        " generateContent. Call ListModels to see the list of available models and their"
        " supported methods.",
    )


REPLIES: Mapping[str, Callable[[Ask], Json]] = {
    "ok": _ok,
    "prompt_blocked": _prompt_blocked,
    "content_blocked": _content_blocked,
    "no_image": _no_image,
    "garbage": _garbage,
    "oversize": _oversize,
}
ERRORS: Mapping[str, Callable[[Ask], GoogleError]] = {
    "throttle": _throttle,
    "quota": _quota,
    "unavailable": _unavailable,
    "invalid_key": _invalid_key,
    "bad_request": _bad_request,
    "not_found": _not_found,
}
SILENCES = ("stall", "drop")
BEHAVIOURS = (*REPLIES, *ERRORS, *SILENCES)


def answer(ask: Ask, behave: str, retry_delay_s: float | None = None) -> Json:
    """Return the body of a 200, or raise the GoogleError of the behaviour.

    The silent behaviours, `stall` and `drop`, have no answer.
    """
    if behave in REPLIES:
        return REPLIES[behave](ask)
    error = ERRORS[behave](ask)
    if retry_delay_s is not None:
        delay = {"@type": TYPE + "RetryInfo", "retryDelay": f"{retry_delay_s:g}s"}
        error.body["error"].setdefault("details", []).append(delay)
    raise error
