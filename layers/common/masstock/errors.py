"""Every error by name. The state machine retries by these class names; callers see the codes and
the docstrings. This module contains no HTTP statuses."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple


class FieldError(NamedTuple):
    """One mistake in a request: a JSON pointer or a parameter's name, and how to correct it."""

    pointer: str
    detail: str


class AppError(Exception):
    """Something went wrong."""

    code: ClassVar[str]

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or (self.__doc__ or "").strip()
        super().__init__(self.detail)


# --- mistakes of the caller ------------------------------------------------------------------


class Unauthenticated(AppError):
    """A valid bearer token is required."""

    code = "unauthenticated"


class AccountInactive(AppError):
    """This account, or the client it belongs to, is suspended or deleted."""

    code = "account_inactive"


class Forbidden(AppError):
    """You are not allowed to do this."""

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
    """This list did not return this cursor. Start again without a cursor."""

    code = "invalid_cursor"


class ValidationFailed(AppError):
    """The request does not match the schema of this operation."""

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
    """The resource's state does not allow this, or another resource has the same unique value."""

    code = "conflict"


class BudgetExceeded(AppError):
    """The estimate is more than the rest of the client's monthly budget."""

    code = "budget_exceeded"


# --- failures of our own parts ----------------------------------------------------------------


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


# --- outcomes of a prompt or an execution, stored in its row ----------------------------------


class Outcome(AppError):
    """A prompt got no image."""

    # True if the same prompt could succeed when it is submitted again.
    retryable: ClassVar[bool] = False
    # How often one run repeats the prompt by itself.
    max_retries: ClassVar[int] = 0
    # True if the remaining prompts of the execution would fail in the same way.
    stops_execution: ClassVar[bool] = False


class ProviderThrottled(Outcome):
    """The rate limit of the image model was reached."""

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
    """The workflow has an unknown workflow_type. Nothing was painted."""

    code = "unknown_workflow_type"
    stops_execution = True


class PromptBlocked(Outcome):
    """The image model blocked the prompt."""

    code = "prompt_blocked"


class ContentBlocked(Outcome):
    """The image model blocked the image that it painted."""

    code = "content_blocked"


class Recitation(Outcome):
    """The image model withheld the image because it is too similar to an existing work."""

    code = "recitation"


class InvalidImage(Outcome):
    """The image model did not return a PNG, JPEG or WebP of at most 10 MB."""

    code = "invalid_image"


class ReferenceGone(Outcome):
    """A reference image was deleted or replaced after submission."""

    code = "reference_gone"


class ApiKeyUnreadable(Outcome):
    """The stored API key cannot be decrypted. Submit again with the key."""

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
    """Every outcome by its code."""
    return {outcome.code: outcome for outcome in Outcome.__subclasses__()}


def retryable_codes() -> list[str]:
    """Codes of the outcomes that are `retryable`."""
    return sorted(code for code, outcome in outcomes().items() if outcome.retryable)
