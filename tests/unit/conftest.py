"""A function's environment, for the rooms that speak to Amazon's services."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, settings

from local.aws.resources import REGION
from masstock.services import storage
from masstock.services.secret_store import forget_secrets
from tests.support.web import Web, listening

# The machine is shared: how long an example takes, or to think of one, says nothing.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def _web_server() -> Iterator[Any]:
    with listening() as server:
        yield server


@pytest.fixture
def web(_web_server: Any) -> Iterator[Web]:
    """Somebody else's web server, at the test's command."""
    _web_server.web = Web(f"http://127.0.0.1:{_web_server.server_port}")
    yield _web_server.web
    _web_server.web.released.set()


@pytest.fixture(scope="session")
def secrets_manager(aws_url: str) -> Any:
    """Amazon's own client, to lay out the secrets that we read."""
    return boto3.client(
        "secretsmanager",
        endpoint_url=aws_url,
        region_name=REGION,
        aws_access_key_id="an-operator",
        aws_secret_access_key="its-secret",
    )


@pytest.fixture
def aws(aws_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cold start with the services at `aws_url`; another one when the test ends."""
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
    storage._s3.cache_clear()
    forget_secrets()
    yield
    storage._s3.cache_clear()
    forget_secrets()
