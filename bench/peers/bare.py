"""The floor: a handler with only psycopg and json, as written by hand.

It reads the first page of executions as the tenant, in four round trips. With `ONE_FLIGHT=1` it
uses one flight, and Postgres makes the JSON: the minimum that any handler for this page needs.
"""

import hmac
import json
import os
import time
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

QUERY = Path(__file__).with_name("list_executions.sql").read_text()
FIRST_PAGE = {
    "limit": 51,
    "before_created_at": "infinity",
    "before_id": "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "status": None,
    "workflow_id": None,
    "client_id": None,
    "user_id": None,
    "created_from": None,
    "created_to": None,
}

AS_JSON = f"SELECT json_agg(x)::text AS json FROM ({QUERY}) x"
ONE_FLIGHT = os.environ.get("ONE_FLIGHT")
PREPARE_THRESHOLD = os.environ.get("PREPARE_THRESHOLD")

connection = None


def lambda_handler(event, context):
    """Answers with the page. The user comes from the environment: no token, secrets or routes."""
    global connection  # noqa: PLW0603 - kept across invocations
    if connection is None:
        connection = psycopg.connect(
            os.environ["DATABASE_URL"],
            autocommit=True,
            row_factory=dict_row,
            # None by default, because a pooler in transaction mode is in between, as for our api.
            prepare_threshold=PREPARE_THRESHOLD and int(PREPARE_THRESHOLD),
        )
    user_id, expires = os.environ["USER_ID"], int(time.time()) + 120
    message = f"{user_id}|{expires}".encode()
    mac = hmac.digest(os.environ["IDENTITY_KEY"].encode(), message, "sha256").hex()
    enter = ("SELECT app.enter(%s, %s, %s)", [user_id, expires, mac])
    if ONE_FLIGHT:
        with connection.pipeline():
            connection.execute("BEGIN READ ONLY")
            connection.execute(*enter)
            cursor = connection.execute(AS_JSON, {**FIRST_PAGE, "limit": 50})
            connection.execute("COMMIT")
        return {"statusCode": 200, "body": '{"items":' + cursor.fetchone()["json"] + "}"}
    connection.execute("BEGIN READ ONLY")
    connection.execute(*enter)
    rows = connection.execute(QUERY, FIRST_PAGE).fetchall()
    connection.execute("COMMIT")
    return {"statusCode": 200, "body": json.dumps({"items": rows[:50]}, default=str)}
