"""All errors. The state machine retries errors by their class names. Callers see the codes and the
docstrings. This module contains no HTTP statuses."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

if TYPE_CHECKING:
    from masstock.catalogue.image_models import Usage


class FieldError(NamedTuple):
    """One mistake in a request: a JSON pointer or a parameter's name, and how to correct it."""

    pointer: str
    detail: str


class AppError(Exception):
    """Something went wrong."""

    code: ClassVar[str]

    def __init_subclass__(cls, *, code: str = "") -> None:
        cls.code = code

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or (self.__doc__ or "").strip()
        super().__init__(self.detail)


# --- mistakes of the caller ------------------------------------------------------------------


class Unauthenticated(AppError, code="unauthenticated"):
    """A valid bearer token is required."""


class AccountInactive(AppError, code="account_inactive"):
    """This account, or the client it belongs to, is suspended or deleted."""


class NotProvisioned(AppError, code="not_provisioned"):
    """The token is valid, but its user has no account here. Ask an administrator for one."""


class Forbidden(AppError, code="forbidden"):
    """You are not allowed to do this."""


ADMINS_ONLY = "Only administrators may do this."


class NotFound(AppError, code="not_found"):
    """There is no such resource, or it is not yours."""


class MethodNotAllowed(AppError, code="method_not_allowed"):
    """This resource does not support the method."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self.allowed = allowed
        super().__init__(f"This resource supports {', '.join(allowed)}.")


class MalformedJson(AppError, code="malformed_json"):
    """The body is not valid JSON."""


class UnsupportedMediaType(AppError, code="unsupported_media_type"):
    """Send the body as application/json."""


class BodyTooLarge(AppError, code="body_too_large"):
    """The body is larger than 4 MB."""


class InvalidCursor(AppError, code="invalid_cursor"):
    """This list did not return this cursor. Start again without a cursor."""


class ValidationFailed(AppError, code="validation_failed"):
    """The request does not match the schema of this operation."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = errors
        super().__init__()


class IdempotencyKeyReused(AppError, code="idempotency_key_reused"):
    """This Idempotency-Key was used with another request body."""


class PreconditionFailed(AppError, code="precondition_failed"):
    """The resource has changed since you read it; read it again."""


class Conflict(AppError, code="conflict"):
    """The resource's state does not allow this, or another resource has the same unique value."""


class NotReady(AppError, code="not_ready"):
    """The image is not painted yet; ask again after the time in Retry-After."""


class Expired(AppError, code="expired"):
    """The image was removed, because the client's images are kept for a limited time."""


class BudgetExceeded(AppError, code="budget_exceeded"):
    """The estimate is more than the rest of the client's monthly budget."""


# --- failures of our own parts ----------------------------------------------------------------


class InternalError(AppError, code="internal_error"):
    """Something failed on our side; it has been recorded."""


class DatabaseUnavailable(AppError, code="database_unavailable"):
    """The database cannot be reached right now."""


class OutcomeUnknown(AppError, code="outcome_unknown"):
    """The connection was lost while saving: the change may or may not have been made."""


class StorageUnavailable(AppError, code="storage_unavailable"):
    """Object storage cannot be reached right now."""


class IdentityProviderUnavailable(AppError, code="identity_provider_unavailable"):
    """The identity provider's keys cannot be fetched right now."""


# --- outcomes of a prompt or an execution, stored in its row ----------------------------------


class Outcome(AppError):
    """A prompt got no image."""

    # True if the same prompt could succeed when it is submitted again.
    retryable: ClassVar[bool]
    # How often the state machine repeats the prompt in one run.
    max_retries: ClassVar[int]
    # True if the remaining prompts of the execution would fail in the same way.
    stops_execution: ClassVar[bool]

    def __init_subclass__(
        cls,
        *,
        code: str,
        retryable: bool = False,
        max_retries: int = 0,
        stops_execution: bool = False,
    ) -> None:
        super().__init_subclass__(code=code)
        cls.retryable, cls.max_retries, cls.stops_execution = (
            retryable,
            max_retries,
            stops_execution,
        )

    def __init__(
        self,
        detail: str | None = None,
        *,
        provider_message: str | None = None,
        usage: "Usage | None" = None,
        is_outage: bool = False,
    ) -> None:
        """`provider_message` holds the provider's own words; the detail ends with them. `usage` is
        what the provider charges for an answer without an image. `is_outage` says that the provider
        itself is down: status 500, 502, 503 or 504, or a refused connection."""
        self.provider_message = provider_message
        self.usage = usage
        self.is_outage = is_outage
        super().__init__(detail)
        if provider_message:
            self.detail = f"{self.detail.rstrip('.')}: {provider_message}"


class ProviderThrottled(Outcome, code="provider_rate_limited", retryable=True, max_retries=19):
    """The rate limit of the image model was reached."""

    def __init__(
        self,
        detail: str | None = None,
        *,
        retry_after: float | None = None,
        quota_value: int | None = None,
        provider_message: str | None = None,
    ) -> None:
        """`retry_after` is in seconds, and `quota_value` in calls per minute. Both are None if the
        provider does not say."""
        super().__init__(detail, provider_message=provider_message)
        self.retry_after = retry_after
        self.quota_value = quota_value


class ProviderUnavailable(Outcome, code="provider_unavailable", retryable=True, max_retries=3):
    """The image model could not be reached or failed."""


class ProviderTimeout(Outcome, code="provider_timeout", retryable=True, max_retries=3):
    """The image model did not answer in time."""


class NoImage(Outcome, code="no_image", retryable=True, max_retries=1):
    """The image model answered without an image."""


class InvalidApiKey(Outcome, code="invalid_api_key", stops_execution=True):
    """The image model refused the API key."""


class QuotaExhausted(Outcome, code="quota_exhausted", retryable=True, stops_execution=True):
    """The daily quota of the API key is used up."""

    def __init__(self, *, opens_in_seconds: float, provider_message: str | None = None) -> None:
        """The provider accepts calls again in about `opens_in_seconds`."""
        super().__init__(provider_message=provider_message)
        self.opens_in_seconds = opens_in_seconds


class BillingRequired(Outcome, code="billing_required", stops_execution=True):
    """The account of the API key has no credit left or reached its spending cap."""


class ProviderRefusesAccount(Outcome, code="provider_refuses_account", stops_execution=True):
    """The image model refuses the account of the API key, for its location or its billing."""


class InvalidRequest(Outcome, code="invalid_request"):
    """The image model refused the request as invalid."""


class ModelUnavailable(Outcome, code="model_unavailable"):
    """The image model named by the workflow does not exist or is not available to this key."""


class UnknownWorkflowType(Outcome, code="unknown_workflow_type", stops_execution=True):
    """The workflow has an unknown workflow_type. Nothing was painted."""


class PromptBlocked(Outcome, code="prompt_blocked"):
    """The image model blocked the prompt."""


class ContentBlocked(Outcome, code="content_blocked"):
    """The image model blocked the image that it painted."""


class Recitation(Outcome, code="recitation"):
    """The image model withheld the image because it is too similar to an existing work."""


class InvalidImage(Outcome, code="invalid_image"):
    """The image model did not return a complete PNG, JPEG or WebP of an allowed size."""


class ReferenceGone(Outcome, code="reference_gone"):
    """A reference image was deleted or replaced after submission."""


class NoBudget(Outcome, code="no_budget", retryable=True):
    """The image to reuse is gone, and a new one does not fit into the client's monthly budget."""


class ApiKeyUnreadable(Outcome, code="api_key_unreadable", stops_execution=True):
    """The stored API key cannot be decrypted. Submit again with the key."""


class Cancelled(Outcome, code="cancelled", retryable=True):
    """The execution was cancelled."""


class DeadlineExceeded(Outcome, code="deadline_exceeded", retryable=True):
    """The execution did not end before its deadline."""


class NotFinished(Outcome, code="not_finished", retryable=True, max_retries=3):
    """The prompt was given up after repeated failures on our side."""


def outcomes() -> dict[str, type[Outcome]]:
    """Every outcome by its code."""
    return {outcome.code: outcome for outcome in Outcome.__subclasses__()}


def retryable_codes() -> list[str]:
    """Codes of the outcomes that are `retryable`."""
    return sorted(code for code, outcome in outcomes().items() if outcome.retryable)
