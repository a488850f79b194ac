"""Uploads of reference images."""

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

import session
from answers import as_json
from masstock.errors import FieldError, ValidationFailed
from masstock.queries import clients
from masstock.storage import Uploads
from request import read_body, read_query
from writes import client_named_by

router = APIGatewayHttpRouter()


@router.post("/uploads")
def create_upload() -> Response[str]:
    """201 with a form to POST one image with, and the key to name it by in a submission."""
    from masstock.models.api import UploadCreate

    event = router.current_event
    read_query(event, {})
    body = read_body(event, UploadCreate)
    with session.writing(event) as tx:
        client_id = client_named_by(tx.caller, body.client_id)
        if not clients.client_exists(tx, client_id):
            raise ValidationFailed([FieldError("/client_id", "There is no such client.")])
    bucket = Uploads(session.settings().uploads_bucket)
    form = bucket.new_upload(client_id, body.content_type)
    return Response(201, "application/json", as_json(form), {"Cache-Control": "no-store"})
