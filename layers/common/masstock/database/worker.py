"""Transactions of fanout, generate and finalize. They belong to no tenant. Their login has rights
on few tables and columns."""

from collections.abc import Sequence
from functools import cache
from typing import LiteralString

import psycopg

from masstock.database.connection import BEGIN, COMMIT, Database, Executor, Row, Statement
from masstock.errors import DatabaseUnavailable


class Worker(Executor):
    """The database for fanout, generate and finalize, with the rights of masstock_worker."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def fetch_all(self, query: LiteralString, **values: object) -> list[Row]:
        """The rows of one statement in a transaction of its own. Raises DatabaseUnavailable."""
        return self.fetch_together([(query, values)])[0]

    def fetch_together(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """The rows of each statement of one transaction, in one flight. Raises
        DatabaseUnavailable. The transaction may be committed even then, so every step of the engine
        must be safe to repeat."""
        try:
            return self._database.flight([BEGIN, *statements, COMMIT])[1:-1]
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable from error


@cache
def worker_of(secret_id: str) -> Worker:
    """The worker of this process, which keeps its connection between invocations. `secret_id` is
    the secret that holds the database's URL."""
    return Worker(Database(secret_id))
