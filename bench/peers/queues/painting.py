"""The task of the Python peers: calls the model for an image and stores it under the task's name,
over connections that stay open."""

import base64
import json
import os

MODEL = os.environ.get("MODEL_URL", "")
URL = f"{MODEL}/v1beta/models/gemini-2.5-flash-image:generateContent"
BUCKET = os.environ.get("BUCKET_URL", "")
HEADERS = {"Content-Type": "application/json", "x-goog-api-key": "the-stand-in-takes-any-key"}
IMAGE = {"Content-Type": "image/png"}


def ask(number: int, batch: str = "a batch") -> bytes:
    """The body of the model call."""
    parts = [{"text": f"prompt number {number} of {batch}"}]
    config = {"responseModalities": ["IMAGE"]}
    return json.dumps(
        {"contents": [{"role": "user", "parts": parts}], "generationConfig": config}
    ).encode()


def image_of(answer: bytes) -> bytes:
    """The image in the model's answer."""
    [candidate] = json.loads(answer)["candidates"]
    return base64.b64decode(candidate["content"]["parts"][0]["inlineData"]["data"])


def place_of(batch: str, number: int) -> str:
    """The URL where the image is stored."""
    return f"{BUCKET}/{batch}/{number}.png"
