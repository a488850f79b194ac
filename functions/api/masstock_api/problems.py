"""Turns exceptions and SQLSTATEs into RFC 9457 problems. STATUS holds each error's status."""

import json
from collections.abc import Mapping
from typing import NamedTuple

import psycopg
from aws_lambda_powertools.event_handler import Response

from masstock import errors
from masstock.errors import AppError

PROBLEM_JSON = "application/problem+json"
# The address of docs/errors.md. Callers only compare it, so it need not resolve.
TYPE_BASE = "https://masstock.dev/errors#"

STATUS: Mapping[type[AppError], int] = {
    errors.Unauthenticated: 401,
    errors.BudgetExceeded: 402,
    errors.AccountInactive: 403,
    errors.NotProvisioned: 403,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.MalformedJson: 400,
    errors.InvalidCursor: 400,
    errors.UnsupportedMediaType: 415,
    errors.BodyTooLarge: 413,
    errors.ValidationFailed: 422,
    errors.IdempotencyKeyReused: 422,
    errors.Conflict: 409,
    errors.NotReady: 409,
    errors.Expired: 410,
    errors.PreconditionFailed: 412,
    errors.InternalError: 500,
    errors.DatabaseUnavailable: 503,
    errors.OutcomeUnknown: 503,
    errors.StorageUnavailable: 503,
    errors.IdentityProviderUnavailable: 503,
}
RETRY_AFTER_SECONDS = "5"


class Problem(NamedTuple):
    """An error with its status and title."""

    error: AppError
    status: int
    title: str


def problem_of(error: Exception) -> Problem:
    """The problem of an exception. An unexpected exception becomes `internal_error`."""
    known = error if isinstance(error, AppError) else _of_database(error)
    status = STATUS.get(type(known))
    if status is None:
        known, status = errors.InternalError(), 500
    return Problem(known, status, (type(known).__doc__ or "").strip().splitlines()[0])


def respond(problem: Problem, instance: str, request_id: str) -> Response[str]:
    """The problem as a response. `instance` is the path of the request."""
    error = problem.error
    body: dict[str, object] = {
        "type": TYPE_BASE + error.code,
        "title": problem.title,
        "status": problem.status,
        "detail": error.detail,
        "instance": instance,
        "code": error.code,
        "request_id": request_id,
    }
    headers: dict[str, str | list[str]] = {}
    if isinstance(error, errors.ValidationFailed):
        body["errors"] = [field._asdict() for field in error.errors]
    elif isinstance(error, errors.MethodNotAllowed):
        headers["Allow"] = ", ".join(error.allowed)
    elif isinstance(error, errors.Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="masstock"'
    if problem.status == 503 or isinstance(error, errors.NotReady):
        headers["Retry-After"] = RETRY_AFTER_SECONDS
    return Response(problem.status, PROBLEM_JSON, json.dumps(body), headers)


def _of_database(error: Exception) -> AppError:
    """The error of an SQLSTATE. Callers see the database's message only for MS402 and MS409, which
    our own functions raise."""
    if not isinstance(error, psycopg.Error):
        return errors.InternalError()
    match error.sqlstate:
        case "MS403" if error.diag.constraint_name == errors.NotProvisioned.code:
            return errors.NotProvisioned()
        case "MS403":
            return errors.AccountInactive()
        case "MS402":
            return errors.BudgetExceeded(error.diag.message_primary)
        case "42501":  # insufficient_privilege: a table, a column or a row
            return errors.Forbidden()
        case "MS409":
            return errors.Conflict(error.diag.message_primary)
        case "23505":
            return errors.Conflict("Another resource already has this unique value.")
        case "23503":
            return errors.Conflict("The resource refers to another resource, which does not exist.")
        case "22P05" | "22021":  # U+0000, which Postgres cannot store
            return errors.ValidationFailed(
                [errors.FieldError("", "Text may not contain the character U+0000.")]
            )
        case "57014" | "53300" | "55P03" | "40P01":  # timeout, too many connections, lock, deadlock
            return errors.DatabaseUnavailable()
        case "MS401":  # the database refuses our identity key, which callers cannot correct
            return errors.DatabaseUnavailable()
        case _:
            return errors.InternalError()
