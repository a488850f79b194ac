"""Starts builders of archives."""

import json
from functools import cache
from typing import Any
from uuid import UUID


def start_builder(function_arn: str, archive_id: UUID, part: int) -> None:
    """Invokes the function that builds a part, without waiting for its end. Raises botocore's
    ClientError or BotoCoreError."""
    event = {"archive_id": str(archive_id), "part": part}
    _lambda().invoke(
        FunctionName=function_arn, InvocationType="Event", Payload=json.dumps(event).encode()
    )


@cache
def _lambda() -> Any:
    # Imported here because boto3 doubles a cold start.
    import boto3
    from botocore.config import Config

    # Short timeouts, because a caller waits. The sweep repeats a failed start.
    config = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 2})
    return boto3.client("lambda", config=config)  # pyright: ignore[reportUnknownMemberType]
