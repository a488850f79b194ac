"""HTTP connections with the standard library."""

import ssl
from functools import cache
from http.client import HTTPConnection, HTTPSConnection
from urllib.parse import SplitResult


@cache
def default_tls_context() -> ssl.SSLContext:
    """Verifies servers by the authorities of this system. Made once per process, because reading
    the authorities takes several times as long as the rest of a connection."""
    return ssl.create_default_context()


def connect_to(url: SplitResult, timeout_seconds: float) -> HTTPConnection:
    """A connection to the URL's host, not yet opened. Only the local stack uses plain http."""
    if url.scheme == "https":
        return HTTPSConnection(url.netloc, timeout=timeout_seconds, context=default_tls_context())
    return HTTPConnection(url.netloc, timeout=timeout_seconds)
