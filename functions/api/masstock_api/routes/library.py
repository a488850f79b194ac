"""The results of all executions in one list."""

import json
from datetime import datetime
from uuid import UUID

from aws_lambda_powertools.event_handler import Response

from masstock.database.connection import Row
from masstock.database.queries import library
from masstock.database.queries.library import ResultPage
from masstock.errors import FieldError, InvalidCursor, ValidationFailed, retryable_codes
from masstock_api import session
from masstock_api.image_urls import with_urls
from masstock_api.operation import Answer, operation
from masstock_api.pages import (
    DEFAULT_LIMIT,
    MAX_PAGE_BYTES,
    PAGE_PARAMETERS,
    bytes_in_envelope,
    decode_cursor,
    encode_cursor,
)
from masstock_api.parameters import PERIOD, a_text, a_uuid, one_of, some_words
from masstock_api.request import Request
from masstock_api.responses import as_json, json_answer

LIST_NAME = "search_results"
# Columns of a row that say something about the page.
OF_THE_PAGE = ("position_created_at", "position_execution_id")
FILTERS = {
    "q": some_words,
    "status": one_of("processing", "completed", "failed"),
    "workflow_id": a_uuid,
    "execution_id": a_uuid,
    "client_id": a_uuid,
    "custom_id": a_text,
    "model": a_text,
}


@operation(
    "GET",
    "/v1/results",
    Answer(200, "Page[BatchResult]"),
    query={**FILTERS, **PERIOD, **PAGE_PARAMETERS},
    problems=[InvalidCursor],
    compress=True,
)
def search_results(request: Request) -> Response[str]:
    """Lists the results of all executions, newest first. `q` finds prompts that contain all of its
    words, without case and accents. A page of a search can have fewer results than `limit`, or
    none, although a next page exists."""
    query = request.query
    key = session.signing_key()
    limit = query["limit"] or DEFAULT_LIMIT
    filters = {name: query[name] for name in FILTERS}
    period = {"created_from": query["from"], "created_to": query["to"]}
    before = _position(query["cursor"], key)
    page = ResultPage(limit, retryable_codes(), before, {**filters, **period})
    reader = request.reading()
    rows = library.list_results(reader, page)
    if query["q"] is not None and query["client_id"] is None and reader.caller.is_admin:
        raise ValidationFailed(
            [
                FieldError(
                    "client_id", "Administrators must name the client whose prompts they search."
                )
            ]
        )
    return json_answer(_page_of(rows, limit, key))


def _position(cursor: str | None, key: str) -> tuple[datetime, UUID, int] | None:
    if cursor is None:
        return None
    created_at, execution_id, batch_index = decode_cursor(cursor, LIST_NAME, key)
    return datetime.fromisoformat(str(created_at)), UUID(str(execution_id)), int(batch_index)


def _page_of(rows: list[Row], limit: int, key: str) -> str:
    """The JSON of a page: at most `limit` rows and about 4 MB."""
    items: list[str] = []
    size = 0
    next_cursor = None
    last: Row = {}
    for row in rows:
        if row["id"] is None:
            # Every result of this execution was looked at.
            next_cursor = _cursor(row, 0, key)
            break
        item = as_json(with_urls({name: row[name] for name in row if name not in OF_THE_PAGE}))
        size += bytes_in_envelope(item)
        if items and (len(items) == limit or size > MAX_PAGE_BYTES):
            next_cursor = _cursor(last, last["batch_index"], key)
            break
        items.append(item)
        last = row
    return f'{{"items":[{",".join(items)}],"next_cursor":{json.dumps(next_cursor)}}}'


def _cursor(row: Row, batch_index: int, key: str) -> str:
    position = [row["position_created_at"].isoformat(), str(row["position_execution_id"])]
    return encode_cursor([*position, batch_index], LIST_NAME, key)
