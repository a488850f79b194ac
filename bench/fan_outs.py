"""Inserting the rows of ten thousand prompts, as the worker and as the owner of the table."""

import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any
from uuid import UUID

from bench.big_database import SMALL_CLIENT, BigDatabase, client, named, user_of
from bench.measure import CannotRun, Row, Sample, compare, interleave, timed
from masstock.database.connection import BEGIN, COMMIT, Statement
from masstock.database.queries import claims, layout
from masstock.database.queries.claims import Claim
from masstock.services.storage import StoredImage

PROMPTS = [f"a fox reading newspaper number {number}" for number in range(10_000)]
ROUNDS = 10
PAINTED = 1000
PATIENCE_SECONDS = 15


def measure_insert(database: BigDatabase, name: str) -> Row:
    """One fan-out ÷ one `unnest … WITH ORDINALITY` of the prompts by the owner.

    No policy binds the owner. Table, indexes, foreign keys and triggers are the same. The worker
    reads the prompts from the database; the owner sends them with the statement. Every sample uses
    a new execution.
    """
    owner = database.owner
    executions = _executions(database)
    ways: dict[str, Callable[[UUID], object]] = {
        "worker": lambda execution_id: database.worker.fetch_together(
            [layout.lay_out_images(execution_id)]
        ),
        "owner": lambda execution_id: owner.flight([BEGIN, _unnest(execution_id), COMMIT]),
        "our statement, owner": lambda execution_id: owner.flight(
            [BEGIN, layout.lay_out_images(execution_id), COMMIT]
        ),
    }

    def sampler(lay_out: Callable[[UUID], object]) -> Callable[[], Sample]:
        def sample() -> Sample:
            execution_id = next(executions)
            return timed(lambda: lay_out(execution_id))

        return sample

    samples = interleave(ROUNDS, {way: sampler(lay_out) for way, lay_out in ways.items()})
    policies = compare(name, samples["worker"], samples["our statement, owner"], "", clock="wall")
    return compare(
        name,
        samples["worker"],
        samples["owner"],
        "unnest … WITH ORDINALITY by the owner",
        clock="wall",
        ratio_to_the_same_statement_by_the_owner=round(policies.ratio or 0, 3),
        **_paint(database, next(executions)),
    )


def _executions(database: BigDatabase) -> Iterator[UUID]:
    """Yields new executions of ten thousand prompts that have no result rows yet."""
    for number in count():
        execution_id = named(f"execution to fan out {number}")
        database.administer(
            """
            INSERT INTO public.workflow_executions
                (id, workflow_id, client_id, user_id, status, input_data)
            VALUES (%(id)s, %(workflow_id)s, %(client_id)s, %(user_id)s, 'processing',
                    jsonb_build_object('prompts', %(prompts)s::text[]))
            """,
            id=execution_id,
            workflow_id=named("workflow 1"),
            client_id=client(SMALL_CLIENT),
            user_id=user_of(SMALL_CLIENT),
            prompts=PROMPTS,
        )
        yield execution_id


def _unnest(execution_id: UUID) -> Statement:
    return (
        """
        INSERT INTO public.workflow_batch_results
            (execution_id, client_id, batch_index, prompt_text)
        SELECT %(execution_id)s, %(client_id)s, p.position - 1, p.prompt
        FROM unnest(%(prompts)s::text[]) WITH ORDINALITY p (prompt, position)
        """,
        {
            "execution_id": execution_id,
            "client_id": client(SMALL_CLIENT),
            "prompts": PROMPTS,
        },
    )


def _paint(database: BigDatabase, execution_id: UUID) -> dict[str, Any]:
    """Claims and completes a part of one execution. Returns the speed and the share of updates that
    were HOT (the new row version stays on its page and no index changes)."""
    database.worker.fetch_together([layout.lay_out_images(execution_id)])
    updates, hot = _updates(database)

    def paint() -> None:
        for index in range(PAINTED):
            claim = claims.claim_prompt(database.worker, execution_id, index, 900)
            if not isinstance(claim, Claim):
                raise CannotRun("a prompt could not be claimed")
            image = StoredImage(
                key=f"{claim.client_id}/{execution_id}/{index}.png",
                mime_type="image/png",
                size_bytes=1_048_576,
                sha256="0" * 64,
                processing_time_ms=3500,
                cost_microusd=39_000,
                attempt=claim.attempt,
                details=None,
            )
            claims.complete_prompt(database.worker, claim, image, None)

    painted = timed(paint)
    # A backend reports its statistics only after it has been idle for a second.
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _updates(database)[0] < updates + 2 * PAINTED and time.monotonic() < deadline:
        time.sleep(0.5)
        database.worker.fetch_together([])
    updates_after, hot_after = _updates(database)
    return {
        "claimed_and_completed_per_second": round(PAINTED / painted.wall),
        "hot_updates": round((hot_after - hot) / (updates_after - updates), 3),
    }


def _updates(database: BigDatabase) -> tuple[int, int]:
    [row] = database.administer(
        """
        SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
        WHERE relid = 'public.workflow_batch_results'::regclass
        """
    )
    return row[0], row[1]
