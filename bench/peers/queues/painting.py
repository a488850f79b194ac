"""What a task of every peer written in Python does: asks the model for an image and keeps it under
the task's own name, over connections that stay open."""

import base64
import json
import os

MODEL = os.environ.get("MODEL_URL", "")
URL = f"{MODEL}/v1beta/models/gemini-2.5-flash-image:generateContent"
BUCKET = os.environ.get("BUCKET_URL", "")
HEADERS = {"Content-Type": "application/json", "x-goog-api-key": "the-stand-in-takes-any-key"}
IMAGE = {"Content-Type": "image/png"}


def ask(number: int) -> bytes:
    """The body of the call."""
    parts = [{"text": f"prompt number {number} of a batch"}]
    config = {"responseModalities": ["IMAGE"]}
    return json.dumps(
        {"contents": [{"role": "user", "parts": parts}], "generationConfig": config}
    ).encode()


def image_of(answer: bytes) -> bytes:
    """What the model painted."""
    [candidate] = json.loads(answer)["candidates"]
    return base64.b64decode(candidate["content"]["parts"][0]["inlineData"]["data"])


def place_of(batch: str, number: int) -> str:
    """Where the image goes."""
    return f"{BUCKET}/{batch}/{number}.png"
