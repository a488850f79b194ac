"""Fixtures for all tests: PostgreSQL, and the api on top of it."""

import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from local.processes.postgres import PostgresServer
from masstock.database.connection import Database
from tests.support import handler
from tests.support.databases import Callers, Server, Urls

if TYPE_CHECKING:
    from tests.e2e.conftest import Stack

# A shell starts background jobs with SIGINT ignored, and child processes inherit that. The tests of
# Ctrl-C need the default handler.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests. TEST_DATABASE_URL names an existing one instead. Its login must be
    a superuser, and the tests change the passwords of masstock_api and masstock_worker there."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        server = Server(url)
        yield server
        server.drop_template()
        return
    postgres = PostgresServer(tmp_path_factory.mktemp("postgres"), fsync=False)
    try:
        yield Server(postgres.start())
    finally:
        postgres.destroy()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Stack"]:
    """A local stack for tests/e2e and tests/console."""
    from tests.e2e.conftest import own_stack

    with own_stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture(scope="module")
def database(server: Server) -> Iterator[Urls]:
    """A migrated database with the demo data, shared by the tests of one file."""
    urls = server.create_database()
    yield urls
    server.drop(urls)


@pytest.fixture
def fresh_database(server: Server) -> Iterator[Urls]:
    """A migrated database with the demo data, for a single test that changes it permanently."""
    urls = server.create_database()
    yield urls
    server.drop(urls)


@pytest.fixture(scope="module")
def vault() -> Iterator[dict[str, str]]:
    """Database URLs by secret id, as `masstock.database.connection` reads them."""
    secrets: dict[str, str] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("masstock.database.connection.read_secret", secrets.__getitem__)
        yield secrets


@pytest.fixture
def callers(database: Urls, vault: dict[str, str]) -> Iterator[Callers]:
    """The api's connection to `database`, opened at first use."""
    vault["database"] = database.api
    connection = Database("database")
    yield Callers(connection)
    connection.close()


@pytest.fixture
def fresh_callers(fresh_database: Urls, vault: dict[str, str]) -> Iterator[Callers]:
    """The api's connection to `fresh_database`."""
    vault["fresh database"] = fresh_database.api
    connection = Database("fresh database")
    yield Callers(connection)
    connection.close()


@pytest.fixture(scope="session")
def aws_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of S3, Secrets Manager and Step Functions, which run in a separate process."""
    with handler.aws_services(tmp_path_factory.mktemp("aws")) as url:
        yield url


@pytest.fixture(scope="module")
def api(database: Urls, aws_url: str) -> Iterator[handler.Api]:
    """The api's handler on `database`."""
    with handler.environment(database, aws_url):
        yield handler.Api()


@pytest.fixture
def fresh_api(fresh_database: Urls, aws_url: str) -> Iterator[handler.Api]:
    """The api's handler on `fresh_database`. A test cannot use it together with `api`."""
    with handler.environment(fresh_database, aws_url):
        yield handler.Api()
