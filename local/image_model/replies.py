"""Answers of Gemini's generateContent: images, refusals in words, and what gateways send."""

import base64
import io
import json
import math
import os
import random
import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from urllib.parse import urlencode

from PIL import Image

from local.image_model.asks import Ask, check
from local.image_model.encoding import with_manifest
from local.image_model.errors import ERRORS, FAILURES, GoogleError, Json, unavailable
from local.image_model.painter import paint
from masstock.catalogue.image_sizes import DEFAULT_SIZE

JSON_TYPE = "application/json; charset=UTF-8"
# The redirect's target. It paints, so a client that follows the redirect is found out.
FOLLOWED_PATH = "/_followed"
FOLLOWED_PROMPT = 500
DRAFT_SIZE = "512"
# Thinking and text of a documented answer of gemini-3-pro-image.
THOUGHT_TOKENS, TEXT_TOKENS = 337, 340
REFUSAL_TOKENS = 16
PNG = "image/png"


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer."""

    body: bytes
    code: int = 200
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)


# Images


def _ok(ask: Ask) -> Json:
    return _image_reply(ask, [_image_part(ask, _picture(ask))])


def _thought_draft(ask: Ask) -> Json:
    """A small draft among the thoughts, then the image."""
    draft = _picture(replace(ask, seed=_next_seed(ask), size=DRAFT_SIZE))
    parts = [
        {"text": "**Composing the scene**\n\nI am sketching a first version.", "thought": True},
        {**_image_part(ask, draft), "thought": True},
        {**_image_part(ask, _picture(ask)), "thoughtSignature": _token()},
    ]
    return _image_reply(ask, parts, thoughts=ask.facts.thinking_tokens or THOUGHT_TOKENS)


def _thought_only(ask: Ask) -> Json:
    """The only image is among the thoughts."""
    part = {**_image_part(ask, _picture(ask)), "thought": True}
    return _image_reply(ask, [part], thoughts=ask.facts.thinking_tokens or THOUGHT_TOKENS)


def _two_images(ask: Ask) -> Json:
    first = _picture(replace(ask, seed=_next_seed(ask)))
    parts = [_image_part(ask, first), _image_part(ask, _picture(ask))]
    return _image_reply(ask, parts, images=2)


def _truncated(ask: Ask) -> Json:
    picture = _picture(ask)
    return _image_reply(ask, [_image_part(ask, picture[: len(picture) * 3 // 5])])


def _wrong_shape(ask: Ask) -> Json:
    square = replace(ask, aspect_ratio=None, size=DEFAULT_SIZE)
    return _image_reply(square, [_image_part(ask, _picture(square))])


def _provenance(ask: Ask) -> Json:
    return _image_reply(ask, [_image_part(ask, with_manifest(_picture(ask)))])


def _cmyk(ask: Ask) -> Json:
    return _image_reply(ask, [_inline(PNG, _picture(ask, "CMYK"))])


def _deep_grey(ask: Ask) -> Json:
    return _image_reply(ask, [_inline(PNG, _picture(ask, "DEEP_GREY"))])


def _animated(ask: Ask) -> Json:
    return _image_reply(ask, [_inline(PNG, _picture(ask, "ANIMATION"))])


def _garbage(ask: Ask) -> Json:
    return _image_reply(ask, [_inline(PNG, b"These bytes are not an image.")])


def _oversize(ask: Ask) -> Json:
    return _image_reply(ask, [_inline(PNG, oversize_image())])


def _no_usage(ask: Ask) -> Json:
    reply = _ok(ask)
    del reply["usageMetadata"]
    return reply


def _thinking_usage(ask: Ask) -> Json:
    """An image beside text and thoughts, which have a price of their own."""
    parts = [{"text": "Here is your image."}, _image_part(ask, _picture(ask))]
    thoughts = ask.facts.thinking_tokens or THOUGHT_TOKENS
    return _image_reply(ask, parts, text=TEXT_TOKENS, thoughts=thoughts)


def _jpeg(ask: Ask) -> Json:
    return _image_reply(ask, [_inline(PNG, _picture(ask, "JPEG"))])


def _webp(ask: Ask) -> Json:
    return _image_reply(ask, [_inline(PNG, _picture(ask, "WEBP"))])


def _continuation(ask: Ask) -> Json:
    """An image that claims to be unfinished. The call with its token ends the answer."""
    reply = _ok(ask)
    if not ask.continues:
        reply["candidates"][0] |= {"finishReason": "CONTINUATION", "continuationToken": _token()}
    return reply


def _picture(ask: Ask, format: str | None = None) -> bytes:
    format = format or ask.facts.mime_type.removeprefix("image/").upper()
    return paint(
        ask.prompt, ask.references, ask.aspect_ratio, size=ask.size, seed=ask.seed, format=format
    )


def _next_seed(ask: Ask) -> int:
    return (ask.seed or 0) + 1


@cache
def oversize_image() -> bytes:
    """Return a valid PNG over MAX_IMAGE_MEGABYTES (default 10): noise, without compression."""
    megabytes = int(os.environ.get("MAX_IMAGE_MEGABYTES", "10"))
    side = math.isqrt(megabytes * 2**20 // 3) + 8
    noise = random.Random(0).randbytes(side * side * 3)
    stream = io.BytesIO()
    Image.frombytes("RGB", (side, side), noise).save(stream, "PNG", compress_level=0)
    return stream.getvalue()


def _image_part(ask: Ask, picture: bytes) -> Json:
    return _inline(ask.facts.mime_type, picture)


def _inline(mime_type: str, content: bytes) -> Json:
    return {"inlineData": {"mimeType": mime_type, "data": base64.b64encode(content).decode()}}


def _token() -> str:
    return base64.b64encode(secrets.token_bytes(24)).decode()


# Words instead of an image


def _no_image(ask: Ask) -> Json:
    text = "I can describe that scene for you, but I did not create an image."
    return _text_reply(ask, text)


def _refusal_text(ask: Ask) -> Json:
    text = (
        "I'm sorry, but I can't create that image. It may go against my guidelines. Would you like"
        " me to try something different?"
    )
    return _text_reply(ask, text)


def _finish_message(ask: Ask) -> Json:
    return _unpainted(ask, "NO_IMAGE", "You will not be charged for this request. ")


def _content_blocked(ask: Ask) -> Json:
    return _unpainted(ask, "IMAGE_SAFETY")


def _unpainted(ask: Ask, finish_reason: str, more: str = "") -> Json:
    candidate = _candidate(finish_reason, [])
    candidate["finishMessage"] = (
        "Unable to show the generated image. The model could not generate the image based on the"
        f" prompt provided. {more}Try rephrasing the prompt."
    )
    return _reply(ask, [candidate])


def _prompt_blocked(ask: Ask) -> Json:
    reply = _reply(ask, [])
    del reply["candidates"]
    return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, **reply}


# Candidates and usage


def _image_reply(
    ask: Ask, parts: list[Json], *, images: int = 1, text: int = 0, thoughts: int | None = None
) -> Json:
    """`images` and `text` are the number of images and of text tokens. `thoughts` is the number of
    thinking tokens; None for the usual number of the model."""
    thoughts = ask.facts.thinking_tokens if thoughts is None else thoughts
    image = images * ask.facts.image_tokens[ask.size]
    return _reply(ask, [_candidate("STOP", parts)], image=image, text=text, thoughts=thoughts)


def _text_reply(ask: Ask, text: str) -> Json:
    candidate = _candidate("STOP", [{"text": text}])
    return _reply(ask, [candidate], text=REFUSAL_TOKENS, thoughts=ask.facts.thinking_tokens)


def _candidate(finish_reason: str, parts: list[Json]) -> Json:
    content = {"content": {"parts": parts, "role": "model"}} if parts else {}
    return {**content, "finishReason": finish_reason, "index": 0}


def _reply(
    ask: Ask, candidates: list[Json], *, image: int = 0, text: int = 0, thoughts: int = 0
) -> Json:
    """Return a reply with its usage: tokens of the image, of the text and of the thoughts."""
    prompt, references = ask.input_tokens
    usage: Json = {"promptTokenCount": prompt + references}
    if image or text:
        usage["candidatesTokenCount"] = image + text
        usage["candidatesTokensDetails"] = _by_modality(IMAGE=image, TEXT=text)
    usage["totalTokenCount"] = prompt + references + image + text + thoughts
    usage["promptTokensDetails"] = _by_modality(TEXT=prompt, IMAGE=references)
    if thoughts:
        usage["thoughtsTokenCount"] = thoughts
    return {
        "candidates": candidates,
        "usageMetadata": usage,
        "modelVersion": ask.model,
        "responseId": uuid.uuid4().hex[:22],
    }


def _by_modality(**counts: int) -> list[Json]:
    return [{"modality": name, "tokenCount": count} for name, count in counts.items() if count]


# Answers that are no reply of generateContent


def _created_201(ask: Ask) -> Answer:
    return json_answer(_ok(ask), 201)


def _no_content_204(_ask: Ask) -> Answer:
    return Answer(b"", 204)


def _redirect(ask: Ask) -> Answer:
    query = urlencode(
        {"model": ask.model, "prompt": ask.prompt[:FOLLOWED_PROMPT]}, errors="replace"
    )
    return Answer(b"", 302, headers={"Location": f"{FOLLOWED_PATH}?{query}"})


def _error_in_200(ask: Ask) -> Answer:
    return json_answer(unavailable(ask.model).body)


def _html(_ask: Ask) -> Answer:
    page = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in</body></html>"
    return Answer(page.encode(), content_type="text/html; charset=UTF-8")


def json_answer(body: Json, code: int = 200) -> Answer:
    return Answer(json.dumps(body).encode(), code)


REPLIES: Mapping[str, Callable[[Ask], Json]] = {
    "ok": _ok,
    # The server sends this one in small pieces.
    "dribble": _ok,
    # Rules give this one a delay.
    "slow": _ok,
    "thought_draft": _thought_draft,
    "thought_only": _thought_only,
    "two_images": _two_images,
    "truncated": _truncated,
    "wrong_shape": _wrong_shape,
    "provenance": _provenance,
    "jpeg": _jpeg,
    "webp": _webp,
    "cmyk": _cmyk,
    "deep_grey": _deep_grey,
    "animated": _animated,
    "garbage": _garbage,
    "oversize": _oversize,
    "no_usage": _no_usage,
    "thinking_usage": _thinking_usage,
    "continuation": _continuation,
    "no_image": _no_image,
    "refusal_text": _refusal_text,
    "finish_message": _finish_message,
    "content_blocked": _content_blocked,
    "prompt_blocked": _prompt_blocked,
}
OTHERS: Mapping[str, Callable[[Ask], Answer]] = {
    "created_201": _created_201,
    "no_content_204": _no_content_204,
    "redirect": _redirect,
    "error_in_200": _error_in_200,
    "html": _html,
}
SILENCES = ("stall", "drop")
BEHAVIOURS = (*REPLIES, *OTHERS, *ERRORS, *SILENCES)


def answer(ask: Ask, behave: str, retry_delay_s: float | None = None) -> Answer:
    """Return the answer of a behaviour, or raise its GoogleError.

    An ask without a seed gets a random one. GoogleError 400 for an ask that the model refuses. The
    silent behaviours, `stall` and `drop`, have no answer.
    """
    if behave in ERRORS:
        error = ERRORS[behave](ask.model)
        if retry_delay_s is not None:
            error.add_retry_info(retry_delay_s)
        raise error
    ask = _checked(ask)
    if behave in OTHERS:
        return OTHERS[behave](ask)
    return json_answer(REPLIES[behave](ask))


def line_response(ask: Ask, behave: str) -> Json:
    """Return the response in a line of a job, or raise the GoogleError of the line.

    Gateways do not stand between Google and its own jobs: their answers, and silence, are an
    internal error.
    """
    if behave in ERRORS:
        raise ERRORS[behave](ask.model)
    ask = _checked(ask)
    if behave in REPLIES:
        return REPLIES[behave](ask)
    raise FAILURES[500]()


def _checked(ask: Ask) -> Ask:
    check(ask)
    return replace(ask, seed=secrets.randbits(31)) if ask.seed is None else ask


def error_answer(error: GoogleError) -> Answer:
    return replace(json_answer(error.body, error.code), headers=error.headers)
