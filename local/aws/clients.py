"""boto3 clients of the local AWS services."""

from typing import Any

import boto3

from local.aws.resources import REGION


def client(service: str, url: str) -> Any:
    """Return a client of `service` ("s3", "stepfunctions", "secretsmanager") at `url`.

    The access key stands for no function, so `local.aws.calls` does not record its calls.
    """
    return boto3.client(
        service,  # pyright: ignore
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
