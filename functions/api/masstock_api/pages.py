"""Pages of lists: the JSON object `{"items", "next_cursor"}`, and the signed cursors."""

import base64
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from masstock.database.queries.keyset import Page
from masstock.errors import InvalidCursor
from masstock_api.parameters import Parameter, between

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
# A page must fit into Lambda's limit of 6 MB, as `bytes_in_envelope` counts it.
MAX_PAGE_BYTES = 4 * 1024 * 1024
SIGNATURE_BYTES = 9


def encode_cursor(position: Sequence[str | int], list_name: str, key: str) -> str:
    """The signed text of a position in one list. Only that list accepts it."""
    payload = json.dumps(position, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_sign(payload, list_name, key) + payload).decode().rstrip("=")


def decode_cursor(cursor: str, list_name: str, key: str) -> list[str | int]:
    """The position in a cursor. Raises InvalidCursor if the cursor was altered or belongs to
    another list."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise InvalidCursor from error
    signature, payload = raw[:SIGNATURE_BYTES], raw[SIGNATURE_BYTES:]
    # Base64 has several spellings of the same bytes. Only the canonical one is accepted.
    if (
        not hmac.compare_digest(signature, _sign(payload, list_name, key))
        or base64.urlsafe_b64encode(raw).decode().rstrip("=") != cursor
    ):
        raise InvalidCursor
    return json.loads(payload)


def _sign(payload: bytes, list_name: str, key: str) -> bytes:
    message = b"cursor|" + list_name.encode() + b"|" + payload
    return hmac.digest(key.encode(), message, "sha256")[:SIGNATURE_BYTES]


PAGE_PARAMETERS = {
    "limit": between(1, MAX_LIMIT, default=DEFAULT_LIMIT),
    "cursor": Parameter(str, {"type": "string"}),
}


def read_page(query: Mapping[str, Any], list_name: str, key: str) -> Page:
    """The page that the query string names. Raises InvalidCursor."""
    names = {"from": "created_from", "to": "created_to"}
    filters = {
        names.get(name, name): value for name, value in query.items() if name not in PAGE_PARAMETERS
    }
    before = time_position(query["cursor"], list_name, key)
    return Page(query["limit"] or DEFAULT_LIMIT, before, filters)


def time_position(cursor: str | None, list_name: str, key: str) -> tuple[datetime, UUID] | None:
    """The (created_at, id) of the previous page's last row. Raises InvalidCursor."""
    if cursor is None:
        return None
    created_at, row_id = decode_cursor(cursor, list_name, key)
    return datetime.fromisoformat(str(created_at)), UUID(str(row_id))


def bytes_in_envelope(text: str) -> int:
    """The bytes of JSON text as a string of Lambda's answer, which escapes quotes and backslashes
    once more."""
    return len(text.encode()) + text.count('"') + text.count("\\")


def page_of_rows(rows: Sequence[str], limit: int, list_name: str, key: str) -> str:
    """The JSON of a page: at most `limit` rows and 4 MB. Each row is JSON with `created_at` and
    `id`. A row beyond `limit`, which the query also fetches, shows that a next page exists."""
    items: list[str] = []
    size = 0
    for row in rows[:limit]:
        size += bytes_in_envelope(row)
        if items and size > MAX_PAGE_BYTES:
            break
        items.append(row)
    next_cursor = None
    if len(items) < len(rows):
        last = json.loads(items[-1])
        next_cursor = encode_cursor([last["created_at"], last["id"]], list_name, key)
    return f'{{"items":[{",".join(items)}],"next_cursor":{json.dumps(next_cursor)}}}'
