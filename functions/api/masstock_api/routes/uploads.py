"""Uploads of reference images and of lists of prompts."""

from typing import TYPE_CHECKING

from aws_lambda_powertools.event_handler import Response

from masstock.errors import (
    FieldError,
    Forbidden,
    IdempotencyKeyReused,
    OutcomeUnknown,
    ValidationFailed,
)
from masstock.services.storage import DEFAULT_PROMPT_FILE, Uploads
from masstock_api import session
from masstock_api.operation import Answer, operation
from masstock_api.request import Request
from masstock_api.responses import as_json, json_answer
from masstock_api.writes import active_client, claim_id, client_named_by

if TYPE_CHECKING:
    from masstock.schemas.requests import UploadCreate


@operation(
    "POST",
    "/v1/uploads",
    Answer(201, "Upload", headers=["Location"]),
    headers=["Idempotency-Key"],
    problems=[Forbidden, IdempotencyKeyReused, OutcomeUnknown],
)
def create_upload(request: Request, body: "UploadCreate") -> Response[str]:
    """Returns a form that uploads one file, and a key. A submission names the file by this key."""
    is_image = body.kind == "reference_image"
    content_type = body.content_type or DEFAULT_PROMPT_FILE
    if is_image != content_type.startswith("image/"):
        detail = "Send the image's type; or application/jsonl, text/csv or text/plain for prompts."
        raise ValidationFailed([FieldError("/content_type", detail)])
    with request.writing() as tx:
        upload_id, is_new = claim_id(tx, request)
        client_id = client_named_by(tx.caller, body.client_id)
        if is_new:
            active_client(tx, client_id)
    bucket = Uploads(session.settings().uploads_bucket)
    form = (
        bucket.new_image_upload(client_id, upload_id, content_type)
        if is_image
        else bucket.new_prompts_upload(client_id, upload_id, content_type)
    )
    # The address of the file. Callers cannot read it; a submission names the file by its key.
    location = f"{form['url']}{form['key']}"
    return json_answer(as_json(form), 201, {"Location": location, "Cache-Control": "no-store"})
