"""What an answer of Gemini's generateContent means: an image, or a typed Outcome.

Pure functions on status, headers and raw JSON. Codes, reasons and quota ids decide first. The text
of a message decides last, because Google changes its messages. Each rule has a test in
tests/unit/test_gemini_answers.py.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json

from masstock.catalogue.image_models import MAX_TOKENS, Usage
from masstock.errors import (
    BillingRequired,
    ContentBlocked,
    InvalidApiKey,
    InvalidRequest,
    ModelUnavailable,
    NoImage,
    Outcome,
    PromptBlocked,
    ProviderRefusesAccount,
    ProviderThrottled,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExhausted,
    Recitation,
)
from masstock_generate.providers import Painting

type Json = dict[str, Any]

# Finish reasons of the Gemini API. A reason that is not listed here counts as "no image".
# https://ai.google.dev/api/generate-content#FinishReason
BLOCKED = {
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "PROHIBITED_CONTENT",
    "SAFETY",
    "SPII",
    "BLOCKLIST",
}
RECITED = {"IMAGE_RECITATION", "RECITATION"}
# Words of refusals that have no code of their own. Seen in public reports of 2025 and 2026.
NO_CREDIT = re.compile(
    r"prepay\w* credits?|credits? (are|is) depleted|spending (cap|limit)", re.IGNORECASE
)
TRY_AGAIN = re.compile(r"unable to process input image", re.IGNORECASE)
# Statuses of a provider that is down.
OUTAGES = {500, 502, 503, 504}
# A quota that opens later than this counts as used up for the day.
LONG_DELAY_SECONDS = 3600
MAX_WORDS = 500
MODEL_NAME = re.compile(r"[A-Za-z0-9._:@/-]{1,200}")
UNREADABLE = "The answer of the image model could not be read."


def read_answer(status: int, headers: Mapping[str, str], body: bytes, api_key: str) -> Painting:
    """The image of an answer. Raises the Outcome of an answer without one. `api_key` is removed
    from the provider's words."""
    content = read_json(body)
    answer = json_object(content)
    words = words_of(json_object(answer.get("error")).get("message"), api_key)
    if status == 200 and "error" not in answer:
        if not isinstance(content, dict):
            raise ProviderUnavailable(UNREADABLE)
        return painting_of(answer, api_key)
    if status < 400:
        raise ProviderUnavailable(
            f"The image model answered with status {status} and without an image.",
            provider_message=words,
        )
    raise refusal(status, json_object(answer.get("error")), headers, words)


# --- answers -------------------------------------------------------------------------------------


def painting_of(answer: Json, api_key: str) -> Painting:
    """The image of a GenerateContentResponse. Raises the Outcome of one without an image."""
    usage = read_usage(answer.get("usageMetadata"))
    feedback = json_object(answer.get("promptFeedback"))
    if block_reason := feedback.get("blockReason"):
        raise PromptBlocked(
            f"The image model blocked the prompt ({name_in(block_reason)}).",
            provider_message=words_of(feedback.get("blockReasonMessage"), api_key),
            usage=usage,
        )
    candidates = json_objects(answer.get("candidates"))
    if not candidates:
        raise NoImage(usage=usage)
    for candidate in candidates:
        if name_in(candidate.get("finishReason")) in BLOCKED | RECITED:
            continue
        images = list(_images(candidate))
        # A thought is a draft. It is the result only if there is nothing else.
        finished = [image for is_thought, image in images if not is_thought]
        if images:
            content = (finished or [image for _, image in images])[-1]
            model = _model_of(answer.get("modelVersion"))
            return Painting(content, usage, model, len(finished) or 1)
    raise _no_image(candidates[0], usage, api_key)


def _model_of(name: object) -> str | None:
    """The name of a model. None for another text: Postgres or the metadata of an object might not
    hold it, and the paid image would be lost."""
    return name if isinstance(name, str) and MODEL_NAME.fullmatch(name) else None


def _no_image(candidate: Json, usage: Usage | None, api_key: str) -> Outcome:
    reason = name_in(candidate.get("finishReason") or "STOP")
    words = words_of(candidate.get("finishMessage"), api_key) or words_of(_text(candidate), api_key)
    if reason in BLOCKED:
        return ContentBlocked(
            f"The image model blocked the image that it painted ({reason}).",
            provider_message=words,
            usage=usage,
        )
    if reason in RECITED:
        return Recitation(provider_message=words, usage=usage)
    if _is_malformed(candidate):
        return ProviderUnavailable(UNREADABLE, usage=usage)
    return NoImage(
        f"The image model answered without an image ({reason}).",
        provider_message=words,
        usage=usage,
    )


def _is_malformed(candidate: Json) -> bool:
    """True if a candidate without a readable image is not of the API's form, or if its image cannot
    be decoded."""
    reason = candidate.get("finishReason")
    parts = json_object(candidate.get("content")).get("parts")
    return (
        not (reason is None or isinstance(reason, str))
        or not (parts is None or isinstance(parts, list))
        or any(_data(part) for part in _parts(candidate))
    )


def _parts(candidate: Json) -> list[Json]:
    return json_objects(json_object(candidate.get("content")).get("parts"))


def _images(candidate: Json) -> Iterator[tuple[bool, bytes]]:
    """(is a thought, bytes) of each image. Data that is not base64 is no image."""
    for part in _parts(candidate):
        data = _data(part)
        if isinstance(data, str) and (content := _decoded(data)):
            yield part.get("thought") is True, content


# Takes a fifth of the time of Python's own decoder (pydantic 2.13).
_BASE64 = TypeAdapter(bytes, config=ConfigDict(val_json_bytes="base64"))


def _decoded(data: str) -> bytes | None:
    """The bytes of a base64 text in either alphabet, as protobuf's JSON allows, also with padding
    or line breaks where they do not belong. None if there are none."""
    with suppress(ValidationError):
        return _BASE64.validate_strings(data)
    with suppress(binascii.Error, ValueError):
        return base64.b64decode(data.replace("-", "+").replace("_", "/") + "==")
    return None


def _data(part: Json) -> object:
    return json_object(part.get("inlineData") or part.get("inline_data")).get("data")


def _text(candidate: Json) -> str:
    texts = (part.get("text") for part in _parts(candidate) if part.get("thought") is not True)
    return " ".join(text for text in texts if isinstance(text, str))


def read_usage(metadata: object) -> Usage | None:
    """Tokens by price: input, image output, and text output with thoughts. None if a number is
    missing, negative or larger than any model's context."""
    usage = json_object(metadata)
    given = usage.get("promptTokenCount"), usage.get("candidatesTokenCount")
    counts = [_count(given[0]), _count(given[1]), _count(usage.get("thoughtsTokenCount", 0))]
    if None in counts:
        return None
    prompt, output, thoughts = cast("list[int]", counts)
    details = json_objects(usage.get("candidatesTokensDetails"))
    image = output
    if details:
        images = [
            _count(each.get("tokenCount")) for each in details if each.get("modality") == "IMAGE"
        ]
        if None in images:
            return None
        image = min(output, sum(cast("list[int]", images)))
    return Usage(prompt, image, output - image + thoughts)


def _count(value: object) -> int | None:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return cast(int, value) if is_whole and 0 <= cast(int, value) <= MAX_TOKENS else None


# --- refusals ------------------------------------------------------------------------------------


def refusal(status: int, error: Json, headers: Mapping[str, str], words: str | None) -> Outcome:
    """The Outcome of a status of 400 or above. `error` is the body's google.rpc.Status."""
    details = json_objects(error.get("details"))
    # A list: the answer can hold values that have no hash.
    reasons = [detail.get("reason") for detail in details]
    match status:
        case 429:
            return _exhausted(details, headers, words)
        case 400 if "API_KEY_INVALID" in reasons:
            return InvalidApiKey(provider_message=words)
        case 400 if error.get("status") == "FAILED_PRECONDITION":
            return ProviderRefusesAccount(provider_message=words)
        case 400 if words and TRY_AGAIN.search(words):
            return ProviderUnavailable(
                "The image model could not process a reference image.", provider_message=words
            )
        case 401 | 403:
            return InvalidApiKey(provider_message=words)
        case 404:
            return ModelUnavailable(provider_message=words)
        case 408 | 504:
            return ProviderTimeout(provider_message=words, is_outage=status == 504)
        case 409 | 499:
            return ProviderUnavailable(
                f"The image model interrupted the request (status {status}).",
                provider_message=words,
            )
        case _ if status >= 500:
            return ProviderUnavailable(
                f"The image model answered with status {status}.",
                provider_message=words,
                is_outage=status in OUTAGES,
            )
        case _:
            return InvalidRequest(
                f"The image model refused the request (status {status}).", provider_message=words
            )


def _exhausted(details: list[Json], headers: Mapping[str, str], words: str | None) -> Outcome:
    violations = [each for detail in details for each in json_objects(detail.get("violations"))]
    delay = retry_delay(details, headers)
    if any(str(each.get("quotaValue")) == "0" for each in violations) or (
        words and NO_CREDIT.search(words)
    ):
        return BillingRequired(provider_message=words)
    if any("PerDay" in str(each.get("quotaId", "")) for each in violations):
        # The RetryInfo of a daily quota can name seconds.
        return QuotaExhausted(
            opens_in_seconds=seconds_to_reset(datetime.now(UTC)), provider_message=words
        )
    if delay is not None and delay > LONG_DELAY_SECONDS:
        return QuotaExhausted(opens_in_seconds=delay, provider_message=words)
    return ProviderThrottled(
        retry_after=delay, quota_value=_quota_value(violations), provider_message=words
    )


def seconds_to_reset(now: datetime) -> float:
    """Seconds until Google's daily quotas are full again, at midnight Pacific time. That is 08:00
    UTC, or an hour earlier in summer. https://ai.google.dev/gemini-api/docs/rate-limits"""
    return (
        86400
        - (now - now.replace(hour=8, minute=0, second=0, microsecond=0)).total_seconds() % 86400
    )


def _quota_value(violations: list[Json]) -> int | None:
    """The lowest limit of calls per minute that the answer names. Google sends int64 as text."""
    values = [
        int(str(each.get("quotaValue")))
        for each in violations
        if "PerMinute" in str(each.get("quotaId", ""))
        and re.fullmatch("[1-9][0-9]{0,8}", str(each.get("quotaValue")))
        and "Token" not in str(each.get("quotaId", ""))
    ]
    return min(values, default=None)


def retry_delay(details: list[Json], headers: Mapping[str, str]) -> float | None:
    """Seconds until the quota opens: of a RetryInfo ("7s", "0.5s") or of a Retry-After header, as
    seconds or as a date."""
    given = [str(detail.get("retryDelay")) for detail in details]
    given.append(f"{headers.get('retry-after', '')}s")
    for text in given:
        # A protobuf Duration in JSON. float() would also accept "nan" and "inf".
        if delay := re.fullmatch(r"(\d{1,9}(\.\d+)?)s", text):
            return float(delay[1])
    # HTTP also allows a date. Proxies send it.
    with suppress(ValueError):
        date = f"{headers.get('retry-after', '')}+0000"
        opens_at = datetime.strptime(date, "%a, %d %b %Y %H:%M:%S GMT%z")
        seconds = (opens_at - datetime.now(UTC)).total_seconds()
        return seconds if 0 < seconds < 10**9 else None
    return None


# --- JSON of any form ----------------------------------------------------------------------------


def read_json(text: bytes) -> object:
    """The value of a JSON text. None if it cannot be read."""
    # A quarter of the time of Python's reader (pydantic-core 2.46), but it refuses half a surrogate
    # pair, which the words of a model can hold.
    for read in (from_json, json.loads):
        with suppress(ValueError, RecursionError):
            return read(text)
    return None


def json_object(value: object) -> Json:
    """The value if it is a JSON object, else an empty one."""
    return cast(Json, value) if isinstance(value, dict) else {}


def json_objects(value: object) -> list[Json]:
    """The objects in a JSON list. Empty for a value that is not a list."""
    found = cast("list[object]", value) if isinstance(value, list) else []
    return [cast(Json, item) for item in found if isinstance(item, dict)]


def name_in(value: object) -> str:
    """A name of the API, shortened and cleaned: the answer can hold anything."""
    return re.sub(r"[^A-Za-z0-9_]", "", str(value))[:50]


def words_of(value: object, api_key: str) -> str | None:
    """The provider's own words in one line of at most MAX_WORDS characters, without control
    characters and without the key."""
    if not isinstance(value, str):
        return None
    if key := api_key.strip():
        value = value.replace(key, "…")
    line = " ".join("".join(c if c.isprintable() else " " for c in value[: 4 * MAX_WORDS]).split())
    return line[: MAX_WORDS - 1] + "…" if len(line) > MAX_WORDS else line or None
