"""Webhooks as the Standard Webhooks specification describes them
(https://www.standardwebhooks.com): signed, with a timestamp, and sent only to public addresses."""

import base64
import hmac
import http.client
import io
import ipaddress
import socket
import string
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, urlsplit
from uuid import UUID

from masstock.services.https import default_tls_context

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

# The limit of a whole attempt, from the name's resolution to the answer's last header.
TIMEOUT_SECONDS = 10
# `check_url` accepts a name that does not resolve in this time; `send` checks it again.
RESOLVE_SECONDS = 3
USER_AGENT = "MasStock-Webhooks/1"
# What a path keeps as it is. `quote` writes other characters as %XX.
PRINTABLE = string.punctuation
# Ranges of the IANA special-purpose registries and withdrawn ranges that `is_global` of Python 3.13
# does not exclude: site-local addresses, two notations of IPv4 addresses (private ones included),
# segment routing inside a network (RFC 9602), documentation (RFC 9637), relays of 6to4 (RFC 7526).
NOT_GLOBAL = [
    ipaddress.ip_network(text)
    for text in (
        "fec0::/10",
        "::/96",
        "::ffff:0:0:0/96",
        "5f00::/16",
        "3fff::/20",
        "192.88.99.0/24",
    )
]
# Top-level domains without public names: from RFC 6761 and 6762, ICANN's `internal`, and two that
# routers use. Inside a network they can name any host.
LOCAL_DOMAINS = {"internal", "lan", "local", "localdomain", "localhost"}
NOT_PUBLIC = "The webhook address is private, link-local or reserved."


class WebhookRefused(Exception):
    """The webhook address may not be called. The message names the reason; callers of the API see
    it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The receiver's answer: a status, or the reason why there is no status."""

    status: int | None
    error: str | None

    @property
    def delivered(self) -> bool:
        """True if the receiver accepted the webhook."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def final(self) -> bool:
        """True if no further attempt follows: accepted, or 410 Gone."""
        return self.delivered or self.status == 410


def client_secret(master: str, client_id: UUID, version: int) -> str:
    """The secret shared with a client, in the format of the specification's libraries. Derived
    from the master secret each time, so it is not stored."""
    message = f"webhook|{client_id}|{version}".encode()
    return "whsec_" + base64.b64encode(hmac.digest(master.encode(), message, "sha256")).decode()


def signatures(secrets: Sequence[str], message_id: str, timestamp: int, body: str) -> str:
    """The `webhook-signature` header: for each secret `v1,` and the HMAC-SHA256 of id, time and
    body, separated by spaces. A receiver accepts the delivery if one of them is right."""
    message = f"{message_id}.{timestamp}.{body}".encode()
    keys = (base64.b64decode(secret.removeprefix("whsec_")) for secret in secrets)
    signed = (base64.b64encode(hmac.digest(key, message, "sha256")).decode() for key in keys)
    return " ".join(f"v1,{signature}" for signature in signed)


def check_url(url: str, *, allow_private: bool) -> None:
    """Raises WebhookRefused if `send` would refuse the URL. A name that does not resolve now is
    accepted: `send` checks it again."""
    parts = _parts(url, allow_private=allow_private)
    try:
        _public_addresses(parts, allow_private=allow_private)
    except OSError:
        return


def send(
    url: str, body: str, *, secrets: Sequence[str], message_id: str, allow_private: bool
) -> Answer:
    """Makes one attempt of at most TIMEOUT_SECONDS, without following redirects. A failure is an
    Answer too."""
    ends_at = time.monotonic() + TIMEOUT_SECONDS
    timestamp = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signatures(secrets, message_id, timestamp, body),
    }
    try:
        parts = _parts(url, allow_private=allow_private)
        addresses = _public_addresses(parts, allow_private=allow_private)
        # Connect to a checked address: the name could resolve to another one now.
        return Answer(_post(parts, addresses, body, headers, ends_at), None)
    except WebhookRefused as error:
        return Answer(None, str(error))
    except TimeoutError:
        return Answer(None, f"No answer within {TIMEOUT_SECONDS} s.")
    except (OSError, http.client.HTTPException) as error:
        return Answer(None, f"The connection failed ({type(error).__name__}).")


def _parts(url: str, *, allow_private: bool) -> SplitResult:
    try:
        parts = urlsplit(url)
        # Encoding raises ValueError for an empty or overlong label.
        usable = bool((parts.hostname or "").encode("idna")) and parts.port != 0
    except ValueError as error:
        raise WebhookRefused("The webhook address is not a URL.") from error
    if not usable or parts.username is not None or parts.fragment:
        raise WebhookRefused("The webhook address needs a host, and no user and no fragment.")
    if not allow_private and _is_local(parts.hostname or ""):
        raise WebhookRefused(NOT_PUBLIC)
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        raise WebhookRefused("The webhook address must begin with https://.")
    return parts


def _is_local(host: str) -> bool:
    """True for a name of a private network: below LOCAL_DOMAINS, or with a single label."""
    labels = host.rstrip(".").lower().split(".")
    if len(labels) == 1:
        return ":" not in host and not labels[0].isdigit()
    return labels[-1] in LOCAL_DOMAINS


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _public_addresses(parts: SplitResult, *, allow_private: bool) -> list[str]:
    """The host's addresses. Raises WebhookRefused if any of them is private, OSError if the name
    does not resolve."""
    pool = ThreadPoolExecutor(1)
    lookup = pool.submit(socket.getaddrinfo, parts.hostname, _port(parts), type=socket.SOCK_STREAM)
    # The resolver has no timeout, so the thread may outlive this call.
    pool.shutdown(wait=False)
    addresses = [str(found[4][0]) for found in lookup.result(RESOLVE_SECONDS)]
    if not allow_private and not all(_is_public(address) for address in addresses):
        raise WebhookRefused(NOT_PUBLIC)
    return addresses


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if _is_not_global(address):
            return False
        # IPv4 addresses inside IPv6: ::ffff:10.0.0.1, 2002:0a00:1::, 64:ff9b::10.0.0.1.
        inner = address.ipv4_mapped or address.sixtofour or _translated(address)
        if inner is not None:
            address = inner
    return address.is_global and not address.is_multicast and not _is_not_global(address)


def _is_not_global(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return any(address in network for network in NOT_GLOBAL)


def _translated(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in ipaddress.IPv6Network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _post(
    parts: SplitResult,
    addresses: Sequence[str],
    body: str,
    headers: dict[str, str],
    ends_at: float,
) -> int:
    host = parts.hostname or ""
    connection = http.client.HTTPConnection(host, _port(parts))
    sock = _connect(addresses, _port(parts), ends_at)
    try:
        if parts.scheme == "https":
            connection.default_port = 443  # keeps the default port out of the Host header
            # The timeout covers the whole handshake, not each of its packets.
            sock.settimeout(_seconds_until(ends_at))
            sock = default_tls_context().wrap_socket(sock, server_hostname=host)
        connection.sock = _TimedSocket(sock, ends_at)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        # A row inserted past the api can have any text. HTTP has ASCII alone.
        path = quote(path, safe=PRINTABLE)
        connection.request("POST", path, body.encode(), headers)
        # The body of the answer is not read, because it could be endless.
        with connection.getresponse() as response:
            return response.status
    finally:
        connection.close()
        sock.close()


def _connect(addresses: Sequence[str], port: int, ends_at: float) -> socket.socket:
    """A connection to the first address that accepts one. Each address has an equal part of the
    time that is left, so that a dead one does not use up the others' time."""
    *others, last = addresses
    for count, address in enumerate(others):
        seconds = _seconds_until(ends_at) / (len(addresses) - count)
        with suppress(OSError):
            return socket.create_connection((address, port), timeout=seconds)
    return socket.create_connection((last, port), timeout=_seconds_until(ends_at))


def _seconds_until(ends_at: float) -> float:
    """Raises TimeoutError if `ends_at` has passed."""
    seconds = ends_at - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


class _TimedSocket:
    """What http.client uses of a socket. All reads and writes together end at `ends_at`, while a
    socket's own timeout begins again with each byte. Raises TimeoutError."""

    def __init__(self, sock: socket.socket, ends_at: float) -> None:
        self._sock = sock
        self._ends_at = ends_at

    def sendall(self, content: "ReadableBuffer") -> None:
        left = memoryview(content)
        while left:
            self._sock.settimeout(_seconds_until(self._ends_at))
            left = left[self._sock.send(left) :]

    def receive_into(self, buffer: "WriteableBuffer") -> int:
        self._sock.settimeout(_seconds_until(self._ends_at))
        return self._sock.recv_into(buffer)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """http.client closes the connection before its caller reads the answer. `_post` closes the
        socket."""


class _Reader(io.RawIOBase):
    def __init__(self, sock: _TimedSocket) -> None:
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        return self._sock.receive_into(buffer)
