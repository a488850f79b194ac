"""CORS headers: they tell browsers which origins may call this API. They are set here and not in
API Gateway, so that the local stack and the tests include them."""

from collections.abc import Mapping

METHODS = "GET, HEAD, POST, PATCH, DELETE"
REQUEST_HEADERS = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match"
RESPONSE_HEADERS = "ETag, Location, Retry-After, X-Request-Id, Allow, WWW-Authenticate"
# How long browsers may cache the answer to a preflight.
PREFLIGHT_SECONDS = "7200"


def allow_origin(allowed: str, origin: str | None) -> Mapping[str, str]:
    """Headers of every answer. There are none if `allowed` is empty. `allowed` is `*` or a list of
    origins separated by commas. The headers allow no cookies, because the token is in a header."""
    if allowed == "*":
        return {"Access-Control-Allow-Origin": "*", **_exposed()}
    origins = {one.strip() for one in allowed.split(",") if one.strip()}
    if not origins:
        return {}
    # A cache must not give one origin the answer for another origin.
    vary = {"Vary": "Origin"}
    if origin not in origins:
        return vary
    return {"Access-Control-Allow-Origin": origin, **vary, **_exposed()}


def _exposed() -> Mapping[str, str]:
    return {"Access-Control-Expose-Headers": RESPONSE_HEADERS}


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """True for a preflight: a browser sends it to ask if a web page may send its request."""
    return method == "OPTIONS" and "access-control-request-method" in headers


def allow_request() -> Mapping[str, str]:
    """Further headers of the answer to an allowed preflight."""
    return {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": REQUEST_HEADERS,
        "Access-Control-Max-Age": PREFLIGHT_SECONDS,
    }
