"""Statements on workflow_executions."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, LiteralString, TypedDict, cast
from uuid import UUID

from psycopg.types.json import Jsonb

from masstock.catalogue.image_sizes import DEFAULT_SIZE
from masstock.database.connection import Executor, Statement, Versioned
from masstock.database.queries.keyset import Page, lines_of
from masstock.errors import Cancelled, Conflict, InvalidRequest, NotFound
from masstock.schemas.engine import ExecutionRun

if TYPE_CHECKING:
    from masstock.catalogue.image_models import Prices

# A statement's time begins when its first bytes arrive. The login's 25 s would end a large list on
# a slow connection, so the api's own timeout of 29 s is the limit for such a statement.
LARGE_INPUT_BYTES = 2 * 1024 * 1024
LARGE_INPUT_TIMEOUT = "60s"
# An execution and its envelope must fit into Lambda's limit of 6 MB.
MAX_INPUT_BYTES = 3 * 1024 * 1024

# --- as a tenant -------------------------------------------------------------------------------


def insert_execution(
    tx: Executor,
    *,
    execution_id: UUID,
    workflow_id: UUID,
    client_id: UUID,
    user_id: UUID,
    name: str | None,
    input_data: Mapping[str, Any],
    lane_key: UUID | None,
    deadline_seconds: int,
    deadline_is_fixed: bool,
    estimate_microusd: int | None,
    reserve_microusd: int | None,
    prices: "Prices | None",
    tier: str,
    on_economy_failure: str | None,
    webhook_url: str | None,
    webhook_secret_version: int,
    webhook_events: list[str],
) -> set[int]:
    """Stores a submission and reserves its estimate, or `reserve_microusd` if that is given. The
    machine must start after the commit. Returns the batch indices of reused images, and leaves
    their prices out. Raises SQLSTATE MS402 if the client's budget has no room."""
    content = _compact_json(input_data)
    if len(content) > LARGE_INPUT_BYTES:
        tx.fetch_all(
            "SELECT set_config('statement_timeout', %(timeout)s, true)", timeout=LARGE_INPUT_TIMEOUT
        )
    [row] = tx.fetch_all(
        """
        INSERT INTO public.workflow_executions
            (id, workflow_id, client_id, user_id, name, input_data, deadline_at, estimate_microusd,
             reserve_microusd, prices, tier, on_economy_failure, webhook_url,
             webhook_secret_version, webhook_events, lane_key, deadline_is_fixed)
        VALUES (%(id)s, %(workflow_id)s, %(client_id)s, %(user_id)s, %(name)s, %(input_data)s,
            now() + make_interval(secs => %(deadline_seconds)s), %(estimate_microusd)s,
            %(reserve_microusd)s, %(prices)s, %(tier)s, %(on_economy_failure)s, %(webhook_url)s,
            %(webhook_secret_version)s, %(webhook_events)s, %(lane_key)s, %(deadline_is_fixed)s)
        RETURNING ARRAY(SELECT jsonb_object_keys(reused_images)::integer) AS reused
        """,
        id=execution_id,
        workflow_id=workflow_id,
        client_id=client_id,
        user_id=user_id,
        name=name,
        input_data=Jsonb(content, dumps=bytes),
        deadline_seconds=deadline_seconds,
        estimate_microusd=estimate_microusd,
        reserve_microusd=reserve_microusd,
        tier=tier,
        on_economy_failure=on_economy_failure,
        prices=None if prices is None else Jsonb(prices),
        webhook_url=webhook_url,
        webhook_secret_version=webhook_secret_version,
        webhook_events=webhook_events,
        lane_key=lane_key,
        deadline_is_fixed=deadline_is_fixed,
    )
    return set(row["reused"])


def _compact_json(value: Mapping[str, Any]) -> bytes:
    """The JSON text without spaces and with few escapes, which would triple 50 MB of emoji."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # a lone surrogate, which Postgres refuses with its own SQLSTATE
        return json.dumps(value, separators=(",", ":")).encode()


def fetch_execution(tx: Executor, execution_id: UUID, *, for_update: bool = False) -> Versioned:
    """One execution, with names, progress and pace, without its API key. The pace is no part of its
    version. Its last member `cover` is [id, batch_index, thumbnail_path] of the first thumbnail.
    Prompts of more than MAX_INPUT_BYTES are omitted. Raises NotFound. `for_update` holds the row
    until the commit."""
    if for_update:
        tx.fetch_all("SELECT app.lock_execution(%(id)s)", id=execution_id)
    row = tx.fetch_one(
        """
        SELECT row_to_json(x)::text AS json, app.pace(x.id)::text AS pace, (
            SELECT json_build_array(b.execution_id, b.batch_index, b.thumbnail_path)::text
            FROM public.workflow_batch_results b
            WHERE b.execution_id = x.id AND b.has_thumbnail ORDER BY b.batch_index LIMIT 1
        ) AS cover FROM (
            SELECT e.id, e.workflow_id, e.client_id, e.user_id, e.status,
                CASE WHEN e.input_bytes <= %(max_bytes)s THEN e.input_data ELSE e.input_settings
                END - 'api_key' AS input_data, e.name, e.prompt_count, e.image_count,
                e.paused_at,
                e.output_data, e.started_at,
                e.completed_at, e.duration_seconds, e.error_code, e.error_message, e.created_at,
                e.expired_at,
                e.deadline_at, e.estimate_microusd, e.cost_microusd, e.webhook_url,
                e.webhook_events,
                e.settings ->> 'model' AS model, e.tier, e.on_economy_failure, e.fell_back_at,
                coalesce(e.input_settings ->> 'image_size', %(default_size)s) AS image_size,
                app.images_of(NULL, e.input_settings -> 'images_per_prompt') AS images_per_prompt,
                d.delivered_at AS webhook_delivered_at, d.error_message AS webhook_error,
                (SELECT w.name FROM app.workflow_names w WHERE w.id = e.workflow_id)
                    AS workflow_name,
                (SELECT p.name FROM app.people p WHERE p.id = e.user_id) AS user_name,
                (SELECT c.name FROM public.clients c WHERE c.id = e.client_id) AS client_name,
                coalesce(app.ended_progress(e.status, e.output_data),
                    app.progress(e.id, e.status, e.image_count, e.output_data)) AS progress
            FROM public.workflow_executions e
            LEFT JOIN public.webhook_deliveries d ON d.execution_id = e.id AND d.run = e.run
            WHERE e.id = %(id)s
        ) x
        """,
        id=execution_id,
        max_bytes=MAX_INPUT_BYTES,
        default_size=DEFAULT_SIZE,
    )
    last = f',"cover":{row["cover"] or "null"}}}'
    beginning = row["json"][:-1]
    return Versioned(f'{beginning},"pace":{row["pace"]}{last}', beginning + last)


# Postgres keeps the plan of this one (docs/decisions.md, 112).
_NEWEST_PAGE: LiteralString = """
    SELECT app.newest_executions(
        %(before_created_at)s, %(before_id)s, %(limit)s, %(default_size)s) AS json
"""
_FILTERED_PAGE: LiteralString = """
    SELECT app.describe_executions(ARRAY(
        SELECT e.id FROM public.workflow_executions e
        WHERE (%(status)s::text IS NULL OR e.status = %(status)s)
          AND (%(workflow_id)s::uuid IS NULL OR e.workflow_id = %(workflow_id)s)
          AND (%(client_id)s::uuid IS NULL OR e.client_id = %(client_id)s)
          AND (%(user_id)s::uuid IS NULL OR e.user_id = %(user_id)s)
          AND (%(created_from)s::timestamptz IS NULL OR e.created_at >= %(created_from)s)
          AND (%(created_to)s::timestamptz IS NULL OR e.created_at < %(created_to)s)
          AND (e.created_at, e.id) < (%(before_created_at)s, %(before_id)s)
        ORDER BY e.created_at DESC, e.id DESC
        LIMIT (SELECT %(limit)s::integer)
    ), %(default_size)s) AS json
"""


def list_executions(tx: Executor, page: Page) -> list[str]:
    """A page of executions as JSON, without input_data, which can be megabytes. The last member
    `cover` of each is [id, batch_index, thumbnail_path] of its first thumbnail."""
    has_no_filter = all(value is None for value in page.filters.values())
    query = _NEWEST_PAGE if has_no_filter else _FILTERED_PAGE
    return lines_of(tx.fetch_all(query, default_size=DEFAULT_SIZE, **page.parameters()))


def cancel_execution(tx: Executor, execution_id: UUID) -> None:
    """Cancels an execution: after the commit no prompt is claimed. A second call changes nothing.
    Raises NotFound, or Conflict if the execution has ended."""
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


class Submitted(TypedDict):
    """What a retry needs of a submission. `settings` is None for rows of earlier releases."""

    status: str
    workflow_id: UUID
    client_id: UUID
    settings: dict[str, Any] | None
    aspect_ratio: str | None
    image_size: str | None
    references: int
    tier: str
    on_economy_failure: str | None


def fetch_submitted(tx: Executor, execution_id: UUID) -> Submitted:
    """What a retry checks again; raises NotFound."""
    row = tx.fetch_one(
        """
        SELECT status, workflow_id, client_id, settings, tier, on_economy_failure,
            input_settings ->> 'aspect_ratio' AS aspect_ratio,
            input_settings ->> 'image_size' AS image_size,
            CASE jsonb_typeof(input_settings -> 'reference_images')
                WHEN 'array' THEN jsonb_array_length(input_settings -> 'reference_images')
                ELSE 0 END AS "references"
        FROM public.workflow_executions WHERE id = %(id)s
        """,
        id=execution_id,
    )
    return cast(Submitted, row)


def refresh_settings(tx: Executor, execution_id: UUID) -> None:
    """Replaces the settings of an ended execution by its workflow's present config."""
    tx.fetch_all("SELECT app.refresh_settings(%(id)s)", id=execution_id)


def reopen_failed(
    tx: Executor,
    execution_id: UUID,
    codes: list[str] | None,
    *,
    deadline_seconds: int,
    prices: "Prices | None",
    edits: Mapping[int, str | None] | None = None,
) -> ExecutionRun:
    """Reopens failed prompts of an ended execution, and reserves each at `prices`: those with the
    given codes and those that `edits` names, or all. `edits` has the new prompt of an index.
    Returns the run to start. Raises NotFound; SQLSTATE MS402 if the budget does not suffice, MS409
    if the execution has not ended or no prompt can be reopened."""
    [row] = tx.fetch_all(
        """
        SELECT app.reopen_failed(
            %(id)s, %(codes)s, %(deadline_seconds)s, %(prices)s::jsonb, %(edits)s::jsonb) AS run
        """,
        id=execution_id,
        codes=codes,
        deadline_seconds=deadline_seconds,
        prices=None if prices is None else Jsonb(prices),
        edits=None
        if edits is None
        else Jsonb([{"batch_index": index, "prompt": prompt} for index, prompt in edits.items()]),
    )
    if row["run"] is None:
        raise NotFound
    return ExecutionRun(execution_id, row["run"])


def delete_execution(tx: Executor, execution_id: UUID) -> bool:
    """Deletes an ended execution with its results, but not its images. False if it has not
    ended."""
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
    """The workflow's config, and whether the execution was stopped. `by_economy_jobs`: jobs of the
    provider paint it, and it has not fallen back."""

    config: dict[str, Any]
    stopped: bool
    by_economy_jobs: bool


def start_execution(tx: Executor, run: ExecutionRun) -> StartedExecution | None:
    """Marks the run's execution as processing. None if it has ended or paused, or has another
    run."""
    rows = tx.fetch_all(
        """
        UPDATE public.workflow_executions e
        SET status = 'processing', started_at = coalesce(e.started_at, now()),
            working_since = CASE e.status WHEN 'pending' THEN now() ELSE e.working_since END
        FROM public.workflows w
        WHERE e.id = %(id)s AND e.run = %(run)s AND e.status IN ('pending', 'processing')
          AND e.paused_at IS NULL AND w.id = e.workflow_id
        RETURNING coalesce(e.settings, w.config) AS config, e.error_code IS NOT NULL AS stopped,
            e.tier = 'economy' AND e.fell_back_at IS NULL AS by_economy_jobs
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
    """Counts the results and writes the final status, `failed` if there are no results. Returns one
    EndedExecution, or no row if the execution has ended or has another run."""
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
            -- Without the time between an end and a retry.
            duration_seconds = e.earlier_seconds + round(extract(epoch FROM
                now() - coalesce(e.working_since, e.started_at, e.created_at)))::integer,
            error_code = coalesce(e.error_code,
                CASE WHEN counts.total = 0 THEN %(no_prompts)s
                     WHEN counts.successful = 0 THEN (SELECT error_code FROM reason) END),
            error_message = coalesce(e.error_message,
                CASE WHEN counts.total = 0 THEN 'The execution has no prompts.'
                     WHEN counts.successful = 0 THEN (SELECT error_message FROM reason) END)
        FROM counts
        WHERE e.id = %(id)s AND e.run = %(run)s AND e.status IN ('pending', 'processing')
          AND e.paused_at IS NULL
        RETURNING e.status, e.output_data, e.error_code, e.duration_seconds, e.client_id
        """,
        {"id": run.execution_id, "run": run.run, "no_prompts": InvalidRequest.code},
    )


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
