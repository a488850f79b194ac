"""Lists of prompts as large as an upload may be, 50 MB, over connections of any width."""

import dataclasses
import json
import time
from collections.abc import Iterator
from uuid import uuid4

import boto3
import psycopg
import pytest
from psycopg import sql

from local.aws.resources import REGION
from masstock.services.storage import MAX_PROMPTS_BYTES
from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, WORKFLOW
from tests.support.handler import UPLOADS_BUCKET, Api, environment
from tests.support.wire import Wire

pytestmark = pytest.mark.timeout(120)

PROMPTS = 10_000
FUNCTION_SECONDS = 29
MEGABYTE = 1024 * 1024


@pytest.fixture
def superuser(fresh_database: Urls) -> Iterator[psycopg.Connection]:
    with connected(fresh_database.superuser) as connection:
        connection.execute(
            "UPDATE public.workflows SET config = config || '{\"max_prompts\": 10000}'"
            " WHERE id = %s",
            [WORKFLOW],
        )
        yield connection


def upload(aws_url: str, text: str) -> tuple[str, int]:
    """The key of a list of 10,000 prompts that contain `text`, and its size in bytes."""
    line = json.dumps(f"%04d {text}", ensure_ascii=False)
    content = "\n".join(line % number for number in range(PROMPTS)).encode()
    return put(aws_url, content, "jsonl"), len(content)


def put(aws_url: str, content: bytes, kind: str) -> str:
    """The key of a list that has nearly the largest size."""
    assert 0.99 * MAX_PROMPTS_BYTES < len(content) <= MAX_PROMPTS_BYTES
    key = f"{ACME}/prompts/{uuid4()}.{kind}"
    boto3.client(
        "s3",
        endpoint_url=aws_url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    ).put_object(Bucket=UPLOADS_BUCKET, Key=key, Body=content)
    return key


def submit(urls: Urls, aws_url: str, key: str) -> float:
    """Submits the list as a client user and returns the seconds until the answer."""
    body = {"workflow_id": str(WORKFLOW), "prompts_key": key, "api_key": "demo-key-0123"}
    with environment(urls, aws_url):
        began = time.monotonic()
        answer = Api().call("client_a", "POST", "/v1/executions", json=body)
        seconds = time.monotonic() - began
    assert answer.status_code == 202, answer.text
    assert json.loads(answer.text)["prompt_count"] == PROMPTS
    return seconds


def stored_texts(superuser: psycopg.Connection) -> list[str]:
    rows = superuser.execute(
        "SELECT jsonb_array_elements_text(input_data -> 'prompts') FROM public.workflow_executions"
        " WHERE input_bytes > %s",
        [MEGABYTE],
    ).fetchall()
    return [text for (text,) in rows]


def test_50_megabytes_are_accepted_within_the_functions_time(
    fresh_database: Urls, aws_url: str, superuser: psycopg.Connection
) -> None:
    key, _ = upload(aws_url, "x" * 5230)
    assert submit(fresh_database, aws_url, key) < FUNCTION_SECONDS
    texts = stored_texts(superuser)
    assert (len(texts), texts[-1]) == (PROMPTS, "9999 " + "x" * 5230)


def test_50_megabytes_of_a_table_are_accepted(
    fresh_database: Urls, aws_url: str, superuser: psycopg.Connection
) -> None:
    rows = (f'"{number:04} {"x" * 2610}\n{"y" * 2610}";{number}' for number in range(PROMPTS))
    key = put(aws_url, "\r\n".join(["prompt;custom_id", *rows]).encode(), "csv")
    assert submit(fresh_database, aws_url, key) < FUNCTION_SECONDS


def test_text_beyond_ascii_takes_no_more_bytes_on_the_wire_than_in_the_upload(
    fresh_database: Urls, aws_url: str, superuser: psycopg.Connection
) -> None:
    """`\\ud83d\\ude00` has three times the bytes of the character that it escapes."""
    key, size = upload(aws_url, "\N{GRINNING FACE}" * 1307)
    with Wire(fresh_database.api) as wire:
        submit(dataclasses.replace(fresh_database, api=wire.url), aws_url, key)
        assert size < wire.client_bytes < 1.01 * size
    assert stored_texts(superuser)[0] == "0000 " + "\N{GRINNING FACE}" * 1307


def test_a_list_may_travel_for_longer_than_a_statement_may_run(
    fresh_database: Urls, aws_url: str, superuser: psycopg.Connection
) -> None:
    """The server counts a statement's time from its first byte: here 5 s for 50 MB, of 3 s."""
    superuser.execute(
        sql.SQL("ALTER ROLE masstock_api IN DATABASE {} SET statement_timeout = '3s'").format(
            sql.Identifier(fresh_database.name)
        )
    )
    key, _ = upload(aws_url, "x" * 5230)
    with Wire(fresh_database.api, bytes_per_second=10 * MEGABYTE) as wire:
        seconds = submit(dataclasses.replace(fresh_database, api=wire.url), aws_url, key)
    assert 5 < seconds < FUNCTION_SECONDS
    with connected(fresh_database.api) as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("3s",)


@pytest.mark.slow
def test_50_megabytes_are_accepted_at_2_megabytes_per_second(
    fresh_database: Urls, aws_url: str, superuser: psycopg.Connection
) -> None:
    """The travel alone takes 25 s. docs/reliability.md says what the rest takes on an idle machine:
    a bound here would measure the load of this one."""
    key, size = upload(aws_url, "x" * 5230)
    with Wire(fresh_database.api, bytes_per_second=2 * MEGABYTE) as wire:
        seconds = submit(dataclasses.replace(fresh_database, api=wire.url), aws_url, key)
    assert seconds > size / (2 * MEGABYTE)
    assert stored_texts(superuser)[-1] == "9999 " + "x" * 5230
