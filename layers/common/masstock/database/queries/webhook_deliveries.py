"""Statements on webhook_deliveries."""

from typing import TYPE_CHECKING, TypedDict, cast
from uuid import UUID

from masstock.database.connection import Executor, Statement
from masstock.schemas.engine import ExecutionRun

if TYPE_CHECKING:
    # For the type only: finalize imports the module when there are deliveries.
    from masstock.services.webhooks import Answer


def announce_results(execution_id: UUID) -> Statement:
    """Queues deliveries of at most 100 results each for the results that have an outcome since the
    last call, if the webhook wants them. Returns one row {announced}: their number."""
    return (
        "SELECT app.announce_results(%(id)s) AS announced",
        {"id": execution_id},
    )


def list_announcing(tx: Executor) -> list[UUID]:
    """The running executions whose webhook wants results."""
    rows = tx.fetch_all(
        """
        SELECT id FROM public.workflow_executions
        WHERE status = 'processing' AND webhook_url IS NOT NULL
          AND webhook_events && '{result.completed,result.failed}'
        """
    )
    return [row["id"] for row in rows]


def enqueue_delivery(run: ExecutionRun) -> Statement:
    """Queues the delivery of a run that ended or paused, once, if the execution's webhook wants it.
    Runs in the transaction that ends or pauses the run. For the first 30 seconds only the machine
    attempts the delivery, not the sweep. Returns one row if it queued the delivery."""
    return (
        """
        INSERT INTO public.webhook_deliveries
            (execution_id, client_id, run, url, secret_version, next_attempt_at, payload)
        SELECT e.id, e.client_id, CASE WHEN e.paused_at IS NULL THEN e.run END, e.webhook_url,
            e.webhook_secret_version,
            now() + interval '30 seconds', json_build_object(
                'type', x.event,
                'timestamp', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                'data', json_build_object(
                    'id', e.id, 'workflow_id', e.workflow_id, 'client_id', e.client_id,
                    'user_id', e.user_id, 'status', e.status, 'tier', e.tier,
                    'output_data', e.output_data,
                    'cost_microusd', e.cost_microusd, 'error_code', e.error_code,
                    'error_message', e.error_message, 'created_at', e.created_at,
                    'started_at', e.started_at, 'completed_at', e.completed_at,
                    'duration_seconds', e.duration_seconds, 'paused_at', e.paused_at))::text
        FROM public.workflow_executions e, LATERAL (SELECT 'execution.' || CASE
            WHEN e.paused_at IS NULL THEN e.status ELSE 'paused' END AS event) AS x
        WHERE e.id = %(id)s AND e.run = %(run)s
          AND (e.status IN ('completed', 'failed') OR e.paused_at = now())
          AND e.webhook_url IS NOT NULL AND x.event = ANY (e.webhook_events)
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
    # Those that sign now, the newest first.
    secret_versions: list[int]
    payload: str
    attempts: int


def claim_first_delivery(tx: Executor, execution_id: UUID, delays: list[int]) -> list[DueDelivery]:
    """Claims the first delivery of an execution that is not finished, if it had no attempt. See
    `claim_deliveries`."""
    rows = tx.fetch_all(
        """
        UPDATE public.webhook_deliveries d
        SET attempts = 1, next_attempt_at = now() + make_interval(secs => %(delay)s)
        WHERE d.id = (
            SELECT x.id FROM public.webhook_deliveries x
            WHERE x.execution_id = %(execution_id)s AND x.next_attempt_at IS NOT NULL
            ORDER BY x.sequence NULLS FIRST LIMIT 1)
          AND d.attempts = 0 AND d.delivered_at IS NULL
        RETURNING d.id, d.execution_id, d.url, d.client_id, d.payload, d.attempts,
            app.webhook_versions(d.client_id) AS secret_versions
        """,
        execution_id=execution_id,
        delay=delays[0],
    )
    return cast(list[DueDelivery], rows)


def claim_deliveries(
    tx: Executor, *, limit: int, per_client: int, busy: list[UUID], delays: list[int]
) -> list[DueDelivery]:
    """Claims at most `limit` deliveries that are due. `busy` names the client of each attempt in
    progress. A client has at most `per_client` attempts with these; a client with fewer attempts
    comes first, then the older delivery. Schedules the next attempt in the same statement, so that
    a crash only delays a delivery. The n-th delay, in seconds, follows the n-th attempt. One
    attempt follows the last delay."""
    # `waiting` steps from client to client in the index, so that a client's thousand deliveries
    # cost no more than one.
    rows = tx.fetch_all(
        """
        WITH RECURSIVE waiting AS (
            (SELECT d.client_id FROM public.webhook_deliveries d
             WHERE d.next_attempt_at IS NOT NULL ORDER BY d.client_id LIMIT 1)
            UNION ALL
            SELECT (SELECT d.client_id FROM public.webhook_deliveries d
                    WHERE d.next_attempt_at IS NOT NULL AND d.client_id > w.client_id
                    ORDER BY d.client_id LIMIT 1)
            FROM waiting w WHERE w.client_id IS NOT NULL
        ), clients AS (
            SELECT w.client_id, (SELECT count(*) FROM unnest(%(busy)s::uuid[]) b (client_id)
                                 WHERE b.client_id = w.client_id) AS attempts
            FROM waiting w WHERE w.client_id IS NOT NULL
        ), due AS (
            SELECT d.id, d.next_attempt_at, c.attempts
                + row_number() OVER (PARTITION BY c.client_id ORDER BY d.next_attempt_at) AS turn
            FROM clients c, LATERAL (
                SELECT x.id, x.next_attempt_at FROM public.webhook_deliveries x
                WHERE x.client_id = c.client_id AND x.next_attempt_at <= now()
                  AND x.delivered_at IS NULL
                ORDER BY x.next_attempt_at LIMIT greatest(%(per_client)s - c.attempts, 0)) d
        ), claimed AS (
            SELECT d.id FROM public.webhook_deliveries d
            WHERE d.id IN (SELECT due.id FROM due ORDER BY due.turn, due.next_attempt_at
                           LIMIT %(limit)s)
              -- Said again: another sweep may have claimed it since.
              AND d.next_attempt_at <= now() AND d.delivered_at IS NULL
            FOR UPDATE SKIP LOCKED
        )
        UPDATE public.webhook_deliveries d
        SET attempts = d.attempts + 1,
            next_attempt_at = now()
                + make_interval(secs => (%(delays)s::integer[])[d.attempts + 1])
        FROM claimed WHERE d.id = claimed.id
        RETURNING d.id, d.execution_id, d.url, d.client_id, d.payload, d.attempts,
            app.webhook_versions(d.client_id) AS secret_versions
        """,
        limit=limit,
        per_client=per_client,
        busy=busy,
        delays=delays,
    )
    return cast(list[DueDelivery], rows)


def free_queues(tx: Executor) -> None:
    """Makes the first delivery of each queue due. Usually `record_attempt` has done it. It cannot
    if the last attempt of a delivery died, or if a delivery was queued at that moment."""
    tx.fetch_all(
        """
        UPDATE public.webhook_deliveries d SET next_attempt_at = now()
        WHERE d.next_attempt_at = 'infinity' AND NOT EXISTS (
            SELECT FROM public.webhook_deliveries x
            WHERE x.execution_id = d.execution_id AND x.next_attempt_at IS NOT NULL
              AND (x.sequence < d.sequence OR x.sequence IS NULL))
        """
    )


def record_attempt(tx: Executor, delivery_id: UUID, answer: "Answer") -> None:
    """Stores the receiver's answer to an attempt. If no further attempt follows, the next delivery
    of the execution becomes due."""
    tx.fetch_all(
        """
        WITH recorded AS (
            UPDATE public.webhook_deliveries
            SET response_status = %(status)s, error_message = %(error)s,
                delivered_at = CASE WHEN %(delivered)s THEN now() END,
                next_attempt_at = CASE WHEN %(final)s THEN NULL ELSE next_attempt_at END
            WHERE id = %(id)s AND delivered_at IS NULL
            RETURNING execution_id, sequence, next_attempt_at
        )
        UPDATE public.webhook_deliveries d SET next_attempt_at = now()
        WHERE d.next_attempt_at = 'infinity' AND d.id = (
            SELECT x.id FROM public.webhook_deliveries x, recorded r
            WHERE x.execution_id = r.execution_id AND r.next_attempt_at IS NULL
              AND x.next_attempt_at IS NOT NULL
              AND (x.sequence > r.sequence OR r.sequence IS NULL)
            ORDER BY x.sequence LIMIT 1)
        """,
        id=delivery_id,
        delivered=answer.delivered,
        final=answer.final,
        status=answer.status,
        error=answer.error,
    )
