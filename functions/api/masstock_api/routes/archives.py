"""Archives: the images of an execution as ZIP files."""

from typing import TYPE_CHECKING
from uuid import UUID

from aws_lambda_powertools.event_handler import Response

from masstock.database.queries import archives, executions
from masstock.database.queries.archives import Archive, Part
from masstock.errors import (
    Conflict,
    FieldError,
    IdempotencyKeyReused,
    NotFound,
    OutcomeUnknown,
    ValidationFailed,
)
from masstock.file_names import safe_stem
from masstock.services.signed_urls import expiry
from masstock.telemetry import logger
from masstock_api import session
from masstock_api.operation import Answer, operation
from masstock_api.request import Request
from masstock_api.responses import as_json, json_answer
from masstock_api.strict_json import MAX_MISTAKES
from masstock_api.writes import claim_id

if TYPE_CHECKING:
    from masstock.schemas.requests import ArchiveCreate

POLLING = {"Retry-After": "2"}
PATH = "/v1/executions/<execution_id>/archive"


@operation(
    "POST",
    PATH,
    Answer(202, "Archive", headers=["Location", "Retry-After"]),
    headers=["Idempotency-Key"],
    problems=[NotFound, Conflict, IdempotencyKeyReused, OutcomeUnknown],
    body_required=False,
)
def create_archive(request: Request, execution_id: UUID, body: "ArchiveCreate") -> Response[str]:
    """Packs the finished images of an execution, or those in `indices`, as ZIP files. If an archive
    is being built, or one of the same images is ready, the answer is that one."""
    with request.writing() as tx:
        archive_id, is_new = claim_id(tx, request)
        if is_new:
            if body.indices is not None:
                executions.fetch_execution(tx, execution_id)
                _check_indices(
                    archives.list_without_image(tx, execution_id, body.indices), body.indices
                )
            is_new = archives.create_archive(tx, archive_id, execution_id, body.indices)
        archive = archives.fetch_archive(tx, execution_id)
    if is_new:
        _start_builders(archive)
    location = {"Location": f"/v1/executions/{execution_id}/archive"}
    return json_answer(as_json(_answer(archive)), 202, {**location, **POLLING})


def _check_indices(without_image: list[int], indices: list[int]) -> None:
    """Raises ValidationFailed for the positions in `without_image`."""
    if without_image:
        raise ValidationFailed(
            [
                FieldError(f"/indices/{position}", f"Result {indices[position]} has no image.")
                for position in without_image[:MAX_MISTAKES]
            ]
        )


def _start_builders(archive: Archive) -> None:
    """Starts a builder for each part of a committed archive. Logs a failure and does not raise it:
    the sweep starts the builders that did not begin."""
    from botocore.exceptions import BotoCoreError, ClientError

    from masstock.services.archive_function import start_builder

    try:
        for part in archive["parts"]:
            start_builder(session.settings().archive_function_arn, archive["id"], part["part"])
    except (BotoCoreError, ClientError):
        logger.exception("a builder did not start; the sweep will start it")


@operation(
    "GET",
    PATH,
    Answer(200, "Archive", headers=["Retry-After"]),
    problems=[NotFound],
)
def get_archive(request: Request, execution_id: UUID) -> Response[str]:
    """Returns the latest archive of an execution. Its parts appear when all of them are ready. Each
    URL needs no token and is valid for at least 15 minutes; a read after that returns new ones."""
    archive = archives.fetch_archive(request.reading(), execution_id)
    return json_answer(as_json(_answer(archive)), 200, POLLING)


def _answer(archive: Archive) -> dict[str, object]:
    sizes = [part["size_bytes"] or 0 for part in archive["parts"]]
    is_ready = archive["state"] == "ready"
    return {
        "execution_id": archive["execution_id"],
        "state": archive["state"],
        "images": archive["images"],
        "bytes": sum(sizes),
        "parts": [_part(archive, part) for part in archive["parts"]] if is_ready else [],
        "created_at": archive["created_at"],
        "expires_at": archive["expires_at"],
    }


def _part(archive: Archive, part: Part) -> dict[str, object]:
    from masstock.services.archive_storage import Archives

    number = "" if len(archive["parts"]) == 1 else f"-{part['part']}"
    stem = safe_stem(archive["name"] or "") or archive["execution_id"]
    file_name = f"{stem}{number}.zip"
    store = Archives(session.settings().uploads_bucket)
    return {
        "url": store.signed_url(part["storage_path"] or "", file_name),
        "size_bytes": part["size_bytes"],
        "expires_at": expiry(),
    }
