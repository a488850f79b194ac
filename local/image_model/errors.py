"""Gemini's error answers, in the JSON shape that all Google APIs share.

The messages are Google's own, as public reports of 2025 and 2026 quote them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

TYPE = "type.googleapis.com/google.rpc."
SERVICE = "generativelanguage.googleapis.com"
BILLING_DOCS = "https://ai.google.dev/gemini-api/docs/billing"

type Json = dict[str, Any]


class GoogleError(Exception):
    """An error answer: a status, a google.rpc.Status as the body, and HTTP headers."""

    def __init__(self, code: int, status: str, message: str, details: Sequence[Json] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.headers: dict[str, str] = {}
        self.body: Json = {"error": {"code": code, "message": message, "status": status}}
        if details:
            self.body["error"]["details"] = list(details)

    def add_retry_info(self, seconds: float) -> None:
        """Add a RetryInfo, with up to nine decimals as protobuf writes a Duration."""
        text = f"{seconds:.9f}".rstrip("0").rstrip(".")
        detail = {"@type": TYPE + "RetryInfo", "retryDelay": f"{text}s"}
        self.body["error"].setdefault("details", []).append(detail)


def invalid_argument(message: str, details: Sequence[Json] = ()) -> GoogleError:
    return GoogleError(400, "INVALID_ARGUMENT", message, details)


def unregistered() -> GoogleError:
    return GoogleError(
        403,
        "PERMISSION_DENIED",
        "Method doesn't allow unregistered callers (callers without established identity). Please"
        " use API Key or other form of API consumer identity to call this API.",
    )


def _error_info(reason: str, **metadata: str) -> Json:
    return {
        "@type": TYPE + "ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": {"service": SERVICE, **metadata},
    }


# 429: quotas and money


def limited(model: str, quotas: Sequence[int]) -> GoogleError:
    """The answer above limits per minute. It names `quotas`; without any, it names no limit."""
    if quotas:
        return _exhausted(model, "GenerateRequestsPerMinutePerProjectPerModel", *map(str, quotas))
    message = "Resource has been exhausted (e.g. check quota)."
    return GoogleError(429, "RESOURCE_EXHAUSTED", message)


def _throttle(model: str) -> GoogleError:
    """Names no limit: a lane would pace itself by it."""
    return limited(model, [])


def _quota(model: str) -> GoogleError:
    return _exhausted(model, "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "100")


def _limit_zero(model: str) -> GoogleError:
    """The quota of a project without billing, for a model that has no free tier."""
    return _exhausted(model, "GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "0")


def _exhausted(model: str, quota_id: str, *quota_values: str) -> GoogleError:
    is_free = quota_id.endswith("-FreeTier")
    name = "generate_content_free_tier_requests" if is_free else "generate_requests_per_model"
    metric = f"{SERVICE}/{name}"
    violations = [
        {
            "quotaMetric": metric,
            "quotaId": quota_id,
            "quotaDimensions": {"location": "global", "model": model},
            "quotaValue": quota_value,
        }
        for quota_value in quota_values
    ]
    return GoogleError(
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details."
        f" * Quota exceeded for metric: {metric}, limit: {quota_values[0]}, model: {model}",
        [{"@type": TYPE + "QuotaFailure", "violations": violations}],
    )


def _prepay(_model: str) -> GoogleError:
    return GoogleError(
        429,
        "RESOURCE_EXHAUSTED",
        "Your prepayment credits are depleted. Please go to AI Studio at"
        " https://ai.studio/projects to manage your project and billing. Learn more at"
        f" {BILLING_DOCS}#prepay. ",
    )


def _spend_cap(_model: str) -> GoogleError:
    return GoogleError(
        429,
        "RESOURCE_EXHAUSTED",
        "Your project has exceeded its monthly spending cap. Please go to AI Studio at"
        " https://ai.studio/spend to manage your project spend cap.",
    )


# 400, 403, 404: the account, the key, the request


def _location(_model: str) -> GoogleError:
    message = "User location is not supported for the API use."
    return GoogleError(400, "FAILED_PRECONDITION", message)


def _billing(_model: str) -> GoogleError:
    return GoogleError(
        400,
        "FAILED_PRECONDITION",
        "Gemini API free tier is not available in your country. Please enable billing on your"
        " project in Google AI Studio.",
    )


def _invalid_key(_model: str) -> GoogleError:
    message = "API key not valid. Please pass a valid API key."
    localized = {"@type": TYPE + "LocalizedMessage", "locale": "en-US", "message": message}
    return invalid_argument(message, [_error_info("API_KEY_INVALID"), localized])


def _leaked_key(_model: str) -> GoogleError:
    return GoogleError(
        403,
        "PERMISSION_DENIED",
        "Your API key was reported as leaked. Please use another API key.",
    )


def _service_disabled(_model: str) -> GoogleError:
    url = f"https://console.developers.google.com/apis/api/{SERVICE}/overview?project=123456789012"
    return GoogleError(
        403,
        "PERMISSION_DENIED",
        "Generative Language API has not been used in project 123456789012 before or it is"
        f" disabled. Enable it by visiting {url} then retry. If you enabled this API recently,"
        " wait a few minutes for the action to propagate to our systems and retry.",
        [
            _error_info("SERVICE_DISABLED", consumer="projects/123456789012", activationUrl=url),
            {
                "@type": TYPE + "Help",
                "links": [{"description": "Google developers console API activation", "url": url}],
            },
        ],
    )


def _bad_request(_model: str) -> GoogleError:
    violation = {"field": "contents", "description": "Request contains an invalid argument."}
    details = [{"@type": TYPE + "BadRequest", "fieldViolations": [violation]}]
    return invalid_argument("Request contains an invalid argument.", details)


def _process_input(_model: str) -> GoogleError:
    return invalid_argument(
        "Unable to process input image. Please retry or report in"
        " https://developers.generativeai.google/guide/troubleshooting"
    )


def _not_found(model: str) -> GoogleError:
    return GoogleError(
        404,
        "NOT_FOUND",
        f"models/{model} is not found for API version v1beta, or is not supported for"
        " generateContent. Call ListModels to see the list of available models and their"
        " supported methods.",
    )


# 409, 499, 5xx: passing failures


def _conflict(_model: str) -> GoogleError:
    return GoogleError(409, "ABORTED", "The operation was aborted. Please retry your request.")


def _cancelled(_model: str) -> GoogleError:
    return GoogleError(499, "CANCELLED", "The operation was cancelled.")


def unavailable(_model: str = "") -> GoogleError:
    message = "The model is overloaded. Please try again later."
    return GoogleError(503, "UNAVAILABLE", message)


def _internal() -> GoogleError:
    message = (
        "An internal error has occurred. Please retry or report in"
        " https://developers.generativeai.google/guide/troubleshooting"
    )
    return GoogleError(500, "INTERNAL", message)


def _bad_gateway() -> GoogleError:
    return GoogleError(502, "UNAVAILABLE", "Bad Gateway")


def _deadline_exceeded() -> GoogleError:
    message = "Deadline expired before operation could complete."
    return GoogleError(504, "DEADLINE_EXCEEDED", message)


# Status of an outage → its error answer.
FAILURES: Mapping[int, Callable[[], GoogleError]] = {
    500: _internal,
    502: _bad_gateway,
    503: unavailable,
    504: _deadline_exceeded,
}


# Behaviour → the error answer to a call for a model.
ERRORS: Mapping[str, Callable[[str], GoogleError]] = {
    "throttle": _throttle,
    "quota": _quota,
    "limit_zero": _limit_zero,
    "prepay": _prepay,
    "spend_cap": _spend_cap,
    "location": _location,
    "billing": _billing,
    "invalid_key": _invalid_key,
    "leaked_key": _leaked_key,
    "service_disabled": _service_disabled,
    "bad_request": _bad_request,
    "process_input": _process_input,
    "not_found": _not_found,
    "conflict_409": _conflict,
    "cancelled_499": _cancelled,
    "unavailable": unavailable,
}
