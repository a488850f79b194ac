"""The provider Gemini: makes the call. No other module imports google-genai.

The SDK builds and sends the request. It does not read the answer: its types refuse some answers
with a paid image, and decoding the image twice doubles the CPU of a call. gemini_answers.py reads
the raw JSON instead.
"""

import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import httpx2
from google import genai
from google.genai import types

from masstock.errors import ProviderTimeout, ProviderUnavailable
from masstock_generate.providers import Painting, PaintRequest
from masstock_generate.providers.gemini_answers import read_answer

API_KEY_HEADER = "x-goog-api-key"


def paint(request: PaintRequest) -> Painting:
    """Implements masstock_generate.providers.Provider."""
    answers: list[httpx2.Response] = []
    failures: list[BaseException] = []

    def call() -> None:
        _answers.here = answers
        try:
            _send(request)
        except BaseException as error:
            failures.append(error)

    _within(request.timeout_seconds, call)
    for answer in answers:
        return read_answer(answer.status_code, answer.headers, answer.content, request.api_key)
    match failures:
        case [httpx2.TimeoutException() as error]:
            raise ProviderTimeout from error
        case [httpx2.ConnectError() as error]:
            raise ProviderUnavailable(
                "The image model could not be reached.", is_outage=True
            ) from error
        case [httpx2.HTTPError() | OSError() as error]:
            raise ProviderUnavailable("The connection to the image model failed.") from error
        case [error]:
            raise error
        case _:
            raise ProviderUnavailable("The connection to the image model failed.")


def _send(request: PaintRequest) -> None:
    parts = [types.Part.from_bytes(data=data, mime_type=mime) for data, mime in request.references]
    image_config = types.ImageConfig(
        aspect_ratio=request.aspect_ratio, image_size=request.image_size
    )
    is_default = request.aspect_ratio is None and request.image_size is None
    try:
        _client().models.generate_content(
            model=request.model,
            contents=[*parts, types.Part.from_text(text=request.prompt)],
            config=types.GenerateContentConfig(
                # All tenants share the SDK's client, so each call carries its own key.
                http_options=types.HttpOptions(
                    headers={API_KEY_HEADER: request.api_key.strip()},
                    timeout=int(request.timeout_seconds * 1000),
                ),
                response_modalities=["IMAGE"],
                image_config=None if is_default else image_config,
                seed=request.seed,
                # Else the SDK sends further paid requests by itself (google-genai 3.4.0).
                automatic_continuation=False,
            ),
        )
    except _Answered as answered:
        # The frames of the traceback hold the body, in a cycle with the SDK's record of retries.
        answered.__traceback__ = None


def _within(seconds: float, call: Callable[[], None]) -> None:
    """Runs the call in a thread and waits for it. Raises ProviderTimeout at the end of the time.
    The SDK's own timeout counts each read of the socket, so an answer in small pieces would pass
    it (google-genai 3.4.0)."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        # Ends the transfer: the next read of the closed connection fails.
        _client().close()
        _client.cache_clear()
        raise ProviderTimeout


class _Answers(threading.local):
    """The responses of the call that runs in this thread."""

    here: list[httpx2.Response]


_answers = _Answers()


class _Answered(Exception):
    """An answer has arrived completely. The SDK need not read it."""


def _keep(response: httpx2.Response) -> None:
    response.read()
    _answers.here.append(response)
    raise _Answered


@cache
def _client() -> genai.Client:
    """One client for all calls: making one reads the authorities' certificates, which costs five
    times as much as a call. Its connection stays open for a few seconds for the next prompt."""
    context = httpx2.create_ssl_context()
    arguments: dict[str, Any] = {
        "verify": context,
        # A redirect would carry the key to another host.
        "follow_redirects": False,
        "event_hooks": {"response": [_keep]},
    }
    return genai.Client(
        # GOOGLE_GENAI_USE_VERTEXAI in the environment would send prompts elsewhere.
        vertexai=False,
        # The SDK requires a key. The model would refuse this one.
        api_key="every-call-brings-its-own",
        http_options=types.HttpOptions(
            retry_options=types.HttpRetryOptions(attempts=1),
            client_args=arguments,
            # Without it, the SDK reads the certificates once more for its websockets.
            async_client_args={"verify": context, "ssl": context},
        ),
    )
