"""The api's real handler in this process, called with the gateway's events. Postgres, S3, Secrets
Manager and Step Functions run in other processes."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import boto3
import jwt
import pytest
from werkzeug.test import Client, TestResponse

import api
from local.aws.execution_environment import InvokeResult
from local.aws.http_api import HttpApi
from local.aws.resources import ACCOUNT, REGION
from local.processes import children
from local.processes.services import Service
from local.settings import ROOT
from masstock import settings
from masstock.services import archive_function, s3_client, secret_store, state_machine
from masstock_api import session
from tests.support.databases import IDENTITY_KEY, Urls
from tests.support.demo_data import ADMIN, JANE_OF_GLOBEX, JOHN_OF_ACME, MARY_OF_ACME

ISSUER = "https://identity.test"
AUDIENCE = "authenticated"
JWT_KEY = "the tests' issuer signs with this key of 64 characters, or so ..."
USERS = {
    "admin": ADMIN,
    "client_a": JOHN_OF_ACME,
    "mary": MARY_OF_ACME,
    "client_b": JANE_OF_GLOBEX,
}
RESULTS_BUCKET = "results"
UPLOADS_BUCKET = "uploads"
MACHINE = "execution"
SECRETS = {
    "identity": IDENTITY_KEY,
    "sealing": json.dumps({"current": "k1", "k1": "k" * 64}),
    "jwt": JWT_KEY,
    "webhook": "w" * 64,
}


@contextmanager
def aws_services(directory: Path) -> Iterator[str]:
    """Runs S3, Secrets Manager and Step Functions as the local stack does, and yields their URL.
    State machines start and end immediately."""
    configuration = {
        "directory": str(directory / "s3"),
        "calls": str(directory / "calls.jsonl"),
        "lambda_url": "http://127.0.0.1:9",
        "state_machines": [
            {
                "name": MACHINE,
                "definition": '{"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}',
            }
        ],
        "secrets": SECRETS,
        "buckets": {RESULTS_BUCKET: False, UPLOADS_BUCKET: False},
        "rules": [],
    }
    port = children.free_port()
    service = Service(
        "local.aws",
        [str(port)],
        port=port,
        root=ROOT,
        log=directory / "aws.log",
        stdin=json.dumps(configuration),
    )
    service.start()
    try:
        service.wait_until_ready()
        yield service.url
    finally:
        service.stop()


@dataclass
class Context:
    """Lambda's context object."""

    function_name: str = "api"
    memory_limit_in_mb: int = 1024
    invoked_function_arn: str = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:api"
    aws_request_id: str = "an-invocation"


def invoke(payload: bytes) -> InvokeResult:
    """Invokes the handler. Its exceptions are not caught."""
    answer = api.lambda_handler(json.loads(payload), Context())  # pyright: ignore
    return InvokeResult(json.dumps(answer).encode())


def token(user_id: UUID | str, **claims: Any) -> str:
    """A bearer token as the issuer makes it, with changed claims if given."""
    now = int(time.time())
    usual = {
        "sub": str(user_id),
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + 3600,
    }
    return jwt.encode(usual | claims, JWT_KEY, algorithm="HS256")


class Api:
    """HTTP requests to the handler as a user of the demo data. `None` sends no token."""

    def __init__(self) -> None:
        self.application = HttpApi(invoke)
        self._client = Client(self.application)
        self._tokens = {who: token(user_id) for who, user_id in USERS.items()}

    def call(
        self, who: str | None, method: str, path: str, *, headers: Any = None, **options: Any
    ) -> TestResponse:
        sent = dict(headers or {})
        if who is not None:
            sent.setdefault("Authorization", f"Bearer {self._tokens[who]}")
        return self._client.open(path, method=method, headers=sent, **options)

    def authorization(self, who: str) -> str:
        return f"Bearer {self._tokens[who]}"


@contextmanager
def environment(urls: Urls, aws_url: str) -> Iterator[pytest.MonkeyPatch]:
    """Sets the api's environment variables for the block, which begins with a cold start. The next
    request after the block is a cold start too."""
    secret_id = f"database {urls.name}"
    boto3.client(
        "secretsmanager",
        endpoint_url=aws_url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    ).create_secret(Name=secret_id, SecretString=urls.api)
    variables = {
        "DATABASE_SECRET_ID": secret_id,
        "IDENTITY_SECRET_ID": "identity",
        "SEALING_SECRET_ID": "sealing",
        "WEBHOOK_SECRET_ID": "webhook",
        "JWT_SECRET_ID": "jwt",
        "JWT_JWKS_URL": "",
        "JWT_ISSUER": ISSUER,
        "JWT_AUDIENCE": AUDIENCE,
        "STATE_MACHINE_ARN": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{MACHINE}",
        "ARCHIVE_FUNCTION_ARN": "archive:live",
        "RESULTS_BUCKET": RESULTS_BUCKET,
        "UPLOADS_BUCKET": UPLOADS_BUCKET,
        "IMAGE_ACCESS": "signed",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL_S3": aws_url,
        "AWS_ENDPOINT_URL_SFN": aws_url,
        "AWS_ENDPOINT_URL_LAMBDA": aws_url,
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws_url,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CORS_ALLOW_ORIGINS", "PLATFORM_API_KEY_SECRET_ID", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        for name, value in variables.items():
            patch.setenv(name, value)
        forget()
        try:
            yield patch
        finally:
            forget()


def forget() -> None:
    """Drops every cached object, so that the next request is a cold start."""
    if session._database is not None:
        session._database.close()
    session._database = None
    settings._parsed.clear()
    secret_store.forget_secrets()
    s3_client.s3.cache_clear()
    state_machine._step_functions.cache_clear()
    archive_function._lambda.cache_clear()
