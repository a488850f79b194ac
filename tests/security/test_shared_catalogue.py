"""What every tenant's session shares, besides the tables that have row security."""

from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest

from sql.tools import migrate
from tests.support.databases import Server, Urls, connected

LARGE_OBJECTS: dict[str, LiteralString] = {
    "create": "SELECT lo_create(0)",
    "creat": "SELECT lo_creat(-1)",
    "from_bytea": "SELECT lo_from_bytea(0, 'for the next tenant')",
    "get": "SELECT lo_get(1)",
    "put": "SELECT lo_put(1, 0, 'x')",
    "open": "SELECT lo_open(1, 131072)",
    "unlink": "SELECT lo_unlink(1)",
    "import": "SELECT lo_import('/etc/hostname')",
}
COUNTS: dict[str, LiteralString] = {
    "tables": "SELECT relname, n_live_tup FROM pg_stat_user_tables",
    "all tables": "SELECT n_tup_ins FROM pg_stat_all_tables",
    "this transaction": "SELECT n_tup_ins FROM pg_stat_xact_user_tables",
    "blocks": "SELECT heap_blks_read FROM pg_statio_user_tables",
    "indexes": "SELECT idx_scan FROM pg_stat_user_indexes",
    "a function": "SELECT pg_stat_get_live_tuples('public.workflow_executions'::regclass)",
}


@pytest.fixture(scope="module")
def own_server_database(server: Server) -> Iterator[Urls]:
    """A database that a superuser migrated, twice: the second run must change nothing."""
    urls = server.create_empty_database()
    assert migrate.migrate(urls.superuser)
    assert migrate.migrate(urls.superuser) == []
    yield urls
    server.drop(urls)


@pytest.mark.parametrize("login", ["api", "worker"])
@pytest.mark.parametrize("attempt", LARGE_OBJECTS)
def test_no_runtime_role_uses_large_objects(
    own_server_database: Urls, login: str, attempt: str
) -> None:
    with (
        connected(getattr(own_server_database, login)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(LARGE_OBJECTS[attempt])


@pytest.mark.parametrize("login", ["api", "worker"])
@pytest.mark.parametrize("view", COUNTS)
def test_no_runtime_role_counts_rows_by_the_statistics(
    own_server_database: Urls, login: str, view: str
) -> None:
    with (
        connected(getattr(own_server_database, login)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(COUNTS[view])


def test_an_operator_still_reads_the_statistics(own_server_database: Urls) -> None:
    with connected(own_server_database.superuser) as connection, connection.transaction():
        connection.execute("SET LOCAL ROLE pg_monitor")
        for query in COUNTS.values():
            connection.execute(query)


def test_administrators_requests_have_the_same_limits(own_server_database: Urls) -> None:
    for query in (*LARGE_OBJECTS.values(), *COUNTS.values()):
        with connected(own_server_database.superuser) as connection, connection.transaction():
            connection.execute("SET LOCAL ROLE masstock_admin")
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(query)
