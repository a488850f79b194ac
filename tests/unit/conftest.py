"""The environment of a function, for the unit tests of modules that call AWS or other services."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, settings

from local.aws.resources import REGION
from masstock.services import s3_client
from masstock.services.secret_store import forget_secrets
from tests.support.web import Web, listening

# No time limits for Hypothesis: on a shared machine, the times are not meaningful.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def _web_server() -> Iterator[Any]:
    with listening() as server:
        yield server


@pytest.fixture
def web(_web_server: Any) -> Iterator[Web]:
    """A web server outside of our system. The test sets its behaviour."""
    _web_server.web = Web(f"http://127.0.0.1:{_web_server.server_port}")
    yield _web_server.web
    _web_server.web.released.set()


@pytest.fixture(scope="session")
def secrets_manager(aws_url: str) -> Any:
    """A boto3 client that creates the secrets for a test."""
    return boto3.client(
        "secretsmanager",
        endpoint_url=aws_url,
        region_name=REGION,
        aws_access_key_id="an-operator",
        aws_secret_access_key="its-secret",
    )


@pytest.fixture
def aws(aws_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A function's environment with the services at `aws_url`, and a cold start before and after
    the test."""
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    for name, value in {
        "AWS_ENDPOINT_URL": aws_url,
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws_url,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "an-access-key",
        "AWS_SECRET_ACCESS_KEY": "its-secret",
    }.items():
        monkeypatch.setenv(name, value)
    # It keeps the credentials of its first client.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    s3_client.s3.cache_clear()
    forget_secrets()
    yield
    s3_client.s3.cache_clear()
    forget_secrets()
