"""The list of all results of a client, across its executions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from masstock.database.connection import Executor, Row
from masstock.database.queries.batch_results import RESULT_COLUMNS
from masstock.database.queries.keyset import LAST_UUID

LAST_INDEX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ResultPage:
    """At most `limit` results before the position `before`, which is (created_at, execution_id,
    batch_index). A filter of None matches every result."""

    limit: int
    retryable_codes: list[str]
    before: tuple[datetime, UUID, int] | None = None
    filters: Mapping[str, object] = field(default_factory=dict[str, object])

    def parameters(self) -> dict[str, object]:
        """The statement's parameters. An additional row shows that a next page exists."""
        created_at, execution_id, batch_index = self.before or ("infinity", LAST_UUID, LAST_INDEX)
        return {
            **self.filters,
            "before_created_at": created_at,
            "before_execution_id": execution_id,
            "before_index": batch_index,
            "limit": self.limit + 1,
            "retryable_codes": self.retryable_codes,
        }


# Each source gives the positions of a page, newest first. Filters that have an index of their own
# have a source of their own, because the planner would read the whole order instead.
_BEGIN: LiteralString = """
    SELECT p.created_at, p.execution_id, p.batch_index FROM public.workflow_batch_results p
"""
_END: LiteralString = """
      AND (p.created_at, p.execution_id, p.batch_index)
          < (%(before_created_at)s::timestamptz, %(before_execution_id)s, %(before_index)s)
      AND (%(created_from)s::timestamptz IS NULL OR p.created_at >= %(created_from)s)
      AND (%(created_to)s::timestamptz IS NULL OR p.created_at < %(created_to)s)
      AND (%(client_id)s::uuid IS NULL OR p.client_id = %(client_id)s)
      AND (%(status)s::text IS NULL OR p.status = %(status)s)
      AND (%(model)s::text IS NULL OR p.model = %(model)s)
      AND (%(custom_id)s::text IS NULL OR p.custom_id = %(custom_id)s)
      AND (%(workflow_id)s::uuid IS NULL OR EXISTS (
          SELECT FROM public.workflow_executions e
          WHERE e.id = p.execution_id AND e.workflow_id = %(workflow_id)s))
"""
_ORDER: LiteralString = """
    ORDER BY p.created_at DESC, p.execution_id DESC, p.batch_index DESC
    LIMIT (SELECT %(limit)s::integer)
"""
# One client after the other, because the index begins with the client. A client user sees one.
_EACH_CLIENT: LiteralString = "SELECT p.* FROM public.clients c CROSS JOIN LATERAL ("
_OF_ALL: LiteralString = (
    _EACH_CLIENT + _BEGIN + "WHERE p.client_id = c.id" + _END + _ORDER + ") p" + _ORDER
)
_OF_EXECUTION: LiteralString = _BEGIN + "WHERE p.execution_id = %(execution_id)s" + _END + _ORDER
# OFFSET 0: otherwise the order chooses the index.
_OF_NAME: LiteralString = (
    _EACH_CLIENT + _BEGIN + "WHERE p.client_id = c.id" + _END + " OFFSET 0) p" + _ORDER
)
WITH_WORDS: LiteralString = """
    SELECT created_at, execution_id, batch_index FROM app.search_prompts(
        %(client_id)s, ARRAY(SELECT DISTINCT app.words(%(q)s)),
        %(before_created_at)s, %(before_execution_id)s, %(before_index)s, %(limit)s, %(status)s,
        %(model)s, %(workflow_id)s, %(execution_id)s, %(custom_id)s, %(created_from)s,
        %(created_to)s)
"""
_ROWS: LiteralString = """
    , g.created_at AS position_created_at, g.execution_id AS position_execution_id
    FROM page g
    -- One row after the other: the planner does not know how short a page is. It would read all
    -- rows of the client.
    LEFT JOIN LATERAL (
        SELECT r.* FROM public.workflow_batch_results r
        WHERE r.execution_id = g.execution_id AND r.batch_index = g.batch_index OFFSET 0
    ) p ON true
    ORDER BY g.created_at DESC, g.execution_id DESC, g.batch_index DESC NULLS LAST
"""


def list_results(tx: Executor, page: ResultPage) -> list[Row]:
    """A page of results. If the search for words looked at as many rows as it may, the last row has
    `id` None, and the next page begins behind its `created_at` and `execution_id`."""
    if page.filters["q"] is not None:
        source = WITH_WORDS
    elif page.filters["execution_id"] is not None:
        source = _OF_EXECUTION
    elif page.filters["custom_id"] is not None:
        source = _OF_NAME
    else:
        source = _OF_ALL
    return tx.fetch_all(
        "WITH page AS MATERIALIZED (" + source + ") SELECT " + RESULT_COLUMNS + _ROWS,
        **page.parameters(),
    )
