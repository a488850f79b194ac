"""The migrated schema contains everything in the product's schema document. Our additions do not
affect statements that use only the document's tables and columns."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
import yaml
from psycopg import sql
from psycopg.errors import CheckViolation, NotNullViolation
from psycopg.types.json import Jsonb

from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, DEMO_EXECUTION, JOHN_OF_ACME, WORKFLOW

SEED: dict[str, dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("seed_schema.yaml").read_text()
)["tables"]
TABLES = list(SEED)
WITH_UPDATED_AT = [table for table in TABLES if "updated_at" in SEED[table]["columns"]]
CHECKS = [(table, column) for table in TABLES for column in SEED[table]["checks"]]

# For every table a row with only the columns that the document requires.
LEAST: dict[str, dict[str, object]] = {
    "users": {"email": "x@x.example", "name": "x", "role": "client"},
    "clients": {"name": "x", "email": "x@x.example"},
    "workflows": {"name": "x"},
    "workflow_requests": {"client_id": ACME, "workflow_id": WORKFLOW},
    "workflow_executions": {
        "workflow_id": WORKFLOW,
        "client_id": ACME,
        "user_id": JOHN_OF_ACME,
        "input_data": Jsonb({"prompts": ["x"]}),
    },
    "workflow_batch_results": {
        "execution_id": DEMO_EXECUTION,
        "batch_index": 2,
        "prompt_text": "x",
    },
    "support_tickets": {
        "client_id": ACME,
        "user_id": JOHN_OF_ACME,
        "subject": "x",
        "description": "x",
    },
}


@pytest.fixture
def superuser(database: Urls) -> Iterator[psycopg.Connection]:
    """A superuser's connection in a transaction that is rolled back."""
    with connected(database.superuser) as connection, connection.transaction(force_rollback=True):
        yield connection


def insert(connection: psycopg.Connection, table: str, row: dict[str, object]) -> UUID:
    query = sql.SQL("INSERT INTO public.{} ({}) VALUES ({}) RETURNING id").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join(sql.Placeholder() * len(row)),
    )
    inserted = connection.execute(query, list(row.values())).fetchone()
    assert inserted is not None
    return inserted[0]


def columns_of(connection: psycopg.Connection, table: str) -> dict[str, list[str]]:
    rows = connection.execute(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod),"
        " CASE WHEN a.attnotnull THEN 'not null' ELSE 'null' END,"
        " coalesce(pg_get_expr(d.adbin, d.adrelid), 'none')"
        " FROM pg_attribute a"
        " LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
        " WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped",
        [f"public.{table}"],
    ).fetchall()
    random_uuids = ("gen_random_uuid()", "uuid_generate_v4()", "extensions.uuid_generate_v4()")
    return {
        name: [kind, null, "random uuid" if default in random_uuids else default]
        for name, kind, null, default in rows
    }


def constraints_of(connection: psycopg.Connection, table: str, kind: str) -> list[tuple[Any, ...]]:
    """The columns of each constraint of a kind, and the table that it references."""
    return connection.execute(
        "SELECT (SELECT array_agg(a.attname::text ORDER BY k.position)"
        "  FROM unnest(c.conkey) WITH ORDINALITY AS k (number, position)"
        "  JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number),"
        " (SELECT relname FROM pg_class WHERE oid = c.confrelid)"
        " FROM pg_constraint c WHERE c.conrelid = %s::regclass AND c.contype = %s",
        [f"public.{table}", kind],
    ).fetchall()


@pytest.mark.parametrize("table", TABLES)
def test_every_column_is_as_the_document_says(superuser: psycopg.Connection, table: str) -> None:
    columns = columns_of(superuser, table)
    assert {name: columns.get(name) for name in SEED[table]["columns"]} == SEED[table]["columns"]


@pytest.mark.parametrize("table", TABLES)
def test_every_index_has_the_documents_name_and_columns(
    superuser: psycopg.Connection, table: str
) -> None:
    rows = superuser.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename = %s",
        [table],
    ).fetchall()
    ours = dict(rows)
    for name, columns in SEED[table]["indexes"].items():
        unique, _, listed = columns.rpartition(" (") if "UNIQUE" in columns else ("", "", columns)
        listed = listed.strip("()")
        expected = (
            f"CREATE {'UNIQUE ' if unique else ''}INDEX {name} ON public.{table}"
            f" USING btree ({listed})"
        )
        assert ours.get(name) == expected


@pytest.mark.parametrize("table", TABLES)
def test_every_foreign_key_and_status_has_an_index(
    superuser: psycopg.Connection, table: str
) -> None:
    rows = superuser.execute(
        "SELECT a.attname FROM pg_index i JOIN pg_attribute a"
        " ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
        " WHERE i.indrelid = %s::regclass AND i.indpred IS NULL",
        [f"public.{table}"],
    ).fetchall()
    leading = {name for (name,) in rows}
    wanted = {*SEED[table]["foreign keys"], *({"status"} & set(SEED[table]["columns"]))}
    assert wanted <= leading


@pytest.mark.parametrize("table", TABLES)
def test_every_key_is_as_the_document_says(superuser: psycopg.Connection, table: str) -> None:
    assert [columns for columns, _ in constraints_of(superuser, table, "p")] == [
        SEED[table]["primary key"]
    ]
    rows = superuser.execute(
        "SELECT (SELECT array_agg(a.attname::text ORDER BY k.position)"
        "  FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, position)"
        "  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number)"
        " FROM pg_index i WHERE i.indrelid = %s::regclass AND i.indisunique"
        " AND NOT i.indisprimary AND i.indpred IS NULL",
        [f"public.{table}"],
    ).fetchall()
    unique = [columns for (columns,) in rows]
    for columns in SEED[table]["unique"]:
        assert columns in unique
    # Our own keys refuse no row that the document allows, because each contains the unique id.
    for columns in unique:
        assert columns in SEED[table]["unique"] or "id" in columns


@pytest.mark.parametrize("table", TABLES)
def test_every_foreign_key_is_as_the_document_says(
    superuser: psycopg.Connection, table: str
) -> None:
    foreign_keys = {
        columns[0]: target
        for columns, target in constraints_of(superuser, table, "f")
        if len(columns) == 1
    }
    assert foreign_keys == SEED[table]["foreign keys"]


@pytest.mark.parametrize(("table", "column"), CHECKS)
def test_a_closed_set_accepts_only_its_values(
    superuser: psycopg.Connection, table: str, column: str
) -> None:
    for number, value in enumerate(SEED[table]["checks"][column]):
        row = {**LEAST[table], column: value}
        if table == "users":
            row["email"] = f"{number}@x.example"
        if table == "workflow_batch_results":
            row["batch_index"] = 100 + number
        insert(superuser, table, row)
    for value in ("", "x", SEED[table]["checks"][column][0].upper()):
        with pytest.raises(CheckViolation), superuser.transaction():
            insert(superuser, table, {**LEAST[table], column: value})


@pytest.mark.parametrize("table", TABLES)
def test_a_row_of_the_documents_columns_alone_is_accepted(
    superuser: psycopg.Connection, table: str
) -> None:
    assert isinstance(insert(superuser, table, LEAST[table]), UUID)


REQUIRED = [
    (table, name)
    for table in TABLES
    for name, (_, null, default) in SEED[table]["columns"].items()
    if null == "not null" and default == "none"
]


@pytest.mark.parametrize(("table", "column"), REQUIRED)
def test_a_row_without_a_required_column_is_refused(
    superuser: psycopg.Connection, table: str, column: str
) -> None:
    with pytest.raises(NotNullViolation):
        insert(superuser, table, {**LEAST[table], column: None})


@pytest.mark.parametrize("table", TABLES)
def test_our_added_columns_are_nullable_defaulted_or_filled_in(
    superuser: psycopg.Connection, table: str
) -> None:
    added = {
        name: column
        for name, column in columns_of(superuser, table).items()
        if name not in SEED[table]["columns"]
    }
    row_id = insert(superuser, table, LEAST[table])
    for name, (_, null, default) in added.items():
        if null == "not null" and default == "none":
            query = sql.SQL("SELECT {} IS NOT NULL FROM public.{} WHERE id = %s")
            filled = query.format(sql.Identifier(name), sql.Identifier(table))
            assert superuser.execute(filled, [row_id]).fetchone() == (True,), name


# --- timestamps ------------------------------------------------------------------------------

CHANGES: dict[str, LiteralString] = {
    "users": "name",
    "clients": "name",
    "workflows": "description",
    "workflow_requests": "notes",
    "support_tickets": "subject",
}


@pytest.mark.parametrize("table", WITH_UPDATED_AT)
def test_a_change_sets_updated_at_and_ignores_the_writers_value(
    superuser: psycopg.Connection, table: str
) -> None:
    row_id = insert(superuser, table, {**LEAST[table], "updated_at": "2020-01-01T00:00:00Z"})
    query = sql.SQL(
        "UPDATE public.{} SET {} = 'changed', updated_at = '2021-01-01T00:00:00Z' WHERE id = %s"
        " RETURNING updated_at = now()"
    )
    update = query.format(sql.Identifier(table), sql.Identifier(CHANGES[table]))
    assert superuser.execute(update, [row_id]).fetchone() == (True,)


def test_a_login_does_not_change_updated_at(superuser: psycopg.Connection) -> None:
    row_id = insert(superuser, "users", {**LEAST["users"], "updated_at": "2020-01-01T00:00:00Z"})
    row = superuser.execute(
        "UPDATE public.users SET last_login = now() WHERE id = %s RETURNING updated_at", [row_id]
    ).fetchone()
    assert row is not None
    assert row[0].isoformat() == "2020-01-01T00:00:00+00:00"


def test_a_result_belongs_to_the_client_of_its_execution(superuser: psycopg.Connection) -> None:
    row_id = insert(superuser, "workflow_batch_results", LEAST["workflow_batch_results"])
    query = "SELECT client_id FROM public.workflow_batch_results WHERE id = %s"
    assert superuser.execute(query, [row_id]).fetchone() == (ACME,)
