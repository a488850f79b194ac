"""One request: its body, its headers, its caller, and the database with the caller's rights."""

import hmac
from base64 import b64decode
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from email.message import Message
from functools import cached_property
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

from masstock.database.queries import users
from masstock.database.tenants import TenantReader, TenantTransaction, tenant_transaction
from masstock.errors import (
    ADMINS_ONLY,
    BodyTooLarge,
    FieldError,
    Forbidden,
    PreconditionFailed,
    UnsupportedMediaType,
    ValidationFailed,
)
from masstock.services.tokens import Principal, authenticate
from masstock.telemetry import logger
from masstock_api import session, strict_json
from masstock_api.responses import etag_of
from masstock_api.strict_json import MAX_MISTAKES

if TYPE_CHECKING:
    from masstock.schemas.request_body import RequestBody

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_IDEMPOTENCY_KEY_LENGTH = 255


class _RolledBack(Exception):
    """The end of a transaction that must change nothing."""


class Request:
    """One HTTP request."""

    # The values of the declared query and path parameters.
    query: Mapping[str, Any]
    path: Mapping[str, Any]

    def __init__(
        self,
        event: APIGatewayProxyEventV2,
        *,
        admins: bool = False,
        row: Callable[..., object] | None = None,
    ) -> None:
        """`admins` and `row` are fields of the Operation."""
        self.event = event
        self._admins = admins
        self._row = row
        # True after the first use of the database, which looks up the caller.
        self.entered = False

    def header(self, name: str) -> str | None:
        """A header by its name in lower case."""
        return self.event.headers.get(name)

    @cached_property
    def principal(self) -> Principal:
        """The user that the token names. Raises Unauthenticated."""
        principal = authenticate(self.header("authorization"), session.settings())
        logger.append_keys(user_id=str(principal.user_id))
        return principal

    def reading(self) -> TenantReader:
        """Runs queries as the caller, each in one flight. On operations for administrators a query
        of a client user raises Forbidden."""
        self.entered = True
        return self._reader(admins_only=self._admins)

    @contextmanager
    def writing(self) -> Generator[TenantTransaction]:
        """Opens one transaction as the caller. On operations for administrators it raises Forbidden
        for a client user, or NotFound if the row is hidden from this user."""
        self.entered = True
        with tenant_transaction(session.database(), self.principal, session.signing_key()) as tx:
            if self._admins and not tx.caller.is_admin:
                if self._row is not None:
                    self._row(tx, *self.path.values())
                raise Forbidden(ADMINS_ONLY)
            yield tx

    @contextmanager
    def trying(self) -> Generator[TenantTransaction]:
        """Like `writing`, but the transaction is rolled back at the end."""
        try:
            with self.writing() as tx:
                yield tx
                raise _RolledBack
        except _RolledBack:
            return

    def refuse_client_users(self) -> None:
        """Raises Forbidden unless the caller is an administrator."""
        users.fetch_profile(self._reader(admins_only=True), self.principal.user_id)

    def _reader(self, *, admins_only: bool) -> TenantReader:
        return TenantReader(
            session.database(), self.principal, session.signing_key(), admins_only=admins_only
        )

    # --- body and headers ----------------------------------------------------------------------

    def raw_body(self) -> bytes:
        """The body as it was sent. Raises BodyTooLarge."""
        text = self.event.body or ""
        body = b64decode(text) if self.event.is_base64_encoded else text.encode()
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge
        return body

    def body_digest(self) -> str:
        """A keyed hash of the body. A plain hash would let a reader of the database guess the API
        key in it."""
        message = b"request|" + self.raw_body()
        return hmac.digest(session.signing_key().encode(), message, "sha256").hex()

    def body[Body: "RequestBody"](self, model: type[Body]) -> Body:
        """The JSON body as its model. Raises UnsupportedMediaType, BodyTooLarge, MalformedJson, or
        ValidationFailed with a JSON pointer to each of the first MAX_MISTAKES mistakes."""
        self._check_media_type()
        return validated(model, strict_json.parse(self.raw_body()))

    def _check_media_type(self) -> None:
        """Raises UnsupportedMediaType unless the body is JSON in UTF-8."""
        header = Message()
        header["Content-Type"] = self.header("content-type") or "none"
        media_type = header.get_content_type()
        if media_type != "application/json" and not media_type.endswith("+json"):
            raise UnsupportedMediaType
        if (header.get_content_charset() or "utf-8") not in ("utf-8", "utf8"):
            raise UnsupportedMediaType("Send the body in UTF-8.")

    @property
    def idempotency_key(self) -> str | None:
        """The Idempotency-Key header. Raises ValidationFailed."""
        key = self.header("idempotency-key")
        if key is not None and not (
            0 < len(key) <= MAX_IDEMPOTENCY_KEY_LENGTH and key.isascii() and key.isprintable()
        ):
            raise ValidationFailed(
                [FieldError("Idempotency-Key", "Send 1 to 255 printable ASCII characters.")]
            )
        return key

    def check_version(self, current: str) -> None:
        """Raises PreconditionFailed unless If-Match is absent, `*` or the ETag of `current`."""
        wanted = self.header("if-match")
        if wanted is None or wanted.strip() == "*":
            return
        # Weak ETags are enough: one version of a row has one JSON text.
        tags = {tag.strip().removeprefix("W/") for tag in wanted.split(",")}
        if etag_of(current).removeprefix("W/") not in tags:
            raise PreconditionFailed


def validated[Body: "RequestBody"](model: type[Body], content: object) -> Body:
    """The content as its model. Raises ValidationFailed with a JSON pointer to each of the first
    MAX_MISTAKES mistakes."""
    from pydantic import ValidationError

    from masstock.schemas.patterns import reason_of

    try:
        return model.model_validate(content)
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_input=False)[:MAX_MISTAKES]
        raise ValidationFailed(
            [FieldError(_pointer(mistake["loc"]), reason_of(mistake)) for mistake in mistakes]
        ) from error


def _pointer(location: tuple[int | str, ...]) -> str:
    """The JSON pointer of a mistake. Parts in angle brackets are omitted: they name the members of
    a union and are not in the caller's JSON."""
    return strict_json.pointer(tuple(part for part in location if not str(part).startswith("<")))
