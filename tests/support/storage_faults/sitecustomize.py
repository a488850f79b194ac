"""Sends the S3 calls of generate to the proxy of tests/support/refusing_storage.py."""

import os
from pathlib import Path

if os.environ.get("_HANDLER", "").startswith("generate."):
    endpoint = Path(os.environ["FAULTS_PLANS"]) / "s3-endpoint"
    os.environ["AWS_ENDPOINT_URL_S3"] = endpoint.read_text()
