"""Accounts of administrators and client users."""

import json
from typing import TYPE_CHECKING
from uuid import UUID

from masstock.database.queries import clients, users
from masstock.database.tenants import TenantTransaction
from masstock.errors import Conflict, FieldError, NotFound, ValidationFailed
from masstock_api.operation import changes, creates, lists, reads, removes
from masstock_api.pages import Page
from masstock_api.parameters import a_text, a_uuid, one_of
from masstock_api.request import Request
from masstock_api.writes import claim_id

if TYPE_CHECKING:
    from masstock.schemas.requests import UserCreate, UserUpdate

FILTERS = {
    "role": one_of("admin", "client"),
    "status": one_of("active", "suspended", "deleted"),
    "client_id": a_uuid,
    "q": a_text,
}


@lists("/v1/users", "User", FILTERS, admins=True)
def list_users(request: Request, page: Page) -> list[str]:
    """Lists accounts, newest first."""
    return users.list_users(request.reading(), page)


@creates("/v1/users", "User", Conflict, admins=True)
def create_user(request: Request, body: "UserCreate") -> tuple[UUID, str]:
    """Creates an account, or with `invited_until` an invitation, which is an account that its
    person claims at the first sign-in."""
    _check_role(body.role, body.client_id)
    if body.id is not None and body.invited_until is not None:
        detail = "Not allowed with `id`: the claim gives the account its id."
        raise ValidationFailed([FieldError("/invited_until", detail)])
    with request.writing() as tx:
        user_id, is_new = claim_id(tx, request, body.id)
        if is_new:
            _check_client_exists(tx, body.client_id)
            users.insert_user(tx, id=user_id, **body.model_dump(exclude={"id"}))
        return user_id, users.fetch_user(tx, user_id)


@reads("/v1/users/<user_id>", "User", admins=True)
def get_user(request: Request, user_id: UUID) -> str:
    """Returns one account."""
    return users.fetch_user(request.reading(), user_id)


@changes("/v1/users/<user_id>", "User", Conflict, admins=True)
def update_user(request: Request, user_id: UUID, body: "UserUpdate") -> str:
    """Changes an account. The last active administrator cannot be demoted or suspended."""
    changed = body.changes()
    with request.writing() as tx:
        current = users.fetch_user(tx, user_id, for_update=True)
        request.check_version(current)
        # Otherwise a new invitation would give away the account of somebody else.
        if "invited_until" in changed and json.loads(current)["invited_until"] is None:
            raise Conflict("This account is not an invitation, or it was claimed.")
        _check_client_exists(tx, body.client_id)
        if changed:
            row = users.update_user(tx, user_id, changed)
            _check_role(row["role"], row["client_id"])
        return users.fetch_user(tx, user_id)


@removes("/v1/users/<user_id>", Conflict, admins=True)
def delete_user(request: Request, user_id: UUID) -> None:
    """Sets the account's status to `deleted`. The last active administrator cannot be deleted."""
    with request.writing() as tx:
        request.check_version(users.fetch_user(tx, user_id, for_update=True))
        users.update_user(tx, user_id, {"status": "deleted"})


def _check_client_exists(tx: TenantTransaction, client_id: UUID | None) -> None:
    """Raises ValidationFailed if the client does not exist. A suspended client is accepted."""
    if client_id is None:
        return
    try:
        clients.fetch_client(tx, client_id)
    except NotFound as error:
        detail = "There is no such client."
        raise ValidationFailed([FieldError("/client_id", detail)]) from error


def _check_role(role: str, client_id: object) -> None:
    if (role == "client") != (client_id is not None):
        detail = "Required for role client." if role == "client" else "Not allowed for role admin."
        raise ValidationFailed([FieldError("/client_id", detail)])
