"""The declaration of a route: one decorator beside its handler.

    @reads("/v1/clients/<client_id>", "ClientOrganization")
    def get_client(request: Request, client_id: UUID) -> str:
        "Returns one client."
        return clients.fetch_client(request.reading(), client_id)

The declaration and the handler's parameters determine how a request is checked: unknown query
parameters, the ids in the path, the body, and both checks for administrators. They also determine
the response and the operation in the OpenAPI document (tools/openapi.py). The access test
(tests/e2e/access.yaml) lists all declarations. Models are named as strings, because importing
pydantic would slow down cold starts that need no body.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

from masstock.errors import (
    AppError,
    BodyTooLarge,
    Forbidden,
    IdempotencyKeyReused,
    InvalidCursor,
    MalformedJson,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    UnsupportedMediaType,
    ValidationFailed,
)
from masstock.telemetry import logger
from masstock_api import session
from masstock_api.pages import PAGE_PARAMETERS, page_of_rows, read_page
from masstock_api.parameters import PERIOD, Parameter, read_path, read_query
from masstock_api.request import Request
from masstock_api.responses import cacheable_answer, created, page_answer

# Errors that the caller can correct.
MISTAKES = (BodyTooLarge, InvalidCursor, MalformedJson, UnsupportedMediaType, ValidationFailed)
# The body of a POST whose handler has no parameter `body`.
EMPTY_BODY = "EmptyBody"

type Handler = Callable[..., Any]
type Declaration = Callable[[Handler], Handler]


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer. `model` is a name in masstock.schemas.responses. `media_type` is for a
    body without a model."""

    status: int
    model: str | None = None
    media_type: str | None = None
    headers: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One declared route. `name` is the handler's name and the OpenAPI operationId."""

    method: str
    # As Powertools writes it: /v1/clients/<client_id>.
    path: str
    handler: Handler
    answers: Sequence[Answer]
    # Makes the response from the handler's result.
    respond: Callable[[Request, Any], Response[Any]]
    query: Mapping[str, Parameter] = field(default_factory=dict[str, Parameter])
    # Parameters of the path that are not UUIDs.
    path_parameters: Mapping[str, Parameter] = field(default_factory=dict[str, Parameter])
    # Request headers that the operation reads.
    headers: Sequence[str] = ()
    # Further errors. The others follow from the declaration: `problems_of` in tools/openapi.py.
    problems: Sequence[type[AppError]] = ()
    body_required: bool = True
    # Client users get Forbidden.
    admins: bool = False
    # Fetches the row that an administrators' operation changes, if client users can read such rows.
    # A client user then gets NotFound instead of Forbidden for a hidden row.
    row: Callable[..., object] | None = None
    # Needs no token.
    is_open: bool = False
    # Needs no database.
    bare: bool = False
    compress: bool = False
    # Accepts every query parameter and reads none.
    ignores_query: bool = False

    @property
    def name(self) -> str:
        """The operationId."""
        return self.handler.__name__

    @property
    def body(self) -> str | None:
        """The body's model: a name in masstock.schemas.requests, None if there is no body."""
        named = self.handler.__annotations__.get("body")
        return named or (EMPTY_BODY if self.method == "POST" else None)

    def run(self, event: APIGatewayProxyEventV2, path_values: Mapping[str, str]) -> Response[Any]:
        """Answers one request. Raises an AppError that problems.py turns into a problem."""
        # Logs the pattern, because the path contains ids and log queries count requests by route.
        logger.append_keys(route=self.path)
        request = Request(event, admins=self.admins, row=self.row)
        if not self.is_open:
            # Verified before all else, so that a request without a valid token takes little time.
            request.principal  # noqa: B018
        try:
            result = self.handler(request, **self._arguments(request, path_values))
        except MISTAKES:
            # A client user gets 403 on an administrators' operation even if the request is also
            # invalid.
            if self.admins:
                request.refuse_client_users()
            raise
        if self.admins and not request.entered:
            request.refuse_client_users()
        return self.respond(request, result)

    def _arguments(self, request: Request, path_values: Mapping[str, str]) -> dict[str, Any]:
        if not self.ignores_query:
            request.query = read_query(request.event.query_string_parameters or {}, self.query)
        request.path = read_path(path_values, self.path_parameters)
        is_absent = not request.event.body and not self.body_required
        if self.body is None or (is_absent and self.body == EMPTY_BODY):
            return dict(request.path)
        from masstock.schemas import requests

        model: type[requests.RequestBody] = getattr(requests, self.body)
        body = model() if is_absent else request.body(model)
        return dict(request.path) if self.body == EMPTY_BODY else {**request.path, "body": body}


_declared: list[Operation] = []


def declared_in(module: str) -> list[Operation]:
    """The operations that a module declares, in its order."""
    return [operation for operation in _declared if operation.handler.__module__ == module]


def operation(
    method: str,
    path: str,
    *answers: Answer,
    respond: Callable[[Request, Any], Response[Any]] | None = None,
    **details: Any,
) -> Declaration:
    """Declares a route whose handler returns the response itself, unless `respond` makes it.
    `details` are fields of Operation."""

    def declare(handler: Handler) -> Handler:
        if "body" not in handler.__annotations__:
            details.setdefault("body_required", False)
        _declared.append(
            Operation(
                method=method,
                path=path,
                handler=handler,
                answers=answers,
                respond=respond or (lambda _, response: response),
                **details,
            )
        )
        return handler

    return declare


def lists(
    path: str, model: str, filters: Mapping[str, Parameter], *, admins: bool = False
) -> Declaration:
    """GET of a list, newest first, filtered by `filters` and by creation time. The handler takes
    (request, page) and returns the rows as JSON texts."""
    name = path.removeprefix("/v1/")

    def declare(handler: Handler) -> Handler:
        @wraps(handler)
        def answer(request: Request) -> Response[str]:
            key = session.signing_key()
            page = read_page(request.query, name, key)
            return page_answer(page_of_rows(handler(request, page), page.limit, name, key))

        return operation(
            "GET",
            path,
            Answer(200, f"Page[{model}]"),
            query={**filters, **PERIOD, **PAGE_PARAMETERS},
            problems=[InvalidCursor],
            admins=admins,
        )(answer)

    return declare


def reads(
    path: str, model: str, *, sends: Mapping[str, str] | None = None, **details: Any
) -> Declaration:
    """GET of one resource, with an ETag. The handler returns its JSON text or a Versioned. `sends`
    are further headers of the response."""
    headers = ["ETag", *(sends or {})]
    return operation(
        "GET",
        path,
        Answer(200, model, headers=headers),
        Answer(304, headers=headers),
        respond=lambda request, found: cacheable_answer(
            found, request.header("if-none-match"), sends
        ),
        headers=["If-None-Match"],
        problems=[NotFound],
        **details,
    )


def creates(path: str, model: str, *problems: type[AppError], **details: Any) -> Declaration:
    """POST that creates a resource. The handler returns its id and its JSON text."""
    return operation(
        "POST",
        path,
        Answer(201, model, headers=["Location", "ETag"]),
        respond=lambda _, made: created(made[1], f"{path}/{made[0]}"),
        headers=["Idempotency-Key"],
        problems=[IdempotencyKeyReused, Forbidden, OutcomeUnknown, *problems],
        **details,
    )


def changes(path: str, model: str, *problems: type[AppError], **details: Any) -> Declaration:
    """PATCH of one resource. The handler returns its new JSON text or a Versioned."""
    return operation(
        "PATCH",
        path,
        Answer(200, model, headers=["ETag"]),
        respond=lambda _, changed: cacheable_answer(changed, None),
        headers=["If-Match"],
        problems=[NotFound, Forbidden, PreconditionFailed, OutcomeUnknown, *problems],
        **details,
    )


def removes(path: str, *problems: type[AppError], **details: Any) -> Declaration:
    """DELETE of one resource. The handler returns nothing."""
    return operation(
        "DELETE",
        path,
        Answer(204),
        respond=lambda _, __: Response(204),
        headers=["If-Match"],
        problems=[NotFound, Forbidden, PreconditionFailed, OutcomeUnknown, *problems],
        **details,
    )
