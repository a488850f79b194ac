"""Adopts a database that already has the schema document's tables and data.

Adds the parts that the first migration creates: owner, defaults, missing constraints and indexes.
Drops the row policies of the tables, because the document's policies recurse without end. Drops the
triggers that set updated_at. Later migrations create new policies and triggers. Keeps every row,
and every object that the document does not name.
"""

from typing import LiteralString, cast

import psycopg
from psycopg import sql

EXPECTED = "masstock_expected"
TABLES = (
    "users",
    "clients",
    "workflows",
    "workflow_requests",
    "workflow_executions",
    "workflow_batch_results",
    "support_tickets",
)


class CannotAdopt(Exception):
    """The database differs from the schema document; nothing was changed."""


def adopt(connection: psycopg.Connection, first_migration: str) -> None:
    """Brings the tables to the state that `first_migration` gives an empty database. Runs in the
    transaction of the calling code, as a member of the owner role; raises CannotAdopt."""
    _create_expected_tables(connection, first_migration)
    _refuse_different_columns(connection)
    for table in TABLES:
        _take_over(connection, table)
    connection.execute("SET LOCAL ROLE masstock_owner")
    for statement in _missing_parts(connection):
        connection.execute(statement)
    connection.execute("RESET ROLE")
    connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(EXPECTED)))


def _create_expected_tables(connection: psycopg.Connection, first_migration: str) -> None:
    """Creates the same tables, empty, in a separate schema, for the comparison."""
    schema = sql.Identifier(EXPECTED)
    connection.execute(sql.SQL("CREATE SCHEMA {} AUTHORIZATION masstock_owner").format(schema))
    elsewhere = first_migration.replace("public.", f"{EXPECTED}.")
    connection.execute(cast(LiteralString, elsewhere))


def _refuse_different_columns(connection: psycopg.Connection) -> None:
    mistakes = [
        f"{table}.{column} is {found or 'missing'}, not {wanted}"
        for table, column, wanted, found in connection.execute(
            """
            SELECT t.relname, e.attname, format_type(e.atttypid, e.atttypmod),
                   format_type(a.atttypid, a.atttypmod)
            FROM pg_class t
            JOIN pg_attribute e ON e.attrelid = t.oid AND e.attnum > 0 AND NOT e.attisdropped
            LEFT JOIN pg_class c ON c.relname = t.relname
                AND c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
            LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = e.attname
                AND NOT a.attisdropped
            WHERE t.relnamespace = %s::regnamespace AND t.relkind = 'r'
              AND a.atttypid IS DISTINCT FROM e.atttypid
            ORDER BY t.relname, e.attnum
            """,
            [EXPECTED],
        )
    ]
    if mistakes:
        raise CannotAdopt("; ".join(mistakes))


def _take_over(connection: psycopg.Connection, table: str) -> None:
    name = sql.Identifier("public", table)
    connection.execute(sql.SQL("ALTER TABLE {} OWNER TO masstock_owner").format(name))
    # The new owner drops the policies. If `postgres` dropped them, Supabase would lock its own
    # tables.
    connection.execute("SET LOCAL ROLE masstock_owner")
    policies = connection.execute(
        "SELECT polname FROM pg_policy WHERE polrelid = %s::regclass", [f"public.{table}"]
    ).fetchall()
    for (policy,) in policies:
        drop = sql.SQL("DROP POLICY {} ON {}").format(sql.Identifier(policy), name)
        connection.execute(drop)
    triggers = connection.execute(
        """
        SELECT t.tgname FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
        WHERE t.tgrelid = %s::regclass AND NOT t.tgisinternal
          AND p.prosrc ~* 'new\\.updated_at\\s*:?='
        """,
        [f"public.{table}"],
    ).fetchall()
    for (trigger,) in triggers:
        drop = sql.SQL("DROP TRIGGER {} ON {}").format(sql.Identifier(trigger), name)
        connection.execute(drop)
    connection.execute("RESET ROLE")


def _missing_parts(connection: psycopg.Connection) -> list[LiteralString]:
    """Statements that add the missing defaults, constraints and indexes of the document."""
    rows = connection.execute(
        """
        WITH wanted AS (
            SELECT t.oid AS wanted_oid, c.oid, c.relname
            FROM pg_class t JOIN pg_class c ON c.relname = t.relname
                AND c.relnamespace = 'public'::regnamespace
            WHERE t.relnamespace = %(expected)s::regnamespace AND t.relkind = 'r')
        -- the defaults of the first migration call no extension
        SELECT 1, format('ALTER TABLE public.%%I ALTER COLUMN %%I SET DEFAULT %%s',
                         w.relname, e.attname, pg_get_expr(d.adbin, d.adrelid))
        FROM wanted w
        JOIN pg_attrdef d ON d.adrelid = w.wanted_oid
        JOIN pg_attribute e ON e.attrelid = w.wanted_oid AND e.attnum = d.adnum
        UNION ALL
        SELECT 2, format('ALTER TABLE public.%%I ALTER COLUMN %%I SET NOT NULL',
                         w.relname, e.attname)
        FROM wanted w
        JOIN pg_attribute e ON e.attrelid = w.wanted_oid AND e.attnum > 0 AND e.attnotnull
        JOIN pg_attribute a ON a.attrelid = w.oid AND a.attname = e.attname AND NOT a.attnotnull
        UNION ALL
        -- primary and unique keys before the foreign keys that need them; NOT NULL is above
        SELECT CASE e.contype WHEN 'f' THEN 4 ELSE 3 END,
               format('ALTER TABLE public.%%I ADD CONSTRAINT %%I %%s', w.relname, e.conname,
                      replace(pg_get_constraintdef(e.oid), %(expected)s || '.', 'public.'))
        FROM wanted w JOIN pg_constraint e ON e.conrelid = w.wanted_oid
        WHERE e.contype IN ('p', 'u', 'c', 'f') AND NOT EXISTS (
            SELECT FROM pg_constraint c WHERE c.conrelid = w.oid AND c.conname = e.conname)
        UNION ALL
        SELECT 5, replace(pg_get_indexdef(i.indexrelid), %(expected)s || '.', 'public.')
        FROM wanted w
        JOIN pg_index i ON i.indrelid = w.wanted_oid
        JOIN pg_class x ON x.oid = i.indexrelid
        WHERE NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)
          AND NOT EXISTS (
            SELECT FROM pg_class c WHERE c.relname = x.relname
              AND c.relnamespace = 'public'::regnamespace)
        ORDER BY 1, 2
        """,
        {"expected": EXPECTED},
    ).fetchall()
    # The server makes the statements from a file of this repository and quotes every name.
    return [cast(LiteralString, statement) for _, statement in rows]
