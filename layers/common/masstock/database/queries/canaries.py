"""Statements on executions that pause after their first images."""

from typing import TypedDict
from uuid import UUID

from masstock.database.connection import Executor, Statement
from masstock.errors import Cancelled, NotFound
from masstock.schemas.engine import ExecutionRun

# --- as a tenant -------------------------------------------------------------------------------


def resume_execution(tx: Executor, execution_id: UUID) -> ExecutionRun:
    """Ends the pause of an execution. Returns the run to start. Raises NotFound; SQLSTATE MS409 if
    it is not paused."""
    [row] = tx.fetch_all("SELECT app.resume_execution(%(id)s) AS run", id=execution_id)
    if row["run"] is None:
        raise NotFound
    return ExecutionRun(execution_id, row["run"])


# --- as the engine -----------------------------------------------------------------------------


class SettledCanary(TypedDict):
    """A row of `settle_canary`. `run` is the run to start if the execution is not paused."""

    run: int
    paused: bool


def settle_canary(run: ExecutionRun) -> Statement:
    """After the canary's images: pauses the execution, or allows the next ones under the next run
    if enough succeeded. Returns one SettledCanary, or no row if there is no canary to settle: the
    run has none, no image follows it, or the execution was stopped."""
    return (
        """
        WITH execution AS (
            SELECT e.id, app.canary_images(e.input_settings) AS images,
                e.input_settings -> 'canary' -> 'continue_at' AS continue_at
            FROM public.workflow_executions e
            WHERE e.id = %(id)s AND e.run = %(run)s AND e.status = 'processing'
              AND e.error_code IS NULL AND e.paused_at IS NULL AND e.canary_passed_at IS NULL
              AND app.canary_images(e.input_settings) IS NOT NULL
            FOR UPDATE
        ), verdict AS (
            SELECT x.id, coalesce(CASE jsonb_typeof(x.continue_at) WHEN 'number' THEN
                count(*) FILTER (WHERE r.status = 'completed' AND r.batch_index < x.images)
                    >= x.continue_at::numeric * count(*) FILTER (WHERE r.batch_index < x.images)
                END, false) AS continues
            FROM execution x, public.workflow_batch_results r
            WHERE r.execution_id = x.id
            GROUP BY x.id, x.images, x.continue_at
            HAVING count(*) FILTER (WHERE r.status = 'processing' AND r.batch_index >= x.images) > 0
        )
        UPDATE public.workflow_executions e
        SET paused_at = CASE WHEN NOT v.continues THEN now() END,
            canary_passed_at = CASE WHEN v.continues THEN now() END,
            run = e.run + v.continues::integer
        FROM verdict v WHERE e.id = v.id
        RETURNING e.run, e.paused_at IS NOT NULL AS paused
        """,
        {"id": run.execution_id, "run": run.run},
    )


def end_long_pauses() -> Statement:
    """Cancels the executions that nobody resumed for seven days. The next sweep ends them."""
    return (
        """
        UPDATE public.workflow_executions
        SET error_code = %(code)s, error_message = 'Nobody resumed the execution for seven days.'
        WHERE paused_at < now() - interval '7 days'
        """,
        {"code": Cancelled.code},
    )
