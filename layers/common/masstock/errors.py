"""Everything that can go wrong, by name: the state machine retries by these class names, callers
see the codes. Nothing here knows HTTP."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple


class FieldError(NamedTuple):
    """One offending place in a request: a JSON pointer (or a parameter's name), what to fix."""

    pointer: str
    detail: str


class AppError(Exception):
    """Something went wrong."""

    code: ClassVar[str]

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or (self.__doc__ or "").strip()
        super().__init__(self.detail)


# --- a caller's mistakes -------------------------------------------------------------------


class Unauthenticated(AppError):
    """A valid bearer token is required."""

    code = "unauthenticated"


class AccountInactive(AppError):
    """This account, or the client it belongs to, is suspended or deleted."""

    code = "account_inactive"


class Forbidden(AppError):
    """You may not do this."""

    code = "forbidden"


ADMINS_ONLY = "Only administrators may do this."


class NotFound(AppError):
    """There is no such resource, or it is not yours."""

    code = "not_found"


class MethodNotAllowed(AppError):
    """This resource does not support the method."""

    code = "method_not_allowed"

    def __init__(self, allowed: Sequence[str]) -> None:
        self.allowed = allowed
        super().__init__(f"This resource supports {', '.join(allowed)}.")


class MalformedJson(AppError):
    """The body is not valid JSON."""

    code = "malformed_json"


class UnsupportedMediaType(AppError):
    """Send the body as application/json."""

    code = "unsupported_media_type"


class BodyTooLarge(AppError):
    """The body is larger than 4 MB."""

    code = "body_too_large"


class InvalidCursor(AppError):
    """The cursor is not one that this list returned; start again without it."""

    code = "invalid_cursor"


class ValidationFailed(AppError):
    """The request does not have the form that this operation takes."""

    code = "validation_failed"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = errors
        super().__init__()


class IdempotencyKeyReused(AppError):
    """This Idempotency-Key was used with another request body."""

    code = "idempotency_key_reused"


class PreconditionFailed(AppError):
    """The resource has changed since you read it; read it again."""

    code = "precondition_failed"


class Conflict(AppError):
    """The resource is not in a state that allows this, or another one has the same unique value."""

    code = "conflict"


class BudgetExceeded(AppError):
    """The estimate does not fit into what is left of the client's monthly budget."""

    code = "budget_exceeded"


# --- our own parts failing ------------------------------------------------------------------


class InternalError(AppError):
    """Something failed on our side; it has been recorded."""

    code = "internal_error"


class DatabaseUnavailable(AppError):
    """The database cannot be reached right now."""

    code = "database_unavailable"


class OutcomeUnknown(AppError):
    """The connection was lost while saving: the change may or may not have been made."""

    code = "outcome_unknown"


class StorageUnavailable(AppError):
    """Object storage cannot be reached right now."""

    code = "storage_unavailable"


class IdentityProviderUnavailable(AppError):
    """The identity provider's keys cannot be fetched right now."""

    code = "identity_provider_unavailable"


# --- outcomes of a prompt or an execution, recorded on its row -------------------------------


class Outcome(AppError):
    """A prompt got no image."""

    # Whether submitting the same prompt again could succeed.
    retryable: ClassVar[bool] = False
    # How often the same run tries again by itself.
    max_retries: ClassVar[int] = 0
    # Whether the remaining prompts of the execution would fail the same way.
    stops_execution: ClassVar[bool] = False


class ProviderThrottled(Outcome):
    """The image model asked us to slow down."""

    code = "provider_rate_limited"
    retryable = True
    max_retries = 8

    def __init__(self, detail: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class ProviderUnavailable(Outcome):
    """The image model could not be reached or failed."""

    code = "provider_unavailable"
    retryable = True
    max_retries = 3


class ProviderTimeout(Outcome):
    """The image model did not answer in time."""

    code = "provider_timeout"
    retryable = True
    max_retries = 3


class NoImage(Outcome):
    """The image model answered without an image."""

    code = "no_image"
    retryable = True
    max_retries = 1


class InvalidApiKey(Outcome):
    """The image model refused the API key."""

    code = "invalid_api_key"
    stops_execution = True


class QuotaExhausted(Outcome):
    """The daily quota of the API key is used up."""

    code = "quota_exhausted"
    retryable = True
    stops_execution = True


class InvalidRequest(Outcome):
    """The image model refused the request as invalid."""

    code = "invalid_request"


class ModelUnavailable(Outcome):
    """The image model named by the workflow does not exist or is not available to this key."""

    code = "model_unavailable"


class UnknownWorkflowType(Outcome):
    """The workflow's type is unknown here; nothing was painted."""

    code = "unknown_workflow_type"
    stops_execution = True


class PromptBlocked(Outcome):
    """The image model blocked the prompt."""

    code = "prompt_blocked"


class ContentBlocked(Outcome):
    """The image model blocked what it painted."""

    code = "content_blocked"


class Recitation(Outcome):
    """The image model withheld an image too close to an existing work."""

    code = "recitation"


class InvalidImage(Outcome):
    """The image model returned no PNG, JPEG or WebP of at most 10 MB."""

    code = "invalid_image"


class ReferenceGone(Outcome):
    """A reference image was deleted or replaced after submission."""

    code = "reference_gone"


class ApiKeyUnreadable(Outcome):
    """The stored API key cannot be opened; submit again with the key."""

    code = "api_key_unreadable"
    stops_execution = True


class Cancelled(Outcome):
    """The execution was cancelled."""

    code = "cancelled"
    retryable = True


class DeadlineExceeded(Outcome):
    """The execution did not end before its deadline."""

    code = "deadline_exceeded"
    retryable = True


class NotFinished(Outcome):
    """The prompt was given up after repeated failures on our side."""

    code = "not_finished"
    retryable = True
    max_retries = 3


def outcomes() -> dict[str, type[Outcome]]:
    """Every recorded outcome by its code."""
    return {outcome.code: outcome for outcome in Outcome.__subclasses__()}


def retryable_codes() -> list[str]:
    """Codes of outcomes that submitting again could change."""
    return sorted(code for code, outcome in outcomes().items() if outcome.retryable)
