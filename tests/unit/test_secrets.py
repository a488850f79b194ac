"""masstock.services.secret_store: Secrets Manager without boto3: signature, cache and failures."""

import json
import re
import string
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import botocore.auth
import botocore.session
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st

from masstock.services import https, secret_store
from masstock.services.secret_store import (
    CACHE_SECONDS,
    SecretUnavailable,
    forget_secrets,
    read_secret,
)
from tests.support.web import Web

VALUE = "postgresql://masstock_api:a-password@db.example/masstock"

# --- the signature ---------------------------------------------------------------------------

key_part = st.text(string.ascii_letters + string.digits + "/+=", min_size=1, max_size=128)
regions = st.sampled_from(["us-east-1", "eu-west-3", "ap-southeast-2", "us-gov-west-1"])
times = st.datetimes(datetime(2015, 8, 30), datetime(2999, 1, 1))  # noqa: DTZ001 - the strategy's


@given(
    secret_id=st.text(min_size=1, max_size=200),
    region=regions,
    host=st.from_regex(r"[a-z0-9.-]{1,60}(:[0-9]{2,5})?", fullmatch=True),
    access_key=st.text(string.ascii_uppercase + string.digits, min_size=16, max_size=32),
    secret_key=key_part,
    token=st.none() | key_part,
    now=times,
)
@example("masstock/dev", "us-east-1", "host", "A" * 20, "s" * 40, "", datetime(2026, 1, 1))  # noqa: DTZ001
def test_the_signature_equals_botocores(
    secret_id: str,
    region: str,
    host: str,
    access_key: str,
    secret_key: str,
    token: str | None,
    now: datetime,
) -> None:
    body = json.dumps({"SecretId": secret_id}).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", access_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", secret_key)
        patch.delenv("AWS_SESSION_TOKEN", raising=False)
        if token is not None:
            patch.setenv("AWS_SESSION_TOKEN", token)
        patch.setattr(botocore.auth, "get_current_datetime", lambda: now)
        ours = secret_store._sign(host, region, body, now.replace(tzinfo=UTC))
        theirs = AWSRequest(
            "POST",
            f"https://{host}/",
            headers={name: ours[name] for name in ("content-type", "host", "x-amz-target")},
            data=body,
        )
        credentials = Credentials(access_key, secret_key, token)
        botocore.auth.SigV4Auth(credentials, "secretsmanager", region).add_auth(theirs)
    expected = {name.lower(): value for name, value in theirs.headers.items()}
    assert ours == expected


# --- a real service --------------------------------------------------------------------------


class Clock:
    """The clock of the cache."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(secret_store, "time", clock)
    return clock


@pytest.fixture
def secret(aws: None, secrets_manager: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    """The id of a secret with the value VALUE."""
    name = re.sub(r"[^\w/]", "-", f"masstock/{request.node.name}")
    secrets_manager.create_secret(Name=name, SecretString=VALUE)
    yield name
    secrets_manager.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def test_a_secret_is_read_by_its_name_or_its_arn(secret: str, secrets_manager: Any) -> None:
    assert read_secret(secret) == VALUE
    assert read_secret(secrets_manager.describe_secret(SecretId=secret)["ARN"]) == VALUE


@pytest.mark.parametrize("value", ["x", "é 日本 🦊", '{"current": "k1"}', "x" * 65_536, "\n\t\x00"])
def test_a_value_arrives_as_it_was_stored(secret: str, secrets_manager: Any, value: str) -> None:
    secrets_manager.put_secret_value(SecretId=secret, SecretString=value)
    assert read_secret(secret) == value


def test_a_secret_is_fetched_again_after_five_minutes(
    secret: str, secrets_manager: Any, clock: Clock
) -> None:
    assert read_secret(secret) == VALUE
    secrets_manager.put_secret_value(SecretId=secret, SecretString="rotated")
    clock.now += CACHE_SECONDS - 1
    assert read_secret(secret) == VALUE
    clock.now += 2
    assert read_secret(secret) == "rotated"


def test_a_forgotten_secret_is_fetched_again_at_once(secret: str, secrets_manager: Any) -> None:
    assert read_secret(secret) == VALUE
    secrets_manager.put_secret_value(SecretId=secret, SecretString="rotated")
    forget_secrets()
    assert read_secret(secret) == "rotated"


def test_each_secret_has_its_own_value(secret: str, secrets_manager: Any) -> None:
    other = secrets_manager.create_secret(Name=f"{secret}-2", SecretString="another")["ARN"]
    assert [read_secret(secret), read_secret(other), read_secret(secret)] == [
        VALUE,
        "another",
        VALUE,
    ]
    secrets_manager.delete_secret(SecretId=other, ForceDeleteWithoutRecovery=True)


def test_a_missing_secret_is_named_and_not_cached(aws: None, secrets_manager: Any) -> None:
    with pytest.raises(SecretUnavailable, match="masstock/late: ResourceNotFoundException"):
        read_secret("masstock/late")
    secrets_manager.create_secret(Name="masstock/late", SecretString=VALUE)
    assert read_secret("masstock/late") == VALUE
    secrets_manager.delete_secret(SecretId="masstock/late")
    forget_secrets()
    with pytest.raises(SecretUnavailable, match="masstock/late: InvalidRequestException"):
        read_secret("masstock/late")


def test_a_binary_secret_is_refused(aws: None, secrets_manager: Any) -> None:
    secrets_manager.create_secret(Name="masstock/binary", SecretBinary=b"\x00\xff")
    with pytest.raises(SecretUnavailable, match="masstock/binary"):
        read_secret("masstock/binary")


# --- a service that fails --------------------------------------------------------------------


FAILURES: dict[str, Callable[[Web], None]] = {
    "access denied": lambda web: web.answer({"__type": "AccessDeniedException"}, 400),
    "500 with HTML": lambda web: web.answer(b"<html>", 500),
    "503 with a list": lambda web: web.answer([], 503),
    "200 with HTML": lambda web: web.answer(b"<html>"),
    "200 with no text": lambda web: web.answer(b"\xff\xfe"),
    "200 with nothing": lambda web: web.answer(b""),
    "200 with no secret": lambda web: web.answer({"Name": "masstock/dev"}),
    "200 with null": lambda web: web.answer(None),
    "200 with a list": lambda web: web.answer([VALUE]),
    "200 cut short": lambda web: web.answer({"SecretString": VALUE}, length=9999),
    "stalls": Web.stall,
    "hangs up": Web.hang_up,
    "answers without HTTP": Web.babble,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("failure", FAILURES)
def test_every_failure_is_one_exception_and_the_next_read_tries_again(
    aws: None, web: Web, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", web.url)
    monkeypatch.setattr(secret_store, "TIMEOUT_SECONDS", 0.3)
    FAILURES[failure](web)
    with pytest.raises(SecretUnavailable, match=r"^masstock/dev: ") as raised:
        read_secret("masstock/dev")
    told = "".join(traceback.format_exception(raised.value))
    assert VALUE not in told
    assert "its-secret" not in told
    web.answer({"SecretString": VALUE})
    web.released.set()
    monkeypatch.setattr(secret_store, "TIMEOUT_SECONDS", 5)
    assert read_secret("masstock/dev") == VALUE
    assert len(web.requests) == 2


def test_a_closed_port_raises_the_same_exception(
    aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")
    with pytest.raises(SecretUnavailable, match="masstock/dev: ConnectionRefusedError"):
        read_secret("masstock/dev")


def test_the_host_is_the_one_that_botocore_asks_in_every_region() -> None:
    session: Any = botocore.session.Session()
    resolver = session._get_internal_component("endpoint_resolver")
    regions = {
        region
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("secretsmanager", partition)
    }
    assert {"us-east-1", "af-south-1", "cn-north-1", "us-gov-west-1"} <= regions
    for region in regions:
        host = f"secretsmanager.{region}.{secret_store._domain(region)}"
        assert host == resolver.construct_endpoint("secretsmanager", region)["hostname"]


def test_without_an_endpoint_the_regions_one_is_called_over_tls(
    aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is replaced here, because tests must not call AWS."""
    asked: list[str] = []

    def connect(host: str, **_: Any) -> Any:
        asked.append(host)
        return SimpleNamespace(request=refuse, close=lambda: None)

    def refuse(*_: Any) -> None:
        raise ConnectionRefusedError

    monkeypatch.delenv("AWS_ENDPOINT_URL_SECRETS_MANAGER")
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    monkeypatch.setattr(https, "HTTPSConnection", connect)
    with pytest.raises(SecretUnavailable):
        read_secret("masstock/dev")
    assert asked == ["secretsmanager.eu-west-3.amazonaws.com"]
