"""Statements of the sweep: live executions, deleted executions, sums of the reports."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, LiteralString, TypedDict, cast
from uuid import UUID

from masstock.database.connection import Executor, Statement
from masstock.schemas.engine import ExecutionRun

if TYPE_CHECKING:
    from masstock.database.worker import Worker


class LiveExecution(TypedDict):
    """An execution that has not ended and is not paused. `overdue`: past its deadline. `stopped`:
    for 30 seconds no prompt could be claimed. Both come 30 minutes later while jobs of the provider
    paint. `painting`: overdue or stopped, and has a claim whose lease has not ended."""

    id: UUID
    run: int
    status: str
    created_at: datetime
    deadline_at: datetime | None
    age_seconds: float
    overdue: bool
    stopped: bool
    painting: bool


_LIVE: LiteralString = """
    SELECT e.id, e.run, e.status, e.created_at, e.deadline_at,
        extract(epoch FROM now() - e.created_at)::float8 AS age_seconds,
        coalesce(e.deadline_at < now() - p.patience, false) AS overdue,
        e.error_code IS NOT NULL
            AND coalesce(e.stopped_at < now() - interval '30 seconds' - p.patience, true)
            AS stopped,
        CASE WHEN e.deadline_at < now() OR e.error_code IS NOT NULL THEN EXISTS (
                SELECT FROM public.workflow_batch_results r
                WHERE r.execution_id = e.id AND r.status = 'processing'
                  AND r.claimed_until > now())
             ELSE false END AS painting
    FROM public.workflow_executions e CROSS JOIN LATERAL (
        -- The machine itself ends the provider's jobs and collects what they painted.
        SELECT CASE WHEN e.tier = 'economy' AND e.fell_back_at IS NULL
                    THEN interval '30 minutes' ELSE interval '0' END AS patience) AS p
    WHERE e.status IN ('pending', 'processing') AND e.paused_at IS NULL
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


def extend_deadline(tx: Executor, execution_id: UUID, idle_seconds: int) -> bool:
    """Moves a deadline that no caller gave to `idle_seconds` after the last success of the
    execution's lane, at most 72 hours after the submission. True if it is in the future now."""
    [row] = tx.fetch_all(
        "SELECT app.extend_deadline(%(id)s, %(idle_seconds)s) AS deadline_at",
        id=execution_id,
        idle_seconds=idle_seconds,
    )
    return row["deadline_at"] is not None


def count_live_executions(tx: Executor) -> tuple[int, int]:
    """How many executions have not ended, and how many of these are past their deadline."""
    row = tx.fetch_one(
        """
        SELECT count(*) AS live, count(*) FILTER (
            WHERE paused_at IS NULL
              AND deadline_at < now() - CASE WHEN tier = 'economy' AND fell_back_at IS NULL
                THEN interval '30 minutes' ELSE interval '0' END) AS overdue
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


def count_closed_lanes(tx: Executor) -> int:
    """How many lanes that executions wait for have been closed for ten minutes."""
    return tx.fetch_one("SELECT app.count_closed_lanes() AS closed")["closed"]


def forget_idle_lanes() -> Statement:
    """Deletes the lanes that nobody used for a week, and the turns of a day ago."""
    return ("SELECT app.forget_idle_lanes()", {})


class Removal(TypedDict):
    """A deleted execution. `client_id` is None if it was deleted before there were archives."""

    execution_id: UUID
    client_id: UUID | None


def index_prompts(tx: Executor) -> bool:
    """Writes the words of one execution's prompts whose insertion did not write them. False if
    there is none."""
    return tx.fetch_one("SELECT app.index_prompts() AS found")["found"]


def expire_images(tx: Executor) -> bool:
    """Marks the images of one execution that is older than its client's retention as expired, and
    lists its objects as removals. Returns False if no execution is that old."""
    return tx.fetch_one("SELECT app.expire_images() AS expired")["expired"]


def list_removals(tx: Executor, limit: int) -> list[Removal]:
    """Deleted executions whose images or archives may still be stored. Those that were listed
    longest ago come first."""
    rows = tx.fetch_all(
        "SELECT execution_id, client_id FROM app.list_removals(%(limit)s)", limit=limit
    )
    return cast(list[Removal], rows)


def forget_deleted_execution(tx: Executor, execution_id: UUID) -> None:
    """Deletes the record of a deleted execution. Does nothing in the first 20 minutes after the
    deletion, because a running attempt may still store an image or an archive."""
    tx.fetch_all("SELECT app.forget_deleted_execution(%(id)s)", id=execution_id)


def fold_counts() -> Statement:
    """Adds the appended counts to the sums that the reports read."""
    return ("SELECT app.fold_execution_counts()", {})
