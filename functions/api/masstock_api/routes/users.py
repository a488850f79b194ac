"""Accounts; for administrators."""

from uuid import UUID

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

from masstock.database.queries import clients, users
from masstock.database.tenants import TenantTransaction
from masstock.errors import FieldError, NotFound, ValidationFailed
from masstock_api import session
from masstock_api.pages import PAGE_PARAMETERS, page_of_rows, page_start
from masstock_api.request import PERIOD, a_text, a_uuid, one_of, path_uuid, read_body, read_query
from masstock_api.responses import cacheable_answer, created, page_answer
from masstock_api.writes import check_precondition, create_once

router = APIGatewayHttpRouter()

LIST_PARAMETERS = {
    "role": one_of("admin", "client"),
    "status": one_of("active", "suspended", "deleted"),
    "client_id": a_uuid,
    "q": a_text,
    **PERIOD,
    **PAGE_PARAMETERS,
}


@router.get("/users", middlewares=[session.admins_first])
def list_users() -> Response[str]:
    """Newest first."""
    query = read_query(router.current_event, LIST_PARAMETERS)
    key = session.signing_key()
    limit, before = page_start(query, "users", key)
    rows = users.list_users(
        session.reading_as_admin(router.current_event),
        limit=limit + 1,
        before=before,
        role=query["role"],
        status=query["status"],
        client_id=query["client_id"],
        q=query["q"],
        created_from=query["from"],
        created_to=query["to"],
    )
    return page_answer(page_of_rows(rows, limit, "users", key))


@router.post("/users", middlewares=[session.admins_first])
def create_user() -> Response[str]:
    """201 with the account."""
    from masstock.schemas.requests import UserCreate

    event = router.current_event
    read_query(event, {})
    body = read_body(event, UserCreate)
    _check_client(body.role, body.client_id)
    with session.writing(event) as tx:
        session.require_admin(tx.caller)
        _check_known(tx, body.client_id)
        user_id, _ = create_once(
            tx,
            event,
            lambda new_id: users.insert_user(
                tx,
                user_id=new_id,
                email=body.email,
                name=body.name,
                role=body.role,
                client_id=body.client_id,
            ),
            new_id=body.id,
        )
        answer = users.fetch_user(tx, user_id)
    return created(answer, f"/v1/users/{user_id}")


@router.get("/users/<user_id>", middlewares=[session.admins_first])
def get_user(user_id: str) -> Response[str]:
    """One account."""
    event = router.current_event
    read_query(event, {})
    wanted = path_uuid(user_id, "user_id")
    answer = users.fetch_user(session.reading_as_admin(event), wanted)
    return cacheable_answer(answer, event.headers.get("if-none-match"))


@router.patch("/users/<user_id>", middlewares=[session.admins_first])  # pyright: ignore[reportUnknownMemberType]
def update_user(user_id: str) -> Response[str]:
    """200 with the changed account."""
    from masstock.schemas.requests import UserUpdate

    event = router.current_event
    read_query(event, {})
    wanted = path_uuid(user_id, "user_id")
    body = read_body(event, UserUpdate)
    changes = body.changes()
    with session.writing(event) as tx:
        session.require_admin(tx.caller)
        check_precondition(event, users.fetch_user(tx, wanted, for_update=True))
        _check_known(tx, body.client_id)
        if changes:
            row = users.update_user(tx, wanted, changes)
            _check_client(row["role"], row["client_id"])
        answer = users.fetch_user(tx, wanted)
    return cacheable_answer(answer, None)


@router.delete("/users/<user_id>", middlewares=[session.admins_first])
def delete_user(user_id: str) -> Response[str]:
    """204; the account stays, with status deleted."""
    event = router.current_event
    read_query(event, {})
    wanted = path_uuid(user_id, "user_id")
    with session.writing(event) as tx:
        session.require_admin(tx.caller)
        check_precondition(event, users.fetch_user(tx, wanted, for_update=True))
        users.update_user(tx, wanted, {"status": "deleted"})
    return Response(204)


def _check_known(tx: TenantTransaction, client_id: UUID | None) -> None:
    """Whatever its status: a suspended client's users are kept too."""
    if client_id is None:
        return
    try:
        clients.fetch_client(tx, client_id)
    except NotFound as error:
        detail = "There is no such client."
        raise ValidationFailed([FieldError("/client_id", detail)]) from error


def _check_client(role: str, client_id: object) -> None:
    if (role == "client") != (client_id is not None):
        detail = "Required for role client." if role == "client" else "Absent for role admin."
        raise ValidationFailed([FieldError("/client_id", detail)])
