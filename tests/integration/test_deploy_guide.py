"""docs/deploy.md, step 7: the guide's SQL creates the first users."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from masstock.database.connection import Database
from masstock.database.tenants import TenantReader
from masstock.services.tokens import Principal
from sql.tools import migrate
from sql.tools.identity_key import install_identity_key
from tests.support.databases import IDENTITY_KEY, Server, Urls

GUIDE = (Path(__file__).parents[2] / "docs/deploy.md").read_text()
ADMIN = UUID("11111111-1111-4111-8111-111111111111")
USER = UUID("33333333-3333-4333-8333-333333333333")


@pytest.fixture
def deployed(server: Server) -> Iterator[Urls]:
    """A database after steps 2 and 6 of the guide."""
    urls = server.create_empty_database()
    migrate.migrate(urls.migrator)
    install_identity_key(urls.migrator, IDENTITY_KEY, "install")
    yield urls
    server.drop(urls)


def test_the_guides_first_users_can_sign_in(deployed: Urls, vault: dict[str, str]) -> None:
    [script] = re.findall(r"```sql\n(SET ROLE masstock_owner.*?)```", GUIDE, re.DOTALL)
    with psycopg.connect(deployed.migrator) as connection:
        connection.execute(script.encode())
    vault["guide"] = deployed.api
    with closing(Database("guide")) as database:
        admin, user = (
            TenantReader(database, Principal(who, 0), IDENTITY_KEY) for who in (ADMIN, USER)
        )
        assert len(admin.fetch_all("SELECT id FROM public.users")) == 2
        assert admin.caller.is_admin
        [workflow] = user.fetch_all("SELECT config FROM public.workflows")
        assert workflow["config"]["workflow_type"] == "nano_banana"
        assert user.caller.client_id is not None
