"""The lines of Gemini's jobs: what goes in, and what comes out.

The results come in any order, and keys can be missing, doubled or unknown. So a line is matched by
its key alone. The SDK's types refuse the lines, so their raw JSON is read.
"""

import json

from masstock.errors import ProviderUnavailable
from masstock_generate.providers import LineRequest, Painting
from masstock_generate.providers.gemini_answers import (
    UNREADABLE,
    Json,
    json_object,
    painting_of,
    read_json,
    refusal,
    words_of,
)

# Codes of google.rpc as HTTP statuses. The error of a line can hold either.
# https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
STATUS_OF_RPC = {
    1: 499,
    3: 400,
    4: 504,
    5: 404,
    7: 403,
    8: 429,
    9: 400,
    10: 409,
    11: 400,
    14: 503,
    16: 401,
}


def line_of(request: LineRequest) -> bytes:
    """Implements masstock_generate.providers.BatchProvider."""
    parts: list[Json] = [
        {"fileData": {"fileUri": file.uri, "mimeType": mime_type}}
        for file, mime_type in request.references
    ]
    parts.append({"text": request.prompt})
    asked = {"aspectRatio": request.aspect_ratio, "imageSize": request.image_size}
    config: Json = {"responseModalities": ["IMAGE"]}
    if image_config := {name: value for name, value in asked.items() if value is not None}:
        config["imageConfig"] = image_config
    if request.seed is not None:
        config["seed"] = request.seed
    content = {"contents": [{"role": "user", "parts": parts}], "generation_config": config}
    line = {"key": request.key, "request": content}
    # ASCII: a line separator of Unicode could be read as the end of the line.
    return json.dumps(line, separators=(",", ":")).encode()


def key_of(line: bytes) -> tuple[str, bool] | None:
    """Implements masstock_generate.providers.BatchProvider."""
    content = json_object(read_json(line))
    key = content.get("key")
    return (key, "response" in content) if isinstance(key, str) else None


def read_line(line: bytes) -> Painting:
    """Implements masstock_generate.providers.BatchProvider."""
    content = json_object(read_json(line))
    if isinstance(content.get("response"), dict):
        return painting_of(json_object(content["response"]), "")
    error = json_object(content.get("error") or content.get("status"))
    if not error:
        raise ProviderUnavailable(UNREADABLE)
    code = error.get("code")
    status = code if isinstance(code, int) else 500
    status = status if status >= 400 else STATUS_OF_RPC.get(status, 500)
    raise refusal(status, error, {}, words_of(error.get("message"), ""))
