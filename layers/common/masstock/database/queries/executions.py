"""workflow_executions."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, LiteralString, TypedDict, cast
from uuid import UUID

from psycopg.types.json import Jsonb

from masstock.database.connection import Executor, Statement
from masstock.database.queries.keyset import Page, lines_of
from masstock.errors import Cancelled, Conflict, InvalidRequest, NotFound
from masstock.schemas.engine import ExecutionRun

if TYPE_CHECKING:
    from masstock.database.worker import Worker

# A statement's time begins when its first bytes arrive. The login's 25 s would end a large list on
# a slow connection, so the api's own timeout of 28 s is the limit for such a statement.
LARGE_INPUT_BYTES = 2 * 1024 * 1024
LARGE_INPUT_TIMEOUT = "60s"
# An answer of Lambda has at most 6 MB, its envelope included.
MAX_INPUT_BYTES = 3 * 1024 * 1024

# --- as a tenant -------------------------------------------------------------------------------


def insert_execution(
    tx: Executor,
    *,
    execution_id: UUID,
    workflow_id: UUID,
    client_id: UUID,
    user_id: UUID,
    input_data: Mapping[str, Any],
    deadline_seconds: int,
    estimate_microusd: int | None,
    webhook_url: str | None,
    webhook_secret_version: int,
) -> None:
    """Records a submission and reserves its estimate; the state machine is started after the
    commit. SQLSTATE MS402 where the client's budget has no room for it."""
    content = _compact_json(input_data)
    if len(content) > LARGE_INPUT_BYTES:
        tx.fetch_all(
            "SELECT set_config('statement_timeout', %(timeout)s, true)", timeout=LARGE_INPUT_TIMEOUT
        )
    tx.fetch_all(
        """
        INSERT INTO public.workflow_executions
            (id, workflow_id, client_id, user_id, input_data, deadline_at, estimate_microusd,
             webhook_url, webhook_secret_version)
        VALUES (%(id)s, %(workflow_id)s, %(client_id)s, %(user_id)s, %(input_data)s,
                now() + make_interval(secs => %(deadline_seconds)s), %(estimate_microusd)s,
                %(webhook_url)s, %(webhook_secret_version)s)
        """,
        id=execution_id,
        workflow_id=workflow_id,
        client_id=client_id,
        user_id=user_id,
        input_data=Jsonb(content, dumps=bytes),
        deadline_seconds=deadline_seconds,
        estimate_microusd=estimate_microusd,
        webhook_url=webhook_url,
        webhook_secret_version=webhook_secret_version,
    )


def _compact_json(value: Mapping[str, Any]) -> bytes:
    """The JSON text without spaces and with few escapes, which would triple 50 MB of emoji."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # a lone surrogate, which Postgres refuses with its own SQLSTATE
        return json.dumps(value, separators=(",", ":")).encode()


def fetch_execution(tx: Executor, execution_id: UUID) -> str:
    """One execution as JSON, with its names and progress and without its API key; prompts that
    would not fit into an answer are left to the results. Raises NotFound."""
    row = tx.fetch_one(
        """
        SELECT row_to_json(x)::text AS json FROM (
            SELECT e.id, e.workflow_id, e.client_id, e.user_id, e.status,
                CASE WHEN e.input_bytes <= %(max_bytes)s THEN e.input_data ELSE e.input_settings
                END - 'api_key' AS input_data, e.prompt_count, e.output_data, e.started_at,
                e.completed_at, e.duration_seconds, e.error_code, e.error_message, e.created_at,
                e.deadline_at, e.estimate_microusd, e.cost_microusd, e.webhook_url,
                d.delivered_at AS webhook_delivered_at, d.error_message AS webhook_error,
                (SELECT w.name FROM app.workflow_names w WHERE w.id = e.workflow_id)
                    AS workflow_name,
                (SELECT p.name FROM app.people p WHERE p.id = e.user_id) AS user_name,
                (SELECT c.name FROM public.clients c WHERE c.id = e.client_id) AS client_name,
                (SELECT json_build_object(
                    'total', t.total, 'successful', r.successful, 'failed', r.failed,
                    'processing', t.total - r.successful - r.failed)
                 FROM (SELECT count(*) FILTER (WHERE b.status = 'completed') AS successful,
                              count(*) FILTER (WHERE b.status = 'failed') AS failed,
                              count(*) AS laid_out
                       FROM public.workflow_batch_results b WHERE b.execution_id = e.id) r,
                 -- Of what has ended, nothing is processing, even if fewer were laid out.
                 LATERAL (SELECT CASE WHEN e.status IN ('completed', 'failed') THEN r.laid_out
                          ELSE greatest(e.prompt_count, r.laid_out) END AS total) t
                ) AS progress
            FROM public.workflow_executions e
            LEFT JOIN public.webhook_deliveries d ON d.execution_id = e.id AND d.run = e.run
            WHERE e.id = %(id)s
        ) x
        """,
        id=execution_id,
        max_bytes=MAX_INPUT_BYTES,
    )
    return row["json"]


def list_executions(tx: Executor, page: Page) -> list[str]:
    """A page of executions as JSON, without input_data, which can be megabytes."""
    # The page comes first: joined early, the planner starts from the few visible names. And names
    # are looked up, not joined: a view that hides rows is joined by reading all that it shows.
    rows = tx.fetch_all(
        """
        WITH page AS MATERIALIZED (
            SELECT e.id, e.workflow_id, e.client_id, e.user_id, e.status, e.prompt_count,
                e.output_data, e.started_at, e.completed_at, e.duration_seconds, e.error_code,
                e.error_message, e.created_at, e.deadline_at, e.estimate_microusd,
                e.cost_microusd
            FROM public.workflow_executions e
            WHERE (%(status)s::text IS NULL OR e.status = %(status)s)
              AND (%(workflow_id)s::uuid IS NULL OR e.workflow_id = %(workflow_id)s)
              AND (%(client_id)s::uuid IS NULL OR e.client_id = %(client_id)s)
              AND (%(user_id)s::uuid IS NULL OR e.user_id = %(user_id)s)
              AND (%(created_from)s::timestamptz IS NULL OR e.created_at >= %(created_from)s)
              AND (%(created_to)s::timestamptz IS NULL OR e.created_at < %(created_to)s)
              AND (e.created_at, e.id) < (%(before_created_at)s, %(before_id)s)
            ORDER BY e.created_at DESC, e.id DESC
            LIMIT (SELECT %(limit)s::integer)
        )
        SELECT string_agg(row_to_json(x)::text, chr(10)) AS json FROM (
            SELECT page.*,
                (SELECT w.name FROM app.workflow_names w WHERE w.id = page.workflow_id)
                    AS workflow_name,
                (SELECT p.name FROM app.people p WHERE p.id = page.user_id) AS user_name,
                (SELECT c.name FROM public.clients c WHERE c.id = page.client_id) AS client_name
            FROM page
            ORDER BY page.created_at DESC, page.id DESC
        ) x
        """,
        **page.parameters(),
    )
    return lines_of(rows)


def cancel_execution(tx: Executor, execution_id: UUID) -> None:
    """Stops an execution: no prompt is claimed after this is committed. Stopping what is already
    being stopped changes nothing; raises Conflict where it has ended, NotFound."""
    message = Cancelled().detail
    [row] = tx.fetch_all(
        "SELECT app.cancel_execution(%(id)s, %(message)s) AS outcome",
        id=execution_id,
        message=message,
    )
    if row["outcome"] is None:
        raise NotFound
    if row["outcome"] == "ended":
        raise Conflict("The execution has already ended.")


def reopen_failed(
    tx: Executor, execution_id: UUID, codes: list[str] | None, deadline_seconds: int
) -> ExecutionRun:
    """Re-opens the failed prompts of an ended execution, or those with the given codes, and returns
    the run that must be started; raises NotFound."""
    [row] = tx.fetch_all(
        "SELECT app.reopen_failed(%(id)s, %(codes)s, %(deadline_seconds)s) AS run",
        id=execution_id,
        codes=codes,
        deadline_seconds=deadline_seconds,
    )
    if row["run"] is None:
        raise NotFound
    return ExecutionRun(execution_id, row["run"])


def delete_execution(tx: Executor, execution_id: UUID) -> bool:
    """Deletes an ended execution with its results; False where it has not ended. Its images are
    removed by the sweep."""
    return bool(
        tx.fetch_all(
            """
            DELETE FROM public.workflow_executions
            WHERE id = %(id)s AND status IN ('completed', 'failed') RETURNING id
            """,
            id=execution_id,
        )
    )


# --- as the engine -----------------------------------------------------------------------------


class StartedExecution(TypedDict):
    """The workflow's config, and whether the execution was stopped."""

    config: dict[str, Any]
    stopped: bool


def start_execution(tx: Executor, run: ExecutionRun) -> StartedExecution | None:
    """Marks the run's execution as processing. None if it has ended or has another run."""
    rows = tx.fetch_all(
        """
        UPDATE public.workflow_executions e
        SET status = 'processing', started_at = coalesce(e.started_at, now())
        FROM public.workflows w
        WHERE e.id = %(id)s AND e.run = %(run)s AND e.status IN ('pending', 'processing')
          AND w.id = e.workflow_id
        RETURNING w.config, e.error_code IS NOT NULL AS stopped
        """,
        id=run.execution_id,
        run=run.run,
    )
    return cast(StartedExecution, rows[0]) if rows else None


def stop_execution(tx: Executor, execution_id: UUID, code: str, message: str) -> None:
    """Prevents further claims of the execution. The first reason stays."""
    tx.fetch_all(
        """
        UPDATE public.workflow_executions
        SET error_code = %(code)s, error_message = %(message)s
        WHERE id = %(id)s AND status = 'processing' AND error_code IS NULL
        """,
        id=execution_id,
        code=code,
        message=message,
    )


def lock_execution(run: ExecutionRun) -> Statement:
    """Waits for claims in progress and blocks new ones until the transaction ends."""
    return (
        """
        SELECT FROM public.workflow_executions
        WHERE id = %(id)s AND run = %(run)s AND status IN ('pending', 'processing') FOR UPDATE
        """,
        {"id": run.execution_id, "run": run.run},
    )


class Counts(TypedDict):
    """`output_data` of an ended execution. `cost_microusd` is None if no result has a cost."""

    successful: int
    failed: int
    total: int
    cost_microusd: int | None


class EndedExecution(TypedDict):
    """A row of `end_execution`."""

    status: str
    output_data: Counts
    error_code: str | None
    duration_seconds: int
    client_id: UUID


def end_execution(run: ExecutionRun) -> Statement:
    """Counts the results and writes the terminal status; without results, it is failed. Returns
    one EndedExecution, or no row if the execution has ended or has another run."""
    return (
        """
        WITH counts AS (
            SELECT count(*) FILTER (WHERE r.status = 'completed') AS successful,
                   count(*) FILTER (WHERE r.status = 'failed') AS failed,
                   count(*) AS total, sum(r.cost_microusd)::bigint AS cost_microusd
            FROM public.workflow_batch_results r WHERE r.execution_id = %(id)s
        ), reason AS (
            SELECT r.error_code, min(r.error_message) AS error_message
            FROM public.workflow_batch_results r
            WHERE r.execution_id = %(id)s AND r.status = 'failed'
            GROUP BY r.error_code ORDER BY count(*) DESC, r.error_code LIMIT 1
        )
        UPDATE public.workflow_executions e
        SET status = CASE WHEN counts.successful > 0 AND e.error_code IS DISTINCT FROM 'cancelled'
                          THEN 'completed' ELSE 'failed' END,
            output_data = jsonb_build_object('successful', counts.successful,
                'failed', counts.failed, 'total', counts.total,
                'cost_microusd', counts.cost_microusd),
            cost_microusd = counts.cost_microusd,
            completed_at = now(),
            duration_seconds = round(extract(epoch FROM
                now() - coalesce(e.started_at, e.created_at)))::integer,
            error_code = coalesce(e.error_code,
                CASE WHEN counts.total = 0 THEN %(no_prompts)s
                     WHEN counts.successful = 0 THEN (SELECT error_code FROM reason) END),
            error_message = coalesce(e.error_message,
                CASE WHEN counts.total = 0 THEN 'The execution has no prompts.'
                     WHEN counts.successful = 0 THEN (SELECT error_message FROM reason) END)
        FROM counts
        WHERE e.id = %(id)s AND e.run = %(run)s AND e.status IN ('pending', 'processing')
        RETURNING e.status, e.output_data, e.error_code, e.duration_seconds, e.client_id
        """,
        {"id": run.execution_id, "run": run.run, "no_prompts": InvalidRequest.code},
    )


class LiveExecution(TypedDict):
    """An execution that has not ended. `overdue`: past its deadline. `painting`: overdue, and has a
    claim whose lease has not ended."""

    id: UUID
    run: int
    status: str
    created_at: datetime
    deadline_at: datetime | None
    age_seconds: float
    overdue: bool
    painting: bool


_LIVE: LiteralString = """
    SELECT e.id, e.run, e.status, e.created_at, e.deadline_at,
        extract(epoch FROM now() - e.created_at)::float8 AS age_seconds,
        coalesce(e.deadline_at < now(), false) AS overdue,
        CASE WHEN e.deadline_at < now() THEN EXISTS (
                SELECT FROM public.workflow_batch_results r
                WHERE r.execution_id = e.id AND r.status = 'processing'
                  AND r.claimed_until > now())
             ELSE false END AS painting
    FROM public.workflow_executions e
    WHERE e.status IN ('pending', 'processing')
"""

# The kinds of live executions that the sweep looks at. Each has an index that has its order.
_OVERDUE: LiteralString = """
    AND e.deadline_at < now() AND (e.deadline_at, e.id) > (%(at)s, %(id)s)
    ORDER BY e.deadline_at, e.id LIMIT %(limit)s
"""
_PENDING: LiteralString = """
    AND e.status = 'pending' AND coalesce(e.deadline_at >= now(), true)
    AND e.created_at < now() - make_interval(secs => %(grace_seconds)s)
    AND (e.created_at, e.id) > (%(at)s, %(id)s)
    ORDER BY e.created_at, e.id LIMIT %(limit)s
"""
_PROCESSING: LiteralString = """
    AND e.status = 'processing' AND coalesce(e.deadline_at >= now(), true)
    AND (e.created_at, e.id) > (%(at)s, %(id)s)
    ORDER BY e.created_at, e.id LIMIT %(limit)s
"""
KINDS: dict[str, LiteralString] = {
    "overdue": _LIVE + _OVERDUE,
    "pending": _LIVE + _PENDING,
    "processing": _LIVE + _PROCESSING,
}
# Before every time of Postgres that a row can have.
_FIRST_PLACE = (datetime(1, 1, 2, tzinfo=UTC), UUID(int=0))


def list_live_executions(
    tx: "Worker", limit: int, grace_seconds: int
) -> dict[str, list[LiveExecution]]:
    """At most `limit` executions of each kind that the sweep must look at: past the deadline;
    `pending` for `grace_seconds`; `processing`. Begins behind the last row of that kind that the
    sweep looked at (`keep_sweep_place`), and continues from the first row, so that every row gets
    its turn."""
    kept = {
        row["kind"]: (row["at"], row["id"])
        for row in tx.fetch_all("SELECT kind, at, id FROM app.fetch_sweep_places()")
    }
    statements: list[Statement] = []
    for kind, query in KINDS.items():
        for at, last_id in (kept.get(kind, _FIRST_PLACE), _FIRST_PLACE):
            values = {"at": at, "id": last_id, "limit": limit, "grace_seconds": grace_seconds}
            statements.append((query, values))
    found = iter(cast(list[list[LiveExecution]], tx.fetch_together(statements)))
    listed: dict[str, list[LiveExecution]] = {}
    for kind in KINDS:
        behind, all_of_them = next(found), next(found)
        known = {row["id"] for row in behind}
        rest = [row for row in all_of_them if row["id"] not in known]
        listed[kind] = (behind + rest)[:limit]
    return listed


def keep_sweep_place(tx: Executor, kind: str, row: LiveExecution) -> None:
    """The next list of this kind begins behind `row`."""
    tx.fetch_all(
        "SELECT app.keep_sweep_place(%(kind)s, %(at)s, %(id)s)",
        kind=kind,
        at=row["deadline_at"] if kind == "overdue" else row["created_at"],
        id=row["id"],
    )


def count_live_executions(tx: Executor) -> tuple[int, int]:
    """How many executions have not ended, and how many of these are past their deadline."""
    row = tx.fetch_one(
        """
        SELECT count(*) AS live, count(*) FILTER (WHERE deadline_at < now()) AS overdue
        FROM public.workflow_executions WHERE status IN ('pending', 'processing')
        """
    )
    return row["live"], row["overdue"]


def fetch_live_execution(tx: Executor, run: ExecutionRun) -> LiveExecution | None:
    """The run's execution. None if it has ended or has another run."""
    rows = tx.fetch_all(
        _LIVE + "AND e.id = %(id)s AND e.run = %(run)s", id=run.execution_id, run=run.run
    )
    return cast(LiveExecution, rows[0]) if rows else None


def list_deleted_executions(tx: Executor, limit: int) -> list[UUID]:
    """Ids of deleted executions whose images may still be stored. The ids that were listed longest
    ago come first."""
    rows = tx.fetch_all("SELECT app.list_deleted_executions(%(limit)s) AS id", limit=limit)
    return [row["id"] for row in rows]


def forget_deleted_execution(tx: Executor, execution_id: UUID) -> None:
    """Forgets a deleted execution. Does nothing in the first ten minutes after the deletion,
    because a late image may still appear."""
    tx.fetch_all("SELECT app.forget_deleted_execution(%(id)s)", id=execution_id)


def fold_counts() -> Statement:
    """Adds the counts appended for the reports to their sums."""
    return ("SELECT app.fold_execution_counts()", {})


def advance_run(tx: Executor, run: ExecutionRun) -> ExecutionRun | None:
    """Makes the next run the current one and returns it. None if the execution has ended or has
    another run."""
    rows = tx.fetch_all(
        """
        UPDATE public.workflow_executions SET run = run + 1
        WHERE id = %(id)s AND run = %(run)s AND status IN ('pending', 'processing')
        RETURNING run
        """,
        id=run.execution_id,
        run=run.run,
    )
    return ExecutionRun(run.execution_id, rows[0]["run"]) if rows else None
