"""The caller, users and clients."""

import base64
import hmac
import os
from typing import Any
from uuid import UUID, uuid4

from fastapi import APIRouter
from psycopg.types.json import Jsonb

from fastapi_app.identity import Transaction, Tx, secret
from fastapi_app.pages import PageOf
from masstock.schemas.requests import (
    AccountStatus,
    ClientCreate,
    ClientUpdate,
    Role,
    UserCreate,
    UserUpdate,
)
from masstock.schemas.responses import Client, Page, Profile, User, WebhookSecret

router = APIRouter(prefix="/v1")


@router.get("/me", response_model=Profile)
async def get_me(tx: Transaction) -> Any:
    """The caller with their client."""
    return await tx.row(
        """
        SELECT u.id, u.email, u.name, u.role, u.status, c.id AS client_id, c.name AS client_name,
            c.email AS client_email
        FROM public.users u LEFT JOIN public.clients c ON u.client_id = c.id WHERE u.id = %(id)s
        """,
        id=tx.user_id,
    )


@router.get("/users", response_model=Page[User])
async def list_users(
    tx: Transaction,
    paging: PageOf,
    role: Role | None = None,
    status: AccountStatus | None = None,
    client_id: UUID | None = None,
    q: str | None = None,
) -> Any:
    """Newest first."""
    tx.for_admins()
    rows = await tx.rows(
        """
        SELECT * FROM public.users u
        WHERE (%(role)s::text IS NULL OR u.role = %(role)s)
          AND (%(status)s::text IS NULL OR u.status = %(status)s)
          AND (%(client_id)s::uuid IS NULL OR u.client_id = %(client_id)s)
          AND (%(q)s::text IS NULL
               OR position(lower(%(q)s) IN lower(u.name || ' ' || u.email)) > 0)
          AND (u.created_at, u.id) < (%(before_created_at)s, %(before_id)s)
        ORDER BY u.created_at DESC, u.id DESC LIMIT %(limit)s
        """,
        role=role,
        status=status,
        client_id=client_id,
        q=q,
        **paging.values(),
    )
    return paging.page(rows)


async def fetch_user(tx: Tx, user_id: UUID) -> Any:
    """404 where there is none."""
    return await tx.row("SELECT * FROM public.users WHERE id = %(id)s", id=user_id)


@router.post("/users", response_model=User, status_code=201)
async def create_user(tx: Transaction, body: UserCreate) -> Any:
    """201 with the account."""
    tx.for_admins()
    user_id = body.id or uuid4()
    await tx.run(
        """
        INSERT INTO public.users (id, email, name, role, client_id)
        VALUES (%(id)s, %(email)s, %(name)s, %(role)s, %(client_id)s)
        """,
        id=user_id,
        email=body.email,
        name=body.name,
        role=body.role,
        client_id=body.client_id,
    )
    return await fetch_user(tx, user_id)


@router.get("/users/{user_id}", response_model=User)
async def get_user(tx: Transaction, user_id: UUID) -> Any:
    """One account."""
    tx.for_admins()
    return await fetch_user(tx, user_id)


CHANGE_USER = """
    UPDATE public.users u SET (email, name, role, status, client_id) = (
        SELECT p.email, p.name, p.role, p.status, p.client_id
        FROM jsonb_populate_record(u, %(changes)s) p)
    WHERE u.id = %(id)s RETURNING *
"""


@router.patch("/users/{user_id}", response_model=User)
async def update_user(tx: Transaction, user_id: UUID, body: UserUpdate) -> Any:
    """200 with the changed account."""
    tx.for_admins()
    return await tx.row(CHANGE_USER, id=user_id, changes=Jsonb(body.changes()))


@router.delete("/users/{user_id}", status_code=204)
async def delete_user(tx: Transaction, user_id: UUID) -> None:
    """204; the account stays, with status deleted."""
    tx.for_admins()
    await tx.row(CHANGE_USER, id=user_id, changes=Jsonb({"status": "deleted"}))


@router.get("/clients", response_model=Page[Client])
async def list_clients(
    tx: Transaction, paging: PageOf, status: AccountStatus | None = None, q: str | None = None
) -> Any:
    """Newest first."""
    rows = await tx.rows(
        """
        SELECT * FROM public.clients c
        WHERE (%(status)s::text IS NULL OR c.status = %(status)s)
          AND (%(q)s::text IS NULL
               OR position(lower(%(q)s) IN lower(c.name || ' ' || c.email)) > 0)
          AND (c.created_at, c.id) < (%(before_created_at)s, %(before_id)s)
        ORDER BY c.created_at DESC, c.id DESC LIMIT %(limit)s
        """,
        status=status,
        q=q,
        **paging.values(),
    )
    return paging.page(rows)


async def fetch_client(tx: Tx, client_id: UUID) -> Any:
    """404 where there is none."""
    return await tx.row("SELECT * FROM public.clients WHERE id = %(id)s", id=client_id)


@router.post("/clients", response_model=Client, status_code=201)
async def create_client(tx: Transaction, body: ClientCreate) -> Any:
    """201 with the client."""
    tx.for_admins()
    client_id = uuid4()
    await tx.run(
        """
        INSERT INTO public.clients (id, name, email, monthly_budget_microusd, webhook_url)
        VALUES (%(id)s, %(name)s, %(email)s, %(budget)s, %(webhook_url)s)
        """,
        id=client_id,
        name=body.name,
        email=body.email,
        budget=body.monthly_budget_microusd,
        webhook_url=body.webhook_url,
    )
    return await fetch_client(tx, client_id)


@router.get("/clients/{client_id}", response_model=Client)
async def get_client(tx: Transaction, client_id: UUID) -> Any:
    """One client."""
    return await fetch_client(tx, client_id)


CHANGE_CLIENT = """
    UPDATE public.clients c SET (name, email, status, monthly_budget_microusd, webhook_url) = (
        SELECT p.name, p.email, p.status, p.monthly_budget_microusd, p.webhook_url
        FROM jsonb_populate_record(c, %(changes)s) p)
    WHERE c.id = %(id)s RETURNING *
"""


@router.patch("/clients/{client_id}", response_model=Client)
async def update_client(tx: Transaction, client_id: UUID, body: ClientUpdate) -> Any:
    """200 with the changed client."""
    tx.for_admins()
    return await tx.row(CHANGE_CLIENT, id=client_id, changes=Jsonb(body.changes()))


@router.delete("/clients/{client_id}", status_code=204)
async def delete_client(tx: Transaction, client_id: UUID) -> None:
    """204; the client stays, with status deleted."""
    tx.for_admins()
    await tx.row(CHANGE_CLIENT, id=client_id, changes=Jsonb({"status": "deleted"}))


@router.get("/clients/{client_id}/webhook-secret", response_model=WebhookSecret)
async def get_webhook_secret(tx: Transaction, client_id: UUID) -> Any:
    """What the client's webhooks are signed with."""
    return _webhook_secret(await fetch_client(tx, client_id))


@router.post("/clients/{client_id}/webhook-secret", response_model=WebhookSecret)
async def advance_webhook_secret(tx: Transaction, client_id: UUID) -> Any:
    """The next one."""
    tx.for_admins()
    client = await tx.row(
        """
        UPDATE public.clients SET webhook_secret_version = webhook_secret_version + 1
        WHERE id = %(id)s RETURNING *
        """,
        id=client_id,
    )
    return _webhook_secret(client)


def _webhook_secret(client: dict[str, Any]) -> Any:
    master = secret(os.environ["WEBHOOK_SECRET_ID"]).encode()
    version = client["webhook_secret_version"]
    signed = hmac.digest(master, f"webhook|{client['id']}|{version}".encode(), "sha256")
    encoded = base64.b64encode(signed).decode()
    return {"client_id": client["id"], "version": version, "secret": f"whsec_{encoded}"}
