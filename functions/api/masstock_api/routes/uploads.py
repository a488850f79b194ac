"""Uploads of reference images and lists of prompts."""

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

from masstock.errors import FieldError, ValidationFailed
from masstock.services.storage import PROMPTS_TYPE, Uploads
from masstock_api import session
from masstock_api.request import read_body, read_query
from masstock_api.responses import as_json
from masstock_api.writes import active_client, client_named_by

router = APIGatewayHttpRouter()


@router.post("/uploads")
def create_upload() -> Response[str]:
    """201 with a form to POST one file with, and the key to name it by in a submission."""
    from masstock.schemas.requests import UploadCreate

    event = router.current_event
    read_query(event, {})
    body = read_body(event, UploadCreate)
    is_image = body.kind == "reference_image"
    if is_image != (body.content_type or PROMPTS_TYPE).startswith("image/"):
        detail = "Name the type of an image; prompts are application/jsonl."
        raise ValidationFailed([FieldError("/content_type", detail)])
    with session.writing(event) as tx:
        client_id = client_named_by(tx.caller, body.client_id)
        active_client(tx, client_id)
    bucket = Uploads(session.settings().uploads_bucket)
    form = (
        bucket.new_image_upload(client_id, body.content_type)
        if is_image and body.content_type
        else bucket.new_prompts_upload(client_id)
    )
    # Where the file will be: nothing but a submission reads it.
    headers = {"Location": f"{form['url']}{form['key']}", "Cache-Control": "no-store"}
    return Response(201, "application/json", as_json(form), dict(headers))
