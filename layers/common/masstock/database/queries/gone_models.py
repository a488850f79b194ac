"""Statements for an execution whose image model is gone. Only generate imports this module."""

from typing import Literal
from uuid import UUID

from masstock.database.connection import Executor
from masstock.errors import ModelUnavailable

# first    the first 404: it may be a mistake, and the prompt may be painted again
# second   the second 404 without an image in between: `fall_back` is due
# replaced the execution has gone on with its fallback model since the claim
# gone     there is no fallback: the prompt fails
type Missed = Literal["first", "second", "replaced", "gone"]


def miss_model(
    tx: Executor, execution_id: UUID, model: str, outcome: ModelUnavailable
) -> Missed | None:
    """Records that `model` answered 404. Without a fallback, the second 404 of the submission or of
    the latest retry prevents further claims, unless an image was painted in between. None if the
    execution has ended or was stopped."""
    # FOR UPDATE: of two 404s at the same time, one is the second.
    rows = tx.fetch_all(
        """
        WITH execution AS (
            SELECT e.id, coalesce(e.settings ->> 'model', %(model)s) AS model,
                coalesce(jsonb_typeof(e.settings -> 'fallback_model') = 'string', false)
                    AS has_fallback,
                coalesce(e.model_missed_at > greatest(e.working_since, (
                    SELECT max(r.completed_at) FROM public.workflow_batch_results r
                    WHERE r.execution_id = e.id AND r.status = 'completed')), false) AS is_second
            FROM public.workflow_executions e
            WHERE e.id = %(id)s AND e.status = 'processing' AND e.error_code IS NULL
            FOR UPDATE
        ), missed AS (
            UPDATE public.workflow_executions e
            SET model_missed_at = now(),
                error_code = CASE WHEN x.is_second AND NOT x.has_fallback THEN %(code)s END,
                error_message = CASE WHEN x.is_second AND NOT x.has_fallback THEN %(message)s END
            FROM execution x
            WHERE e.id = x.id AND x.model = %(model)s
        )
        SELECT CASE WHEN x.model <> %(model)s THEN 'replaced'
                    WHEN NOT x.has_fallback THEN 'gone'
                    WHEN x.is_second THEN 'second' ELSE 'first' END AS missed
        FROM execution x
        """,
        id=execution_id,
        model=model,
        code=outcome.code,
        message=outcome.detail,
    )
    return rows[0]["missed"] if rows else None


def fall_back(tx: Executor, execution_id: UUID, model: str) -> bool:
    """Unfinished prompts go on with the fallback model of the execution's settings. Changes nothing
    and returns False if `model` is no longer the execution's model, if there is no fallback, or if
    the execution was stopped. Calls that run still end with `model`."""
    [row] = tx.fetch_all(
        "SELECT app.fall_back(%(id)s, %(model)s) AS fell_back", id=execution_id, model=model
    )
    return bool(row["fell_back"])
