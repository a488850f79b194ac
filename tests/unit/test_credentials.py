"""Credentials as Lambda gives them with SnapStart: no key variables, but an endpoint."""

import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from local.aws.resources import REGION
from masstock.services import credentials, secret_store
from masstock.services.credentials import CredentialsUnavailable, read_credentials
from masstock.services.secret_store import SecretUnavailable, read_secret
from masstock.services.storage import ImageDetails, Results, Uploads
from tests.support.web import Web

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
TOKEN = "the-token-of-the-endpoint"
KEY_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@dataclass
class Lambda:
    """The credentials endpoint of a restored function, and Secrets Manager and S3 behind it. Each
    answer of the endpoint has other keys, which live for `lifetime`."""

    web: Web
    lifetime: timedelta = timedelta(hours=6)
    failing: bool = False
    given: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.web.behave = self.answer

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        if request.path == "/credentials?v=1":
            self.web.answer(*self.credentials(request))
        elif request.headers.get("x-amz-target"):
            self.web.answer({"SecretString": f"read by {signer(request.headers)}"})
        else:
            self.web.answer(b"")
        behave, self.web.behave = self.web.behave, self.answer
        behave(request)

    def credentials(self, request: BaseHTTPRequestHandler) -> tuple[Any, int]:
        if request.headers.get("Authorization") != TOKEN or request.command != "GET":
            return {"message": "who are you?"}, 403
        if self.failing:
            return {"message": "try later"}, 503
        self.given.append(f"ASIA{len(self.given) + 1}")
        expires_at = datetime.now(UTC) + self.lifetime
        answer = {
            "AccessKeyId": self.given[-1],
            "SecretAccessKey": "the-secret-key",
            "Token": f"session-of-{self.given[-1]}",
            "Expiration": expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return answer, 200

    def sent(self) -> list[Any]:
        """Requests to Secrets Manager and S3."""
        return [request for request in self.web.requests if "/credentials" not in request.path]


def signer(headers: Any) -> str:
    """The access key of a signed request. Its session token must be of the same credentials."""
    key = headers["Authorization"].partition("Credential=")[2].partition("/")[0]
    assert headers["X-Amz-Security-Token"] == f"session-of-{key}"
    return key


@pytest.fixture
def restored(aws: None, web: Web, monkeypatch: pytest.MonkeyPatch) -> Lambda:
    for name in KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{web.url}/credentials?v=1")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", TOKEN)
    # Nothing of the machine that runs the tests.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", web.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", web.url)
    return Lambda(web)


# --- secrets ----------------------------------------------------------------------------------


def test_a_secret_is_read_without_key_variables(restored: Lambda) -> None:
    assert read_secret("masstock/dev") == "read by ASIA1"
    assert read_secret("masstock/other") == "read by ASIA1"
    # Asked once: the credentials are valid for hours.
    assert restored.given == ["ASIA1"]


def test_the_token_may_be_in_a_file_that_changes(
    restored: Lambda, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "an outdated token")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(file))
    assert read_secret("masstock/dev") == "read by ASIA1"
    file.write_text("another token")
    secret_store.forget_secrets()
    with pytest.raises(SecretUnavailable, match=r"^masstock/dev: credentials endpoint: 403$"):
        read_secret("masstock/dev")


def test_key_variables_win_as_in_boto3(restored: Lambda, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(KEY_VARIABLES, ("AKIA", "secret", "session-of-AKIA"), strict=True):
        monkeypatch.setenv(name, value)
    assert read_secret("masstock/dev") == "read by AKIA"
    # Empty variables are as good as none.
    for name in KEY_VARIABLES:
        monkeypatch.setenv(name, "")
    secret_store.forget_secrets()
    assert read_secret("masstock/dev") == "read by ASIA1"


@pytest.mark.parametrize("minutes", [-60, 0, 1, 14])
def test_credentials_are_refreshed_before_they_expire(restored: Lambda, minutes: int) -> None:
    restored.lifetime = timedelta(minutes=minutes)
    assert [read_secret("masstock/1"), read_secret("masstock/2")] == [
        "read by ASIA1",
        "read by ASIA2",
    ]


def test_a_failed_refresh_keeps_credentials_that_are_still_valid(restored: Lambda) -> None:
    restored.lifetime = timedelta(minutes=10)
    assert read_secret("masstock/1") == "read by ASIA1"
    restored.failing = True
    assert read_secret("masstock/2") == "read by ASIA1"
    restored.failing = False
    restored.lifetime = timedelta(minutes=-1)
    assert read_secret("masstock/3") == "read by ASIA2"
    restored.failing = True
    with pytest.raises(SecretUnavailable, match=r"^masstock/4: credentials endpoint: 503$"):
        read_secret("masstock/4")


def test_refused_credentials_are_not_used_again(restored: Lambda) -> None:
    """They may have expired early, or the clock of this machine may be wrong."""
    assert read_secret("masstock/1") == "read by ASIA1"
    web = restored.web
    web.answer({"__type": "ExpiredTokenException"}, 400)
    with pytest.raises(SecretUnavailable, match="ExpiredTokenException"):
        read_secret("masstock/2")
    web.behave = restored.answer
    assert read_secret("masstock/2") == "read by ASIA2"


FAILURES: dict[str, Callable[[Web], None]] = {
    "403": lambda web: web.answer({"AccessKeyId": "leak"}, 403),
    "HTML": lambda web: web.answer(b"<html>"),
    "empty": lambda web: web.answer(b""),
    "a list": lambda web: web.answer(["leak"]),
    "no key": lambda web: web.answer({"Expiration": "2999-01-01T00:00:00Z"}),
    "no date": lambda web: web.answer(
        {"AccessKeyId": "leak", "SecretAccessKey": "leak", "Token": "leak", "Expiration": "soon"}
    ),
    "null": lambda web: web.answer(None),
    "hangs up": Web.hang_up,
    "stalls": Web.stall,
    "speaks no HTTP": Web.babble,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failing_endpoint_is_a_secret_that_cannot_be_read(
    restored: Lambda, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    monkeypatch.setattr(credentials, "TIMEOUT_SECONDS", 0.3)
    FAILURES[failure](restored.web)
    with pytest.raises(SecretUnavailable, match=r"^masstock/dev: credentials endpoint: ") as raised:
        read_secret("masstock/dev")
    told = "".join(traceback.format_exception(raised.value))
    assert "leak" not in told
    assert TOKEN not in told
    restored.web.released.set()
    monkeypatch.setattr(credentials, "TIMEOUT_SECONDS", 5)
    restored.web.behave = restored.answer
    assert read_secret("masstock/dev") == "read by ASIA1"


def test_a_token_that_is_no_header_value_is_not_sent_and_not_told(
    restored: Lambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", f"{TOKEN}\r\nX-Injected: 1")
    with pytest.raises(SecretUnavailable) as raised:
        read_secret("masstock/dev")
    assert TOKEN not in "".join(traceback.format_exception(raised.value))
    assert restored.web.requests == []


@pytest.mark.parametrize(
    "endpoint", ["http://credentials.example/", "http://10.0.0.1/", "ftp://127.0.0.1/", "/relative"]
)
def test_the_token_is_not_sent_over_a_network_in_plain_text(
    restored: Lambda, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", endpoint)
    with pytest.raises(CredentialsUnavailable, match="neither local nor https"):
        read_credentials()


def test_without_any_credentials_the_reason_is_said(
    restored: Lambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    with pytest.raises(SecretUnavailable, match=r"^masstock/dev: no credentials$"):
        read_secret("masstock/dev")


# --- boto3 signs with the same ----------------------------------------------------------------


def test_stored_objects_are_signed_with_the_endpoints_credentials(restored: Lambda) -> None:
    Results("a-bucket").put(
        "any/0_0.png",
        PNG,
        "image/png",
        processing_time_ms=1,
        cost=None,
        attempt=1,
        asked="this",
        details=ImageDetails("a-model", 1024, 1024, None, 1, False),
    )
    [request] = restored.sent()
    assert signer(request.headers) == "ASIA1"


@pytest.mark.parametrize(("lifetime", "signers"), [(360, {"ASIA1"}), (5, {"ASIA2", "ASIA3"})])
def test_upload_forms_and_urls_are_signed_with_credentials_that_live(
    restored: Lambda, lifetime: int, signers: set[str]
) -> None:
    """boto3 refreshes by itself. The client is made once and kept."""
    restored.lifetime = timedelta(minutes=lifetime)
    seen = set()
    for form in (
        Uploads("a-bucket").new_image_upload(uuid4(), uuid4(), "image/png") for _ in range(2)
    ):
        fields: Any = form["fields"]
        key = fields["x-amz-credential"].partition("/")[0]
        assert fields["x-amz-security-token"] == f"session-of-{key}"
        assert f"/{REGION}/s3/" in fields["x-amz-credential"]
        seen.add(key)
    assert seen == signers
    url = Results("a-bucket").signed_url("any/0_0.png")
    assert f"X-Amz-Credential={restored.given[-1]}" in url


def test_boto3_and_we_send_the_endpoint_the_same_question(restored: Lambda) -> None:
    read_secret("masstock/dev")
    Uploads("a-bucket").new_prompts_upload(uuid4(), uuid4())
    ours, theirs = [r for r in restored.web.requests if "/credentials" in r.path]
    assert ours.path == theirs.path
    for name in ("Authorization", "Accept"):
        assert ours.headers[name] == theirs.headers[name]
    assert json.loads(ours.body or b"null") is None
