"""The product's own pacer: its SQL functions on a real Postgres, with the simulated clock."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg

from bench.pacing.providers import Answer
from bench.pacing.world import Execution, Grant, Lesson
from local.processes.postgres import PostgresServer
from sql.tools.migrate import migrate

BEGAN = datetime(2030, 1, 1, tzinfo=UTC)

ENTER = """
    SELECT granted, wait_seconds, gives_up FROM app.enter_lane(
        %(lane)s, 'gemini', 'model', %(owner)s, %(client)s, %(execution)s, %(prompt)s, %(minute)s,
        %(now)s)
"""
LEAVE = """
    SELECT counts, wait_seconds, was_probe, successes FROM app.leave_lane(
        %(lane)s, %(execution)s, %(prompt)s, %(granted)s, %(verdict)s, %(retry_after)s,
        %(quota_value)s, %(seen)s, %(minute)s, %(now)s)
"""


@contextmanager
def database() -> Iterator[psycopg.Connection]:
    """A connection of the worker to a fresh, migrated database."""
    with tempfile.TemporaryDirectory() as directory:
        server = PostgresServer(Path(directory), fsync=False)
        try:
            url = server.start()
            migrate(url)
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("SET ROLE masstock_worker")
                yield connection
        finally:
            server.destroy()


class Lanes:
    """A lane of its own. `owner` is the client whose key it is for; None is the platform's lane."""

    max_throttles = 20

    def __init__(
        self,
        connection: psycopg.Connection,
        lane: UUID,
        *,
        owner: UUID | None = None,
        minute_seconds: float = 60,
    ) -> None:
        self._connection, self._lane, self._owner = connection, lane, owner
        self._minute = minute_seconds
        self._seen: dict[tuple[UUID, int], int] = {}

    def enter(self, execution: Execution, prompt: int, now: float) -> Grant:
        """Asks app.enter_lane."""
        return Grant(*self._call(ENTER, execution, prompt, now, client=execution.client))

    def leave(
        self, execution: Execution, prompt: int, granted: float, answer: Answer, now: float
    ) -> Lesson:
        """Tells app.leave_lane."""
        counts, wait_seconds, was_probe, successes = self._call(
            LEAVE,
            execution,
            prompt,
            now,
            granted=_clock(granted),
            verdict=answer.verdict,
            retry_after=answer.retry_after,
            quota_value=answer.quota_value,
            seen=self._seen.get((execution.id, prompt)),
        )
        if answer.verdict == "refused":
            self._seen[execution.id, prompt] = successes
        return Lesson(counts, wait_seconds, was_probe)

    def _call(
        self, query: str, execution: Execution, prompt: int, now: float, **values: object
    ) -> tuple[object, ...]:
        row = self._connection.execute(
            query.encode(),
            {
                "lane": self._lane,
                "owner": self._owner,
                "execution": execution.id,
                "prompt": prompt,
                "minute": self._minute,
                "now": _clock(now),
                **values,
            },
        ).fetchone()
        assert row is not None
        return row


def _clock(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)
