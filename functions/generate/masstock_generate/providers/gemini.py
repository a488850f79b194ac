"""The provider Gemini. No other module imports google-genai."""

import json
import random
import re
from functools import cache
from typing import Any, cast

import httpx2
from google import genai
from google.genai import errors, types

from masstock.errors import (
    ContentBlocked,
    InvalidApiKey,
    InvalidRequest,
    ModelUnavailable,
    NoImage,
    Outcome,
    PromptBlocked,
    ProviderThrottled,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExhausted,
    Recitation,
)
from masstock.services.storage import sniff_image
from masstock_generate.providers import Painting, PaintRequest

# Finish reasons of the Gemini API. A reason that is not listed here counts as "no image".
BLOCKED = {
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "PROHIBITED_CONTENT",
    "SAFETY",
    "SPII",
    "BLOCKLIST",
}
RECITED = {"IMAGE_RECITATION", "RECITATION"}
API_KEY_HEADER = "x-goog-api-key"


def paint(request: PaintRequest) -> Painting:
    """Implements masstock_generate.providers.Provider."""
    # All tenants share the SDK's client, so each call carries its own key.
    options = types.HttpOptions(
        headers={API_KEY_HEADER: request.api_key.strip()},
        timeout=int(request.timeout_seconds * 1000),
    )
    parts = [types.Part.from_bytes(data=data, mime_type=mime) for data, mime in request.references]
    try:
        answer = _client().models.generate_content(
            model=request.model,
            contents=[*parts, types.Part.from_text(text=request.prompt)],
            config=types.GenerateContentConfig(
                http_options=options,
                response_modalities=["IMAGE"],
                image_config=types.ImageConfig(aspect_ratio=request.aspect_ratio)
                if request.aspect_ratio
                else None,
                should_return_http_response=True,
            ),
        )
        response, usage = _read(answer)
    except errors.APIError as error:
        raise _refused(error) from error
    except httpx2.TimeoutException as error:
        raise ProviderTimeout from error
    except (httpx2.HTTPError, OSError) as error:
        raise ProviderUnavailable("The connection to the image model failed.") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        # The SDK raises these if the answer is not from the API, for example a proxy's page.
        raise ProviderUnavailable("The answer of the image model could not be read.") from error
    return _painting(response, usage)


@cache
def _client() -> genai.Client:
    """The SDK's client for all calls. A new client reads the certificate authorities, which takes
    five times as long as a call. Its connection stays open for a few seconds, for the next prompt.
    """
    context = httpx2.create_ssl_context()
    return genai.Client(
        # The SDK requires a key. The model would refuse this one.
        api_key="every-call-brings-its-own",
        http_options=types.HttpOptions(
            retry_options=types.HttpRetryOptions(attempts=1),
            # The SDK follows redirects by default, with the key, also to other hosts.
            client_args={"verify": context, "follow_redirects": False},
            # Without it, the SDK reads the certificates once more for its websockets.
            async_client_args={"verify": context, "ssl": context},
        ),
    )


def _read(answer: types.GenerateContentResponse) -> tuple[types.GenerateContentResponse, Any]:
    """The answer, and its `usageMetadata` as it came. The SDK would refuse a whole answer for one
    wrong token count, and then a paid image would be lost. Raises ValueError and its like."""
    http_response = answer.sdk_http_response
    body = json.loads((http_response and http_response.body) or "{}")
    usage = body.pop("usageMetadata", None)
    read = types.GenerateContentResponse._from_response  # pyright: ignore[reportPrivateUsage]
    return read(response=body, kwargs={}), usage


def _painting(response: types.GenerateContentResponse, usage: object) -> Painting:
    """The image of an answer with status 200. Raises an Outcome, because it can be a refusal."""
    feedback = response.prompt_feedback
    if feedback and feedback.block_reason:
        raise PromptBlocked(f"The image model blocked the prompt ({_name(feedback.block_reason)}).")
    candidate = response.candidates[0] if response.candidates else None
    if candidate is None:
        raise NoImage
    reason = _name(candidate.finish_reason) if candidate.finish_reason else "STOP"
    if reason in BLOCKED:
        raise ContentBlocked(f"The image model blocked the image that it painted ({reason}).")
    if reason in RECITED:
        raise Recitation
    for part in (candidate.content and candidate.content.parts) or []:
        if part.inline_data and part.inline_data.data:
            content = part.inline_data.data
            return Painting(content, sniff_image(content), *_tokens(usage))
    raise NoImage(f"The image model answered without an image ({reason}).")


def _tokens(usage: Any) -> tuple[int | None, int | None]:
    """Input tokens and output tokens. Thinking is charged as output. (None, None) if the output has
    no number, or if a number is not a whole number. masstock.catalogue decides if they are
    believable."""
    counts = cast(dict[str, Any], usage) if isinstance(usage, dict) else {}
    names = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
    read, painted, thought = (counts.get(name) for name in names)
    if not all(count is None or type(count) is int for count in (read, painted, thought)):
        return None, None
    if painted is None or painted < 0 or (thought or 0) < 0:
        return None, None
    return read, painted + (thought or 0)


def _name(value: Any) -> str:
    # The SDK passes unknown members of an enum on as strings.
    return str(getattr(value, "value", value))


def _refused(error: errors.APIError) -> Outcome:
    details = _details(error)
    match error.code:
        case 429:
            if any("PerDay" in quota for quota in _quota_ids(details)):
                return QuotaExhausted()
            return ProviderThrottled(retry_after=_retry_delay(details))
        case 408 | 504:
            return ProviderTimeout()
        case code if code >= 500 or code < 400:
            return ProviderUnavailable(f"The image model answered with status {code}.")
        case 401 | 403:
            return InvalidApiKey()
        case 400 if any(detail.get("reason") == "API_KEY_INVALID" for detail in details):
            return InvalidApiKey()
        case 404:
            return ModelUnavailable()
        case code:
            return InvalidRequest(f"The image model refused the request (status {code}).")


def _details(error: errors.APIError) -> list[dict[str, Any]]:
    """google.rpc.Status.details of an error body. Empty for a body of another form."""
    body = cast(Any, error.details)  # pyright: ignore[reportUnknownMemberType]
    try:
        return _objects(body["error"]["details"])
    except (KeyError, TypeError):
        return []


def _quota_ids(details: list[dict[str, Any]]) -> list[str]:
    return [
        str(violation.get("quotaId", ""))
        for detail in details
        for violation in _objects(detail.get("violations"))
    ]


def _objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a JSON list. Empty for a value that is not a list."""
    found = cast(list[Any], value) if isinstance(value, list) else []
    return [item for item in found if isinstance(item, dict)]


def _retry_delay(details: list[dict[str, Any]]) -> float | None:
    """The delay of a RetryInfo ("7s", "0.5s") in seconds, plus up to a tenth. The random part
    spreads the repetitions of prompts that were throttled together."""
    for detail in details:
        # A protobuf Duration in JSON. float() would also accept "nan" and "inf".
        if delay := re.fullmatch(r"(\d{1,9}(\.\d+)?)s", str(detail.get("retryDelay"))):
            return float(delay[1]) * random.uniform(1, 1.1)  # noqa: S311
    return None
