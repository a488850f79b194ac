"""Pages of other origins that may call this API, as the CORS protocol tells browsers. Here and not
in API Gateway, whose own answers to preflights no local stack and no test would see."""

from collections.abc import Mapping

METHODS = "GET, HEAD, POST, PATCH, DELETE"
REQUEST_HEADERS = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match"
RESPONSE_HEADERS = "ETag, Location, Retry-After, X-Request-Id, Allow, WWW-Authenticate"
# Browsers keep the answer to a preflight for so long, or for less.
PREFLIGHT_SECONDS = "7200"


def allow_origin(allowed: str, origin: str | None) -> Mapping[str, str]:
    """Headers of every answer; none where nobody is allowed. `allowed` lists origins separated by
    commas, or is `*`. Tokens travel in a header, so no cookie has to be let through."""
    if allowed == "*":
        return {"Access-Control-Allow-Origin": "*", **_exposed()}
    origins = {one.strip() for one in allowed.split(",") if one.strip()}
    if not origins:
        return {}
    # A cache must not answer one origin with what another one got.
    vary = {"Vary": "Origin"}
    if origin not in origins:
        return vary
    return {"Access-Control-Allow-Origin": origin, **vary, **_exposed()}


def _exposed() -> Mapping[str, str]:
    return {"Access-Control-Expose-Headers": RESPONSE_HEADERS}


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a browser asks on behalf of a page, before it sends the page's request."""
    return method == "OPTIONS" and "access-control-request-method" in headers


def allow_request() -> Mapping[str, str]:
    """Further headers of the answer to an allowed preflight."""
    return {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": REQUEST_HEADERS,
        "Access-Control-Max-Age": PREFLIGHT_SECONDS,
    }
