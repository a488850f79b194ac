"""Transactions of fanout, generate and finalize: no tenant, few tables, few columns."""

from collections.abc import Sequence
from functools import cache
from typing import LiteralString

import psycopg

from masstock.database.connection import BEGIN, COMMIT, Database, Row, Statement
from masstock.errors import DatabaseUnavailable


class Worker:
    """The database as fanout, generate and finalize see it: no tenant, few tables, few columns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def fetch_all(self, query: LiteralString, **values: object) -> list[Row]:
        """The rows of one statement, committed by itself; raises DatabaseUnavailable."""
        return self.fetch_together([(query, values)])[0]

    def fetch_together(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """The rows of each statement of one transaction, in one flight; raises
        DatabaseUnavailable, after which it may or may not have been committed: every step of the
        engine may run twice."""
        try:
            return self._database.flight([BEGIN, *statements, COMMIT])[1:-1]
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable from error


@cache
def worker_of(secret_id: str) -> Worker:
    """The process's worker, whose connection is kept between invocations. `secret_id` names the
    secret that holds the database's URL."""
    return Worker(Database(secret_id))
