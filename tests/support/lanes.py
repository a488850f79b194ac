"""A lane in a real database, asked on a simulated clock."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psycopg
from psycopg import sql

BEGAN = datetime(2030, 1, 1, tzinfo=UTC)
CLIENT = UUID(int=1)


class Entered(NamedTuple):
    """The row of app.enter_lane."""

    granted: bool
    wait_seconds: float
    limited_by: str
    gives_up: bool
    granted_at: datetime | None


class Left(NamedTuple):
    """The row of app.leave_lane."""

    counts: bool
    successes: int
    wait_seconds: float
    was_probe: bool


class State(NamedTuple):
    """The row of app.lane_state."""

    limited_by: str
    calls_per_minute: float | None
    opens_at: datetime | None
    last_success_at: datetime | None
    closed_since: datetime | None
    waiting_executions: int
    learned_per_minute: float | None
    limit_per_minute: int | None
    successes: int


@dataclass(slots=True)
class Lane:
    """One lane. `now` is in seconds since BEGAN. `owner` is None for the platform's lane."""

    connection: psycopg.Connection
    id: UUID
    owner: UUID | None = CLIENT
    now: float = 0.0
    minute_seconds: float = 60

    @classmethod
    def of_a_client(cls, connection: psycopg.Connection) -> "Lane":
        """A new lane of a client."""
        return cls(connection, uuid4())

    @classmethod
    def of_the_platform(cls, connection: psycopg.Connection) -> "Lane":
        """A new lane that all clients share."""
        return cls(connection, uuid4(), owner=None)

    def enter(self, execution: UUID, prompt: int = 0, client: UUID = CLIENT) -> Entered:
        """Asks for one call."""
        return Entered(
            *self._fetch(
                "SELECT * FROM app.enter_lane(%s, 'gemini', 'model', %s, %s, %s, %s, %s, %s)",
                self.id,
                self.owner,
                client,
                execution,
                prompt,
                self.minute_seconds,
                self.clock(),
            )
        )

    def leave(
        self,
        execution: UUID,
        prompt: int,
        granted_at: datetime | None,
        verdict: str,
        *,
        retry_after: float | None = None,
        quota_value: int | None = None,
        seen: int | None = None,
    ) -> Left:
        """Ends a call."""
        return Left(
            *self._fetch(
                "SELECT * FROM app.leave_lane(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                self.id,
                execution,
                prompt,
                granted_at,
                verdict,
                retry_after,
                quota_value,
                seen,
                self.minute_seconds,
                self.clock(),
            )
        )

    def call(self, execution: UUID, prompt: int, verdict: str, **said: Any) -> Left:
        """Makes a call that must be granted, and ends it after the time of a refusal or of an
        image."""
        entered = self.enter(execution, prompt)
        assert entered.granted, entered
        self.now += 1.0 if verdict == "answered" else 0.05
        return self.leave(execution, prompt, entered.granted_at, verdict, **said)

    def state(self) -> State:
        """How the lane is."""
        return State(*self._fetch("SELECT * FROM app.lane_state(%s, %s)", self.id, self.clock()))

    def clock(self) -> datetime:
        """The simulated time."""
        return BEGAN + timedelta(seconds=self.now)

    def edit(self, **columns: object) -> None:
        """Changes the row by hand, as the owner of the table."""
        assignments = [
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(value))
            for name, value in columns.items()
        ]
        self.as_owner(
            sql.SQL("UPDATE app_private.lanes SET {} WHERE id = {}").format(
                sql.SQL(", ").join(assignments), sql.Literal(self.id)
            )
        )

    def as_owner(self, statement: sql.Composed) -> list[tuple[Any, ...]]:
        """Runs a statement with the rights of the owner of the tables."""
        self.connection.execute("RESET ROLE")
        try:
            cursor = self.connection.execute(statement)
            return cursor.fetchall() if cursor.description else []
        finally:
            self.connection.execute("SET ROLE masstock_worker")

    def _fetch(self, query: Any, *values: object) -> tuple[Any, ...]:
        row = self.connection.execute(query, values).fetchone()
        assert row is not None
        return row
