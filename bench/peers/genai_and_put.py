"""The minimum that paints and stores an image: a call of google-genai and a put_object of boto3.
Both clients are made once and configured like ours."""

import os
from itertools import count
from typing import Any

import boto3
from botocore.config import Config
from google import genai
from google.genai import types

model = genai.Client(
    api_key="a-key-for-the-stand-in",
    http_options=types.HttpOptions(
        timeout=60_000, retry_options=types.HttpRetryOptions(attempts=1)
    ),
)
storage = boto3.client(
    "s3",
    config=Config(
        signature_version="s3v4",
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    ),
)
numbers = count()


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Paints the event's prompt and stores the image."""
    response = model.models.generate_content(
        model="gemini-2.5-flash-image",
        contents=[types.Part.from_text(text=event["prompt"])],
        config=types.GenerateContentConfig(response_modalities=["IMAGE"]),
    )
    image = response.candidates[0].content.parts[0].inline_data.data
    storage.put_object(
        Bucket=os.environ["RESULTS_BUCKET"],
        Key=f"images/{next(numbers)}.png",
        Body=image,
        ContentType="image/png",
    )
    return {"size": len(image)}
