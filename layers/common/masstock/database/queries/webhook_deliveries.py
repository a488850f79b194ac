"""Statements on webhook_deliveries."""

from typing import TYPE_CHECKING, TypedDict, cast
from uuid import UUID

from masstock.database.connection import Executor, Statement
from masstock.schemas.engine import ExecutionRun

if TYPE_CHECKING:
    # For the type only: finalize imports the module when there are deliveries.
    from masstock.services.webhooks import Answer


def enqueue_delivery(run: ExecutionRun) -> Statement:
    """Inserts the delivery of an ended run, once, if the execution has a webhook. Runs in the
    transaction that ends the run. For the first 30 seconds only the machine attempts the delivery,
    not the sweep. Returns one row if it inserted the delivery."""
    return (
        """
        INSERT INTO public.webhook_deliveries
            (execution_id, client_id, run, url, secret_version, next_attempt_at, payload)
        SELECT e.id, e.client_id, e.run, e.webhook_url, e.webhook_secret_version,
            now() + interval '30 seconds', json_build_object(
                'type', 'execution.' || e.status,
                'timestamp', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                'data', json_build_object(
                    'id', e.id, 'workflow_id', e.workflow_id, 'client_id', e.client_id,
                    'user_id', e.user_id, 'status', e.status, 'output_data', e.output_data,
                    'cost_microusd', e.cost_microusd, 'error_code', e.error_code,
                    'error_message', e.error_message, 'created_at', e.created_at,
                    'started_at', e.started_at, 'completed_at', e.completed_at,
                    'duration_seconds', e.duration_seconds))::text
        FROM public.workflow_executions e
        WHERE e.id = %(id)s AND e.run = %(run)s AND e.status IN ('completed', 'failed')
          AND e.webhook_url IS NOT NULL
        ON CONFLICT (execution_id, run) DO NOTHING
        RETURNING id
        """,
        {"id": run.execution_id, "run": run.run},
    )


class DueDelivery(TypedDict):
    """A delivery to attempt now. `attempts` includes this attempt."""

    id: UUID
    execution_id: UUID
    url: str
    client_id: UUID
    secret_version: int
    payload: str
    attempts: int


def claim_deliveries(
    tx: Executor, execution_id: UUID | None, limit: int, delays: list[int]
) -> list[DueDelivery]:
    """Selects the deliveries to attempt now. With `execution_id`: the execution's delivery, if it
    was not attempted before. Without: the deliveries that are due, oldest first. Schedules the next
    attempt in the same statement, so that a crash only delays a delivery. `delays` are the seconds
    between attempts, so there is one attempt more than delays."""
    rows = tx.fetch_all(
        """
        WITH due AS (
            SELECT id FROM public.webhook_deliveries
            WHERE delivered_at IS NULL
              AND CASE WHEN %(execution_id)s::uuid IS NULL THEN next_attempt_at <= now()
                       ELSE execution_id = %(execution_id)s AND attempts = 0 END
            ORDER BY next_attempt_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
        )
        UPDATE public.webhook_deliveries d
        SET attempts = d.attempts + 1,
            next_attempt_at = now()
                + make_interval(secs => (%(delays)s::integer[])[d.attempts + 1])
        FROM due WHERE d.id = due.id
        RETURNING d.id, d.execution_id, d.url, d.client_id, d.secret_version, d.payload, d.attempts
        """,
        execution_id=execution_id,
        limit=limit,
        delays=delays,
    )
    return cast(list[DueDelivery], rows)


def record_attempt(tx: Executor, delivery_id: UUID, answer: "Answer") -> None:
    """Stores the receiver's answer to an attempt."""
    tx.fetch_all(
        """
        UPDATE public.webhook_deliveries
        SET response_status = %(status)s, error_message = %(error)s,
            delivered_at = CASE WHEN %(delivered)s THEN now() END,
            next_attempt_at = CASE WHEN %(final)s THEN NULL ELSE next_attempt_at END
        WHERE id = %(id)s AND delivered_at IS NULL
        """,
        id=delivery_id,
        delivered=answer.delivered,
        final=answer.final,
        status=answer.status,
        error=answer.error,
    )
