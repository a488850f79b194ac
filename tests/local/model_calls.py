"""Calls of the stand-in model, over plain HTTP and by google-genai."""

import base64
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from google import genai
from google.genai import types

from local.image_model.server import ModelServer
from tests.local.pictures import a_picture

KEY = "a-demo-key-of-some-length"
SDK_TIMEOUT_MS = 1500


@contextmanager
def running_model() -> Iterator[str]:
    """Yield the address of a stand-in model of its own."""
    with ModelServer(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(5)


def http(url: str, body: Any = None, key: str | None = KEY) -> tuple[int, Any]:
    payload = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, payload, {"x-goog-api-key": key} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def control(url: str, *rules: Any) -> tuple[int, Any]:
    return http(f"{url}/_control", {"rules": list(rules)})


def calls(url: str) -> list[dict[str, Any]]:
    return http(f"{url}/_calls")[1]


def generate(
    url: str,
    prompt: str,
    key: str | None = KEY,
    *,
    model: str = "some-model",
    references: int = 0,
    config: Any = None,
    **members: Any,
) -> tuple[int, Any]:
    red = base64.b64encode(a_picture("red")).decode()
    parts = [{"text": prompt}, *[{"inlineData": {"data": red}}] * references]
    body = {"contents": [{"role": "user", "parts": parts}], "generationConfig": config, **members}
    return http(f"{url}/v1beta/models/{model}:generateContent", body, key)


def images_in(reply: Any) -> list[bytes]:
    """Return the images of a raw reply, thoughts included."""
    parts = reply["candidates"][0]["content"]["parts"]
    return [base64.b64decode(part["inlineData"]["data"]) for part in parts if "inlineData" in part]


def ask_sdk(
    url: str,
    *contents: Any,
    version: str = "v1beta",
    model: str = "gemini-2.5-flash-image",
    **config: Any,
) -> Any:
    client = genai.Client(
        api_key=KEY,
        http_options=types.HttpOptions(
            base_url=url,
            api_version=version,
            timeout=SDK_TIMEOUT_MS,
            retry_options=types.HttpRetryOptions(attempts=1),
        ),
    )
    return client.models.generate_content(
        model=model,
        contents=list(contents),
        config=types.GenerateContentConfig(response_modalities=["IMAGE"], **config),
    )


def image_of(reply: Any) -> bytes:
    return reply.candidates[0].content.parts[0].inline_data.data


def until(met: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "the deadline passed"
        time.sleep(0.02)
