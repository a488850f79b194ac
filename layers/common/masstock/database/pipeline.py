"""psycopg's pipeline mode behind a transaction pooler. The only module that uses psycopg internals.

Written against psycopg 3.3.4 (`psycopg._pipeline`). tests/integration/test_pooler.py fails when a
new version behaves differently.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import pq
from psycopg.abc import PQGen


class _Pipeline(psycopg.Pipeline):
    """A pipeline that ends with a Sync and sends nothing after it.

    psycopg sends Flush after Sync. If Flush arrives in its own packet, PgBouncer assigns a server
    connection that it never gets back, because Flush has no reply. A pool of ten connections would
    be empty after a while although all of them are idle.
    """

    def _exit_gen(self) -> PQGen[None]:
        try:
            self._enqueue_sync()
            yield from self._communicate_gen()
        finally:
            # On a lost connection, fetching raises an error without a name. It would hide the
            # first error.
            if self.pgconn.status == pq.ConnStatus.OK:
                yield from self._fetch_gen(flush=False)


class PipelineConnection(psycopg.Connection[dict[str, Any]]):
    """A connection whose `pipeline()` works behind a transaction pooler."""

    @contextmanager
    def pipeline(self) -> Generator[psycopg.Pipeline]:
        self._pipeline = _Pipeline(self)
        with super().pipeline() as pipeline:
            yield pipeline
