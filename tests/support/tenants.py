"""Two tenants with one row each in every table, and the statements that try to touch these rows."""

from typing import LiteralString
from uuid import UUID

import psycopg

from tests.support.demo_data import ACME, GLOBEX, JANE_OF_GLOBEX, JOHN_OF_ACME, WORKFLOW

type Key = UUID | str

CLIENT_OF = {"own": ACME, "other": GLOBEX}
USER_OF = {"own": JOHN_OF_ACME, "other": JANE_OF_GLOBEX}
RETIRED_WORKFLOW = UUID(int=0xDEAD)


def _id(number: int) -> dict[str, Key]:
    return {"own": UUID(int=number), "other": UUID(int=number << 64)}


LIVE_EXECUTION = _id(1)
ENDED_EXECUTION = _id(2)
REQUEST = _id(3)
RESULT = _id(4)
TICKET = _id(5)
DELIVERY = _id(6)
ARCHIVE = _id(7)

# For each table: the column that identifies a row, and its value in each tenant's row.
ROWS: dict[str, tuple[LiteralString, dict[str, Key]]] = {
    "users": ("id", dict(USER_OF)),
    "clients": ("id", dict(CLIENT_OF)),
    "workflows": ("id", {"own": WORKFLOW, "other": RETIRED_WORKFLOW}),
    "workflow_requests": ("id", REQUEST),
    "workflow_executions": ("id", ENDED_EXECUTION),
    "workflow_batch_results": ("id", RESULT),
    "support_tickets": ("id", TICKET),
    "idempotency_keys": ("key", {"own": "key of acme", "other": "key of globex"}),
    "spend_ledger": ("execution_id", LIVE_EXECUTION),
    "webhook_deliveries": ("id", DELIVERY),
    "archives": ("id", ARCHIVE),
    "archive_parts": ("archive_id", ARCHIVE),
    "economy_jobs": ("execution_id", LIVE_EXECUTION),
}

UPDATES: dict[str, LiteralString] = {
    "users": "UPDATE public.users SET name = 'x' WHERE id = %(key)s",
    "clients": "UPDATE public.clients SET name = 'x' WHERE id = %(key)s",
    "workflows": "UPDATE public.workflows SET description = 'x' WHERE id = %(key)s",
    "workflow_requests": "UPDATE public.workflow_requests SET notes = 'x' WHERE id = %(key)s",
    # A live execution: only administrators can change one that has ended.
    "workflow_executions": (
        "UPDATE public.workflow_executions SET error_message = 'x' WHERE id = %(live)s"
    ),
    "workflow_batch_results": (
        "UPDATE public.workflow_batch_results SET error_message = 'x' WHERE id = %(key)s"
    ),
    "support_tickets": "UPDATE public.support_tickets SET subject = 'x' WHERE id = %(key)s",
    "idempotency_keys": "UPDATE public.idempotency_keys SET request_hmac = 'x' WHERE key = %(key)s",
    "spend_ledger": (
        "UPDATE public.spend_ledger SET charged_microusd = 0 WHERE execution_id = %(key)s"
    ),
    "webhook_deliveries": (
        "UPDATE public.webhook_deliveries SET error_message = 'x' WHERE id = %(key)s"
    ),
    "archives": "UPDATE public.archives SET expires_at = now() WHERE id = %(key)s",
    "archive_parts": (
        "UPDATE public.archive_parts SET storage_path = 'x' WHERE archive_id = %(key)s"
    ),
    "economy_jobs": "UPDATE public.economy_jobs SET tries = 1 WHERE execution_id = %(key)s",
}

INSERTS: dict[str, LiteralString] = {
    "users": (
        "INSERT INTO public.users (email, name, role, client_id)"
        " VALUES ('x@x.example', 'x', 'client', %(client)s)"
    ),
    "clients": "INSERT INTO public.clients (name, email) VALUES ('x', 'x@x.example')",
    "workflows": "INSERT INTO public.workflows (name) VALUES ('x')",
    "workflow_requests": (
        "INSERT INTO public.workflow_requests (client_id, workflow_id)"
        " VALUES (%(client)s, %(workflow)s)"
    ),
    "workflow_executions": (
        "INSERT INTO public.workflow_executions (workflow_id, client_id, user_id, input_data)"
        " VALUES (%(workflow)s, %(client)s, %(user)s, '{}')"
    ),
    "workflow_batch_results": (
        "INSERT INTO public.workflow_batch_results"
        " (execution_id, client_id, batch_index, prompt_text)"
        " VALUES (%(live)s, %(client)s, 9, 'x')"
    ),
    "support_tickets": (
        "INSERT INTO public.support_tickets (client_id, user_id, subject, description)"
        " VALUES (%(client)s, %(user)s, 'x', 'x')"
    ),
    "idempotency_keys": (
        "INSERT INTO public.idempotency_keys"
        " (client_id, user_id, route, key, request_hmac, response_ref)"
        " VALUES (%(client)s, %(user)s, 'x', 'x', 'x', gen_random_uuid())"
    ),
    "spend_ledger": (
        "INSERT INTO public.spend_ledger (client_id, execution_id, month, charged_microusd)"
        " VALUES (%(client)s, %(live)s, '2026-01-01', 1)"
    ),
    "webhook_deliveries": (
        "INSERT INTO public.webhook_deliveries"
        " (execution_id, client_id, run, url, secret_version, payload)"
        " VALUES (%(live)s, %(client)s, 9, 'https://x.example', 1, '{}')"
    ),
    "archives": (
        "INSERT INTO public.archives (execution_id, id, client_id, images, content_digest)"
        " VALUES (%(live)s, gen_random_uuid(), %(client)s, 1, 'x')"
    ),
    "archive_parts": (
        "INSERT INTO public.archive_parts (archive_id, part, client_id, batch_indices)"
        " VALUES (%(archive)s, 9, %(client)s, '{0}')"
    ),
    "economy_jobs": (
        "INSERT INTO public.economy_jobs (execution_id, client_id, number, model, lane_id, prompts)"
        " VALUES (%(live)s, %(client)s, 9, 'x', gen_random_uuid(), 1)"
    ),
}


def statement(table: str, command: str) -> LiteralString:
    """A statement that tries `command` on the row of the parameters. An INSERT adds a new row for
    the tenant of the parameters."""
    column: LiteralString = ROWS[table][0]
    target: LiteralString = "public." + table  # pyright: ignore - one of ours
    match command:
        case "SELECT":
            return "SELECT " + column + " FROM " + target + " WHERE " + column + " = %(key)s"
        case "INSERT":
            return INSERTS[table]
        case "UPDATE":
            return UPDATES[table]
        case _:
            return "DELETE FROM " + target + " WHERE " + column + " = %(key)s"


def parameters(table: str, whose: str) -> dict[str, Key]:
    """The parameters of `statement` for the row of a tenant ("own" or "other")."""
    return {
        "key": ROWS[table][1][whose],
        "client": CLIENT_OF[whose],
        "user": USER_OF[whose],
        "live": LIVE_EXECUTION[whose],
        "archive": ARCHIVE[whose],
        "workflow": WORKFLOW,
    }


def lay_out(superuser: psycopg.Connection) -> None:
    """Gives both tenants a row in every table, in the state that permits most to its tenant."""
    superuser.execute(
        "INSERT INTO public.workflows (id, name, status) VALUES (%s, 'retired', 'inactive')",
        [RETIRED_WORKFLOW],
    )
    # A second administrator, because the last one cannot be deleted or suspended.
    superuser.execute(
        "INSERT INTO public.users (email, name, role) VALUES ('spare@x.example', 'x', 'admin')"
    )
    for whose in ("own", "other"):
        values = {
            "client": CLIENT_OF[whose],
            "user": USER_OF[whose],
            "workflow": WORKFLOW,
            "live": LIVE_EXECUTION[whose],
            "ended": ENDED_EXECUTION[whose],
            "request": REQUEST[whose],
            "result": RESULT[whose],
            "ticket": TICKET[whose],
            "key": ROWS["idempotency_keys"][1][whose],
            "delivery": DELIVERY[whose],
            "archive": ARCHIVE[whose],
        }
        superuser.execute(
            "INSERT INTO public.workflow_requests (id, client_id, workflow_id)"
            " VALUES (%(request)s, %(client)s, %(workflow)s)",
            values,
        )
        superuser.execute(
            "INSERT INTO public.workflow_executions"
            " (id, workflow_id, client_id, user_id, status, input_data) VALUES"
            " (%(live)s, %(workflow)s, %(client)s, %(user)s, 'processing', '{}'),"
            " (%(ended)s, %(workflow)s, %(client)s, %(user)s, 'completed', '{}')",
            values,
        )
        superuser.execute(
            "INSERT INTO public.workflow_batch_results"
            " (id, execution_id, client_id, batch_index, prompt_text)"
            " VALUES (%(result)s, %(live)s, %(client)s, 0, 'x')",
            values,
        )
        superuser.execute(
            "INSERT INTO public.support_tickets (id, client_id, user_id, subject, description)"
            " VALUES (%(ticket)s, %(client)s, %(user)s, 'x', 'x')",
            values,
        )
        superuser.execute(
            "INSERT INTO public.idempotency_keys"
            " (client_id, user_id, route, key, request_hmac, response_ref)"
            " VALUES (%(client)s, %(user)s, 'x', %(key)s, 'x', gen_random_uuid())",
            values,
        )
        superuser.execute(
            "INSERT INTO public.spend_ledger (client_id, execution_id, month, charged_microusd)"
            " VALUES (%(client)s, %(live)s, '2026-01-01', 1)",
            values,
        )
        superuser.execute(
            "INSERT INTO public.webhook_deliveries"
            " (id, execution_id, client_id, run, url, secret_version, payload)"
            " VALUES (%(delivery)s, %(live)s, %(client)s, 0, 'https://x.example', 1, '{}')",
            values,
        )
        superuser.execute(
            "INSERT INTO public.archives (execution_id, id, client_id, images, content_digest)"
            " VALUES (%(ended)s, %(archive)s, %(client)s, 1, 'x')",
            values,
        )
        superuser.execute(
            "INSERT INTO public.archive_parts (archive_id, part, client_id, batch_indices)"
            " VALUES (%(archive)s, 1, %(client)s, '{0}')",
            values,
        )
        superuser.execute(
            "INSERT INTO public.economy_jobs"
            " (execution_id, client_id, number, model, lane_id, prompts)"
            " VALUES (%(live)s, %(client)s, 0, 'x', gen_random_uuid(), 1)",
            values,
        )
