"""Connections to other services, without a library."""

import ssl
from functools import cache
from http.client import HTTPConnection, HTTPSConnection
from urllib.parse import SplitResult


@cache
def default_tls_context() -> ssl.SSLContext:
    """Whom to believe: the authorities that this system knows. Read once a process, since reading
    them costs several times what else a connection does."""
    return ssl.create_default_context()


def connect_to(url: SplitResult, timeout_seconds: float) -> HTTPConnection:
    """A connection to the URL's host, not yet opened; plain http serves the stack on one
    machine."""
    if url.scheme == "https":
        return HTTPSConnection(url.netloc, timeout=timeout_seconds, context=default_tls_context())
    return HTTPConnection(url.netloc, timeout=timeout_seconds)
