"""Executions, their results, and uploads."""

import base64
import json
import os
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import RedirectResponse
from psycopg.types.json import Jsonb

from fastapi_app.identity import Transaction, secret
from fastapi_app.pages import PageOf
from masstock.schemas.requests import ExecutionCreate, ExecutionRetry, UploadCreate
from masstock.schemas.responses import (
    BatchResult,
    Execution,
    ExecutionStatus,
    ExecutionSummary,
    Page,
    ResultStatus,
    Upload,
)
from masstock.schemas.workflow_config import WorkflowConfig

router = APIRouter(prefix="/v1")

LIST = Path(__file__).parents[1].joinpath("list_executions.sql").read_text()
FETCH = """
    SELECT e.id, e.workflow_id, e.client_id, e.user_id, e.status,
        e.input_data - 'api_key' AS input_data, e.prompt_count, e.output_data, e.started_at,
        e.completed_at, e.duration_seconds, e.error_code, e.error_message, e.created_at,
        e.deadline_at, e.estimate_microusd, e.cost_microusd, e.webhook_url,
        d.delivered_at AS webhook_delivered_at, d.error_message AS webhook_error,
        w.name AS workflow_name, u.name AS user_name, c.name AS client_name,
        (SELECT json_build_object('total', greatest(e.prompt_count, count(*)),
            'successful', count(*) FILTER (WHERE b.status = 'completed'),
            'failed', count(*) FILTER (WHERE b.status = 'failed'),
            'processing', greatest(e.prompt_count, count(*))
                - count(*) FILTER (WHERE b.status IN ('completed', 'failed')))
         FROM public.workflow_batch_results b WHERE b.execution_id = e.id) AS progress
    FROM public.workflow_executions e
    LEFT JOIN app.workflow_names w ON w.id = e.workflow_id
    LEFT JOIN app.people u ON u.id = e.user_id
    LEFT JOIN public.clients c ON c.id = e.client_id
    LEFT JOIN public.webhook_deliveries d ON d.execution_id = e.id AND d.run = e.run
    WHERE e.id = %(id)s
"""


@cache
def client(service: str) -> Any:
    """A client of AWS; imported where it is used, since most requests use none."""
    import boto3

    return boto3.client(service)


def start(execution_id: UUID, run: int) -> None:
    """Starts the machine."""
    client("stepfunctions").start_execution(
        stateMachineArn=os.environ["STATE_MACHINE_ARN"],
        name=f"{execution_id}-{run}",
        input=json.dumps({"execution_id": str(execution_id), "run": run}),
    )


@router.get("/executions", response_model=Page[ExecutionSummary])
async def list_executions(
    tx: Transaction,
    paging: PageOf,
    status: ExecutionStatus | None = None,
    workflow_id: UUID | None = None,
    client_id: UUID | None = None,
    user_id: UUID | None = None,
    created_from: Annotated[datetime | None, Query(alias="from")] = None,
    created_to: Annotated[datetime | None, Query(alias="to")] = None,
) -> Any:
    """Newest first."""
    rows = await tx.rows(
        LIST,
        status=status,
        workflow_id=workflow_id,
        client_id=client_id,
        user_id=user_id,
        created_from=created_from,
        created_to=created_to,
        **paging.values(),
    )
    return paging.page(rows)


@router.post("/executions", response_model=Execution, status_code=202)
async def create_execution(tx: Transaction, body: ExecutionCreate) -> Any:
    """202 with the execution."""
    client_id, execution_id = tx.client_named(body.client_id), uuid4()
    workflow = await tx.row(
        "SELECT config FROM public.workflows WHERE id = %(id)s AND status = 'active'",
        id=body.workflow_id,
    )
    config = WorkflowConfig.model_validate(workflow["config"])
    if len(body.prompts or []) > config.max_prompts:
        raise HTTPException(422, f"This workflow takes at most {config.max_prompts} prompts.")
    if config.requires_api_key and body.api_key is None:
        raise HTTPException(422, "This workflow requires an api_key.")
    content = body.model_dump(mode="json", include={"prompts", "aspect_ratio"}, exclude_none=True)
    if body.api_key is not None:
        content["api_key"] = _seal(body.api_key, client_id, execution_id)
    await tx.run(
        """
        INSERT INTO public.workflow_executions
            (id, workflow_id, client_id, user_id, input_data, deadline_at, webhook_url)
        VALUES (%(id)s, %(workflow_id)s, %(client_id)s, %(user_id)s, %(content)s,
                now() + interval '6 hours', %(webhook_url)s)
        """,
        id=execution_id,
        workflow_id=body.workflow_id,
        client_id=client_id,
        user_id=tx.user_id,
        content=Jsonb(content),
        webhook_url=body.webhook_url,
    )
    execution = await tx.row(FETCH, id=execution_id)
    await tx.connection.execute("COMMIT")
    start(execution_id, 0)
    return execution


def _seal(text: str, client_id: UUID, execution_id: UUID) -> str:
    from hashlib import sha256

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    keys = json.loads(secret(os.environ["SEALING_SECRET_ID"]))
    key_id, nonce = keys["current"], os.urandom(12)
    bound = f"v1|{key_id}|{client_id}|{execution_id}".encode()
    sealed = AESGCM(sha256(keys[key_id].encode()).digest()).encrypt(nonce, text.encode(), bound)
    encoded = (base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (nonce, sealed))
    return ".".join(("v1", key_id, *encoded))


@router.get("/executions/{execution_id}", response_model=Execution)
async def get_execution(tx: Transaction, execution_id: UUID) -> Any:
    """One execution with its progress."""
    return await tx.row(FETCH, id=execution_id)


@router.delete("/executions/{execution_id}", status_code=204)
async def delete_execution(tx: Transaction, execution_id: UUID) -> None:
    """204; an ended execution with its results."""
    await tx.row(FETCH, id=execution_id)
    deleted = await tx.run(
        """
        DELETE FROM public.workflow_executions
        WHERE id = %(id)s AND status IN ('completed', 'failed')
        """,
        id=execution_id,
    )
    if not deleted:
        raise HTTPException(409, "The execution has not ended; cancel it first.")


@router.post("/executions/{execution_id}/cancel", response_model=Execution)
async def cancel_execution(tx: Transaction, execution_id: UUID) -> Any:
    """200 with the execution."""
    found = await tx.row(
        "SELECT app.cancel_execution(%(id)s, 'The execution was cancelled.') AS outcome",
        id=execution_id,
    )
    if found["outcome"] == "ended":
        raise HTTPException(409, "The execution has already ended.")
    return await tx.row(FETCH, id=execution_id)


@router.post("/executions/{execution_id}/retry", response_model=Execution, status_code=202)
async def retry_execution(tx: Transaction, execution_id: UUID, body: ExecutionRetry) -> Any:
    """202 with the execution, running again for its failed prompts."""
    reopened = await tx.row("SELECT app.reopen_failed(%(id)s, NULL, 21600) AS run", id=execution_id)
    execution = await tx.row(FETCH, id=execution_id)
    await tx.connection.execute("COMMIT")
    start(execution_id, reopened["run"])
    return execution


@router.get("/executions/{execution_id}/results", response_model=Page[BatchResult])
async def list_results(
    tx: Transaction,
    execution_id: UUID,
    status: ResultStatus | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: int = -1,
) -> Any:
    """Results in the order of the prompts."""
    await tx.row("SELECT FROM public.workflow_executions WHERE id = %(id)s", id=execution_id)
    rows = await tx.rows(
        """
        SELECT r.*, NULL::boolean AS retryable FROM public.workflow_batch_results r
        WHERE r.execution_id = %(id)s AND r.batch_index > %(after)s
          AND (%(status)s::text IS NULL OR r.status = %(status)s)
        ORDER BY r.batch_index LIMIT %(limit)s
        """,
        id=execution_id,
        after=cursor,
        status=status,
        limit=limit + 1,
    )
    items = rows[:limit]
    for item in items:
        if item["result_storage_path"]:
            item["result_url"] = _signed(item["result_storage_path"])
    more = len(rows) > limit
    return {"items": items, "next_cursor": str(items[-1]["batch_index"]) if more else None}


def _signed(key: str) -> str:
    bucket = {"Bucket": os.environ["RESULTS_BUCKET"], "Key": key}
    return client("s3").generate_presigned_url("get_object", bucket, ExpiresIn=900)


@router.get("/executions/{execution_id}/results/{batch_index}/image", status_code=302)
async def get_image(tx: Transaction, execution_id: UUID, batch_index: int) -> RedirectResponse:
    """302 to a URL that shows the image without any header."""
    row = await tx.row(
        """
        SELECT result_storage_path FROM public.workflow_batch_results
        WHERE execution_id = %(id)s AND batch_index = %(index)s AND result_storage_path IS NOT NULL
        """,
        id=execution_id,
        index=batch_index,
    )
    return RedirectResponse(_signed(row["result_storage_path"]), 302)


@router.post("/uploads", response_model=Upload, status_code=201)
async def create_upload(tx: Transaction, body: UploadCreate) -> Any:
    """201 with a form to POST one file with."""
    kind = body.content_type or "application/jsonl"
    folder = "references" if kind.startswith("image/") else "prompts"
    key = f"{tx.client_named(body.client_id)}/{folder}/{uuid4()}"
    form = client("s3").generate_presigned_post(
        os.environ["UPLOADS_BUCKET"],
        key,
        Fields={"Content-Type": kind},
        Conditions=[{"Content-Type": kind}, ["content-length-range", 1, 50 * 1024 * 1024]],
        ExpiresIn=900,
    )
    return {"key": key, **form, "expires_at": datetime.now(UTC) + timedelta(minutes=15)}
