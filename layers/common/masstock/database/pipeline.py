"""psycopg's pipeline mode behind a transaction pooler. The only module that uses psycopg internals.

It changes `_pipeline_base.BasePipeline._exit_gen` and `Connection.pipeline` of psycopg 3.3.9.
tests/integration/test_pooler.py and test_database_flights.py fail if a new version differs.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import pq
from psycopg.abc import PQGen


class _Pipeline(psycopg.Pipeline):
    """A pipeline that ends with a Sync and sends nothing after it.

    psycopg's `_exit_gen` sends a Flush after the Sync, "in order to make sure results can be
    fetched" (docstring of `_fetch_gen`). The Flush is not needed, because the Sync also flushes the
    server's output (https://github.com/psycopg/psycopg/pull/263). If the Flush arrives in a packet
    of its own, PgBouncer assigns a server connection to it. PgBouncer frees that connection at the
    next ReadyForQuery. A Flush has no such reply, so the connection stays assigned until this
    process sends its next flight. After a while, a pool of ten connections would have no free one.
    """

    def _exit_gen(self) -> PQGen[None]:
        try:
            self._enqueue_sync()
            yield from self._communicate_gen()
        finally:
            # On a lost connection, fetching raises an OperationalError without an SQLSTATE. That
            # error would hide the first error, which has an SQLSTATE.
            if self.pgconn.status == pq.ConnStatus.OK:
                yield from self._fetch_gen(flush=False)


class PipelineConnection(psycopg.Connection[dict[str, Any]]):
    """A connection whose `pipeline()` works behind a transaction pooler."""

    @contextmanager
    def pipeline(self) -> Generator[psycopg.Pipeline]:
        # `Connection.pipeline` makes a pipeline only if the connection has none.
        self._pipeline = _Pipeline(self)
        with super().pipeline() as pipeline:
            yield pipeline
