"""psycopg's pipeline mode behind a transaction pooler. The only module that uses psycopg internals.

Read: psycopg 3.3.9, `_pipeline_base.BasePipeline._exit_gen`, `generators._pipeline_communicate` and
`Connection.pipeline`.
tests/integration/test_pooler.py and test_database_flights.py fail if a new version differs.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import pq
from psycopg.abc import PQGen
from psycopg.generators import send


class _Pipeline(psycopg.Pipeline):
    """A pipeline that ends with a Sync and sends nothing after it.

    psycopg's `_exit_gen` sends a Flush after the Sync, "in order to make sure results can be
    fetched" (docstring of `_fetch_gen`). The Sync alone makes sure of that, because it also flushes
    the server's output (https://github.com/psycopg/psycopg/pull/263). If the Flush arrives in a
    packet of its own, PgBouncer assigns a server connection to it and waits for a ReadyForQuery
    before it takes the connection back. A Flush has no such reply, so the connection is blocked
    until this client sends its next flight. A pool of ten connections would be empty after a while
    although all of them are idle.

    `_communicate_gen` returns after its last flush, even if the socket took only a part of the
    buffer. psycopg's own end sends the rest together with its Flush. Without that Flush, `send`
    sends the rest: fetching only reads, so both sides would wait for each other for ever.
    """

    def _exit_gen(self) -> PQGen[None]:
        try:
            self._enqueue_sync()
            yield from self._communicate_gen()
        finally:
            # On a lost connection, fetching raises an OperationalError without an SQLSTATE. That
            # error would hide the first error, which has an SQLSTATE.
            if self.pgconn.status == pq.ConnStatus.OK:
                yield from send(self.pgconn)
                yield from self._fetch_gen(flush=False)


class PipelineConnection(psycopg.Connection[dict[str, Any]]):
    """A connection whose `pipeline()` works behind a transaction pooler."""

    @contextmanager
    def pipeline(self) -> Generator[psycopg.Pipeline]:
        # `Connection.pipeline` makes a pipeline only if the connection has none.
        self._pipeline = _Pipeline(self)
        with super().pipeline() as pipeline:
            yield pipeline
