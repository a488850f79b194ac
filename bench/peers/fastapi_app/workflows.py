"""Workflows, requests for them and support tickets."""

from typing import Any
from uuid import UUID, uuid4

from fastapi import APIRouter, HTTPException
from psycopg.types.json import Jsonb

from fastapi_app.identity import Transaction, Tx
from fastapi_app.pages import PageOf
from masstock.schemas.requests import (
    RequestStatus,
    SupportTicketCreate,
    SupportTicketUpdate,
    TicketPriority,
    TicketStatus,
    WorkflowCreate,
    WorkflowRequestCreate,
    WorkflowRequestUpdate,
    WorkflowStatus,
    WorkflowUpdate,
)
from masstock.schemas.responses import Page, SupportTicket, Workflow, WorkflowRequest

router = APIRouter(prefix="/v1")


@router.get("/workflows", response_model=Page[Workflow])
async def list_workflows(
    tx: Transaction, paging: PageOf, status: WorkflowStatus | None = None
) -> Any:
    """Newest first."""
    rows = await tx.rows(
        """
        SELECT * FROM public.workflows w
        WHERE (%(status)s::text IS NULL OR w.status = %(status)s)
          AND (w.created_at, w.id) < (%(before_created_at)s, %(before_id)s)
        ORDER BY w.created_at DESC, w.id DESC LIMIT %(limit)s
        """,
        status=status,
        **paging.values(),
    )
    return paging.page(rows)


@router.post("/workflows", response_model=Workflow, status_code=201)
async def create_workflow(tx: Transaction, body: WorkflowCreate) -> Any:
    """201 with the workflow."""
    tx.for_admins()
    return await tx.row(
        """
        INSERT INTO public.workflows (id, name, description, status, config)
        VALUES (%(id)s, %(name)s, %(description)s, %(status)s, %(config)s) RETURNING *
        """,
        id=uuid4(),
        name=body.name,
        description=body.description,
        status=body.status,
        config=Jsonb(body.config.model_dump(mode="json", exclude_unset=True)),
    )


@router.get("/workflows/{workflow_id}", response_model=Workflow)
async def get_workflow(tx: Transaction, workflow_id: UUID) -> Any:
    """One workflow."""
    return await tx.row("SELECT * FROM public.workflows WHERE id = %(id)s", id=workflow_id)


CHANGE_WORKFLOW = """
    UPDATE public.workflows w SET (name, description, status, config) = (
        SELECT p.name, p.description, p.status, p.config
        FROM jsonb_populate_record(w, %(changes)s) p)
    WHERE w.id = %(id)s RETURNING *
"""


@router.patch("/workflows/{workflow_id}", response_model=Workflow)
async def update_workflow(tx: Transaction, workflow_id: UUID, body: WorkflowUpdate) -> Any:
    """200 with the changed workflow."""
    tx.for_admins()
    return await tx.row(CHANGE_WORKFLOW, id=workflow_id, changes=Jsonb(body.changes()))


@router.delete("/workflows/{workflow_id}", status_code=204)
async def delete_workflow(tx: Transaction, workflow_id: UUID) -> None:
    """204; the workflow stays, with status inactive."""
    tx.for_admins()
    await tx.row(CHANGE_WORKFLOW, id=workflow_id, changes=Jsonb({"status": "inactive"}))


@router.get("/workflow-requests", response_model=Page[WorkflowRequest])
async def list_requests(
    tx: Transaction,
    paging: PageOf,
    status: RequestStatus | None = None,
    workflow_id: UUID | None = None,
    client_id: UUID | None = None,
) -> Any:
    """Newest first."""
    rows = await tx.rows(
        """
        SELECT * FROM public.workflow_requests r
        WHERE (%(status)s::text IS NULL OR r.status = %(status)s)
          AND (%(workflow_id)s::uuid IS NULL OR r.workflow_id = %(workflow_id)s)
          AND (%(client_id)s::uuid IS NULL OR r.client_id = %(client_id)s)
          AND (r.created_at, r.id) < (%(before_created_at)s, %(before_id)s)
        ORDER BY r.created_at DESC, r.id DESC LIMIT %(limit)s
        """,
        status=status,
        workflow_id=workflow_id,
        client_id=client_id,
        **paging.values(),
    )
    return paging.page(rows)


async def fetch_request(tx: Tx, request_id: UUID) -> Any:
    """404 where there is none."""
    return await tx.row("SELECT * FROM public.workflow_requests WHERE id = %(id)s", id=request_id)


@router.post("/workflow-requests", response_model=WorkflowRequest, status_code=201)
async def create_request(tx: Transaction, body: WorkflowRequestCreate) -> Any:
    """201 with the pending request."""
    request_id = uuid4()
    await tx.run(
        """
        INSERT INTO public.workflow_requests (id, client_id, workflow_id, notes)
        VALUES (%(id)s, %(client_id)s, %(workflow_id)s, %(notes)s)
        """,
        id=request_id,
        client_id=tx.client_named(body.client_id),
        workflow_id=body.workflow_id,
        notes=body.notes,
    )
    return await fetch_request(tx, request_id)


@router.get("/workflow-requests/{request_id}", response_model=WorkflowRequest)
async def get_request(tx: Transaction, request_id: UUID) -> Any:
    """One request."""
    return await fetch_request(tx, request_id)


@router.patch("/workflow-requests/{request_id}", response_model=WorkflowRequest)
async def update_request(tx: Transaction, request_id: UUID, body: WorkflowRequestUpdate) -> Any:
    """200 with the changed request."""
    changes = body.changes()
    if "status" in changes:
        tx.for_admins()
    columns = "(notes, status)" if tx.is_admin else "(notes)"
    changed = "p.notes, p.status" if tx.is_admin else "p.notes"
    await tx.run(
        f"""
        UPDATE public.workflow_requests r SET {columns} = (
            SELECT {changed} FROM jsonb_populate_record(r, %(changes)s) p) WHERE r.id = %(id)s
        """,
        id=request_id,
        changes=Jsonb(changes),
    )
    return await fetch_request(tx, request_id)


@router.delete("/workflow-requests/{request_id}", status_code=204)
async def delete_request(tx: Transaction, request_id: UUID) -> None:
    """204; a client's request only while it is pending."""
    await fetch_request(tx, request_id)
    if not await tx.run("DELETE FROM public.workflow_requests WHERE id = %(id)s", id=request_id):
        raise HTTPException(409, "The request is no longer pending.")


@router.get("/support-tickets", response_model=Page[SupportTicket])
async def list_tickets(
    tx: Transaction,
    paging: PageOf,
    status: TicketStatus | None = None,
    priority: TicketPriority | None = None,
    client_id: UUID | None = None,
    user_id: UUID | None = None,
) -> Any:
    """Newest first."""
    rows = await tx.rows(
        """
        SELECT * FROM public.support_tickets t
        WHERE (%(status)s::text IS NULL OR t.status = %(status)s)
          AND (%(priority)s::text IS NULL OR t.priority = %(priority)s)
          AND (%(client_id)s::uuid IS NULL OR t.client_id = %(client_id)s)
          AND (%(user_id)s::uuid IS NULL OR t.user_id = %(user_id)s)
          AND (t.created_at, t.id) < (%(before_created_at)s, %(before_id)s)
        ORDER BY t.created_at DESC, t.id DESC LIMIT %(limit)s
        """,
        status=status,
        priority=priority,
        client_id=client_id,
        user_id=user_id,
        **paging.values(),
    )
    return paging.page(rows)


async def fetch_ticket(tx: Tx, ticket_id: UUID) -> Any:
    """404 where there is none."""
    return await tx.row("SELECT * FROM public.support_tickets WHERE id = %(id)s", id=ticket_id)


@router.post("/support-tickets", response_model=SupportTicket, status_code=201)
async def create_ticket(tx: Transaction, body: SupportTicketCreate) -> Any:
    """201 with the open ticket."""
    ticket_id = uuid4()
    await tx.run(
        """
        INSERT INTO public.support_tickets (id, client_id, user_id, subject, description, priority)
        VALUES (%(id)s, %(client_id)s, %(user_id)s, %(subject)s, %(description)s, %(priority)s)
        """,
        id=ticket_id,
        client_id=tx.client_named(body.client_id),
        user_id=tx.user_id,
        subject=body.subject,
        description=body.description,
        priority=body.priority,
    )
    return await fetch_ticket(tx, ticket_id)


@router.get("/support-tickets/{ticket_id}", response_model=SupportTicket)
async def get_ticket(tx: Transaction, ticket_id: UUID) -> Any:
    """One ticket."""
    return await fetch_ticket(tx, ticket_id)


@router.patch("/support-tickets/{ticket_id}", response_model=SupportTicket)
async def update_ticket(tx: Transaction, ticket_id: UUID, body: SupportTicketUpdate) -> Any:
    """200 with the changed ticket."""
    changes = body.changes()
    if "status" in changes:
        tx.for_admins()
    columns = "subject, description, priority" + (", status" if tx.is_admin else "")
    await tx.run(
        f"""
        UPDATE public.support_tickets t SET ({columns}) = (
            SELECT {columns} FROM jsonb_populate_record(t, %(changes)s)) WHERE t.id = %(id)s
        """,
        id=ticket_id,
        changes=Jsonb(changes),
    )
    return await fetch_ticket(tx, ticket_id)


@router.delete("/support-tickets/{ticket_id}", status_code=204)
async def delete_ticket(tx: Transaction, ticket_id: UUID) -> None:
    """204."""
    await fetch_ticket(tx, ticket_id)
    await tx.run("DELETE FROM public.support_tickets WHERE id = %(id)s", id=ticket_id)
