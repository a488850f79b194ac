"""Webhooks: receivers can verify them, and private addresses are not called."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from masstock.services import webhooks
from tests.support.receiver import Receiver, dribbling, listening

SECRET = webhooks.client_secret("master", UUID(int=1), 1)
BODY = '{"type":"execution.completed","data":{"id":"1"}}'


@pytest.fixture
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    with listening() as receiver:
        receiver.status, receiver.location = getattr(request, "param", (200, None))
        yield receiver


def send(url: str, *, allow_private: bool = True) -> webhooks.Answer:
    return webhooks.send(
        url, BODY, secrets=[SECRET], message_id="msg_1", allow_private=allow_private
    )


def test_the_official_library_verifies_our_signature(receiver: Receiver) -> None:
    answer = send(receiver.url + "?source=masstock")
    assert (answer.status, answer.error, answer.delivered) == (200, None, True)
    [(path, headers, body)] = receiver.received
    assert path == "/hook?source=masstock"
    assert headers["Host"] == f"127.0.0.1:{receiver.port}"
    assert Webhook(SECRET).verify(body, headers) == json.loads(BODY)
    assert headers["webhook-id"] == "msg_1"


@pytest.mark.parametrize(
    "other",
    [
        webhooks.client_secret("master", UUID(int=2), 1),
        webhooks.client_secret("master", UUID(int=1), 2),
        webhooks.client_secret("another master", UUID(int=1), 1),
    ],
    ids=["another client", "the next version", "another master"],
)
def test_another_secret_does_not_verify(receiver: Receiver, other: str) -> None:
    send(receiver.url)
    [(_, headers, body)] = receiver.received
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(body, headers)


@pytest.mark.parametrize("receiver", [(302, "http://127.0.0.1:9/")], indirect=True)
def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    answer = send(receiver.url)
    assert (answer.status, answer.delivered, answer.final) == (302, False, False)
    assert len(receiver.received) == 1


@pytest.mark.parametrize("receiver", [(410, None)], indirect=True)
def test_the_status_gone_is_final(receiver: Receiver) -> None:
    answer = send(receiver.url)
    assert (answer.delivered, answer.final) == (False, True)


def test_a_closed_port_is_a_failed_delivery_not_an_exception(receiver: Receiver) -> None:
    receiver.close()
    answer = send(receiver.url)
    assert answer.status is None
    assert answer.error == "The connection failed (ConnectionRefusedError)."


def test_a_dead_address_of_a_name_does_not_lose_the_webhook(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receiver listens on 127.0.0.1 alone."""
    resolve = socket.getaddrinfo

    def addresses(host: str, *arguments: Any, **named: Any) -> list[Any]:
        hosts = ["::1", "127.0.0.1"] if host == "hooks.example" else [host]
        return [found for name in hosts for found in resolve(name, *arguments, **named)]

    monkeypatch.setattr("socket.getaddrinfo", addresses)
    assert send(f"http://hooks.example:{receiver.port}/").delivered


def test_an_address_that_is_not_ascii_is_called_as_browsers_do(receiver: Receiver) -> None:
    """The API refuses it, but a row can be inserted past the API. An exception would end the
    deliveries to every other receiver."""
    assert send(f"http://127.0.0.1:{receiver.port}/h\u00f6ok a?b=%20\u2603&c").delivered
    assert receiver.received[0][0] == "/h%C3%B6ok%20a?b=%20%E2%98%83&c"


SLOW = {
    "silent": b"",
    "status line": b"HTTP/1.1 200 " + b"O" * 1000,
    "headers": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000,
    "interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
    # The beginning of a record of 16 KB, which never ends.
    "handshake": b"\x16\x03\x03\x40\x00" + b"\x02" * 1000,
}


@pytest.mark.parametrize("part", SLOW)
def test_an_attempt_ends_in_time_however_slowly_the_receiver_answers(
    monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """A byte every 0.3 s: a timeout of each read would begin again and again."""
    monkeypatch.setattr(webhooks, "TIMEOUT_SECONDS", 1)
    scheme = "https" if part == "handshake" else "http"
    with dribbling(SLOW[part], seconds=0.3) as slow:
        began = time.monotonic()
        answer = send(f"{scheme}://127.0.0.1:{slow.port}/hook")
        assert 0.9 < time.monotonic() - began < 2
    assert answer == webhooks.Answer(None, "No answer within 1 s.")


def test_a_receiver_that_does_not_read_does_not_delay_an_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhooks, "TIMEOUT_SECONDS", 1)
    with dribbling(b"", seconds=0.3) as slow:
        began = time.monotonic()
        answer = webhooks.send(
            f"http://127.0.0.1:{slow.port}/hook",
            "x" * 50_000_000,
            secrets=[SECRET],
            message_id="msg_1",
            allow_private=True,
        )
        assert 0.9 < time.monotonic() - began < 2
    assert answer.error == "No answer within 1 s."


def test_an_endless_body_does_not_delay_an_attempt() -> None:
    """The status is known; the rest is not read."""
    with dribbling(b"HTTP/1.1 200 OK\r\n\r\n", seconds=0) as slow:
        began = time.monotonic()
        assert send(f"http://127.0.0.1:{slow.port}/hook").delivered
        assert time.monotonic() - began < 2


PRIVATE = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "224.0.0.1",
    "255.255.255.255",
    "localhost",
    "localhost.",
    "hooks.localhost",
    "ip6-localhost",
    "postgres",
    "metadata.google.internal",
    "printer.local.",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[fe80::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::1]",
    "[fec0::1]",
    "[feff::1]",
    "[::7f00:1]",
    "[::169.254.169.254]",
    "[::ffff:0:7f00:1]",
    "192.88.99.1",
    "[2002:c058:6301::1]",
    "[::ffff:192.88.99.1]",
    "[64:ff9b::c058:6301]",
    "[3fff::1]",
    "[3fff:fff:ffff::1]",
    "[5f00::1]",
    "[2001:db8::1]",
    "[100::1]",
    "[64:ff9b:1::1]",
    "198.18.0.1",
    "203.0.113.1",
    "192.0.0.8",
    "240.0.0.1",
]


@pytest.mark.parametrize("host", PRIVATE)
def test_a_private_address_is_refused_at_submission_and_again_when_sending(host: str) -> None:
    url = f"https://{host}/hook"
    with pytest.raises(webhooks.WebhookRefused, match="private"):
        webhooks.check_url(url, allow_private=False)
    answer = send(url, allow_private=False)
    assert answer.status is None
    assert "private" in (answer.error or "")


def test_a_name_that_now_resolves_to_a_private_address_is_not_called(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the name was public at submission and is private at delivery."""
    inside = [(2, 1, 6, "", ("127.0.0.1", receiver.port))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: inside)
    answer = send(f"https://rebinding.example:{receiver.port}/", allow_private=False)
    assert "private" in (answer.error or "")
    assert receiver.received == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://93.184.215.14/", "https"),
        ("ftp://93.184.215.14/", "https"),
        ("https://", "host"),
        ("https://user:password@93.184.215.14/", "user"),
        ("https://93.184.215.14/#part", "fragment"),
        ("https://93.184.215.14:99999/", "URL"),
        ("https://[::1/", "URL"),
    ],
)
def test_an_unusable_address_is_refused_with_a_reason(url: str, reason: str) -> None:
    with pytest.raises(webhooks.WebhookRefused, match=reason):
        webhooks.check_url(url, allow_private=False)


@pytest.mark.parametrize(
    "url",
    ["https://93.184.215.14/", "https://93.184.215.14:8443/a?b=c", "https://[2606:4700::1111]/"],
)
def test_a_public_address_is_allowed(url: str) -> None:
    webhooks.check_url(url, allow_private=False)


def test_a_name_that_does_not_resolve_is_checked_at_delivery() -> None:
    url = "https://nowhere.invalid/hook"
    webhooks.check_url(url, allow_private=False)
    assert send(url, allow_private=False).status is None
