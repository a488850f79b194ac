"""Executions in the database, and the engine's steps on them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb

from masstock.database.connection import Statement
from masstock.database.queries import claims, executions, layout
from masstock.database.queries.claims import Claim
from masstock.schemas.engine import ExecutionRun
from masstock.services.storage import StoredImage
from tests.support.claims import claim_in_turn
from tests.support.databases import connected
from tests.support.demo_data import ACME, JOHN_OF_ACME, WORKFLOW

EACH = 1000


def submit(url: str, prompts: int | dict[str, Any], *, estimate: int | None = -1) -> UUID:
    """An execution of so many prompts, or with this input. By default each prompt is estimated at
    EACH."""
    execution_id = uuid4()
    content = {"prompts": ["x"] * prompts} if isinstance(prompts, int) else prompts
    with connected(url) as connection:
        connection.execute(
            "INSERT INTO public.workflow_executions"
            " (id, workflow_id, client_id, user_id, input_data, estimate_microusd)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            [
                execution_id,
                WORKFLOW,
                ACME,
                JOHN_OF_ACME,
                Jsonb(content),
                len(content["prompts"]) * EACH if estimate == -1 else estimate,
            ],
        )
    return execution_id


def used(url: str) -> int:
    with connected(url) as connection:
        [row] = connection.execute(
            "SELECT coalesce(sum(charged_microusd + reserved_microusd), 0)"
            " FROM public.spend_ledger WHERE client_id = %s",
            [ACME],
        ).fetchall()
    return int(row[0])


class Engine:
    """The steps of the engine, run by its login."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True, row_factory=psycopg.rows.dict_row)

    def fetch_all(self, query: str, **values: object) -> list[dict]:
        cursor = self._connection.execute(query, values)
        return cursor.fetchall() if cursor.description else []

    def fetch_together(self, statements: Sequence[Statement]) -> list[list[dict]]:
        with self._connection.transaction():
            return [self.fetch_all(query, **values) for query, values in statements]

    def start(self, execution_id: UUID, run: int = 0) -> None:
        executions.start_execution(self, ExecutionRun(execution_id, run))
        self._connection.execute(*layout.lay_out_images(execution_id))

    def claim(self, execution_id: UUID, index: int, lease: float = 60) -> Claim:
        claim = claim_in_turn(self, execution_id, index, lease)
        assert isinstance(claim, Claim)
        return claim

    def paint(self, claim: Claim, cost: int | None, *, attempt: int | None = None) -> bool:
        image = StoredImage("k", "image/png", 1, "0", 1, cost, attempt or claim.attempt, None)
        return claims.complete_prompt(self, claim, image, None)

    def end(self, execution_id: UUID, run: int = 0) -> dict:
        [row] = self._connection.execute(*executions.end_execution(ExecutionRun(execution_id, run)))
        return row

    def close(self) -> None:
        self._connection.close()
