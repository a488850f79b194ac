"""Statements for an execution whose image model is gone. Only generate imports this module."""

from uuid import UUID

from masstock.database.connection import Executor
from masstock.errors import ModelUnavailable


def stop_if_gone(tx: Executor, execution_id: UUID, outcome: ModelUnavailable) -> None:
    """Prevents further claims if two prompts failed as `model_unavailable` in the present work of
    the execution, and no image was painted between them. The first reason stays."""
    tx.fetch_all(
        """
        UPDATE public.workflow_executions e
        SET error_code = %(code)s, error_message = %(message)s
        WHERE e.id = %(id)s AND e.status = 'processing' AND e.error_code IS NULL
          AND 2 <= (
            SELECT count(*) FROM public.workflow_batch_results r
            WHERE r.execution_id = e.id AND r.status = 'failed' AND r.error_code = %(code)s
              AND r.completed_at >= coalesce(e.working_since, e.started_at)
              AND r.completed_at > coalesce((
                SELECT max(painted.completed_at) FROM public.workflow_batch_results painted
                WHERE painted.execution_id = e.id AND painted.status = 'completed'), '-infinity'))
        """,
        id=execution_id,
        code=outcome.code,
        message=outcome.detail,
    )
