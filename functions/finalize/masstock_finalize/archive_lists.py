"""The lists inside an archive: results.csv for spreadsheets and manifest.jsonl for programs."""

import csv
import io
import json
from collections.abc import Mapping, Sequence

from masstock.database.queries.archives import ArchivedImage

CSV_NAME = "results.csv"
MANIFEST_NAME = "manifest.jsonl"
COLUMNS = (
    *("file", "batch_index", "prompt_index", "image_index", "custom_id", "prompt", "metadata"),
    *("model", "seed", "mime_type", "width", "height", "size_bytes", "cost_microusd", "sha256"),
)
# A spreadsheet reads a cell that begins with one of these as a formula. Some spreadsheets first
# remove a tab or a line end.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def record_of(image: ArchivedImage, file: str) -> Mapping[str, object]:
    """The members COLUMNS of an image. `file` is its name in the archive."""
    return {
        "file": file,
        "batch_index": image["batch_index"],
        "prompt_index": image["prompt_index"],
        "image_index": image["image_index"],
        "custom_id": image["custom_id"],
        "prompt": image["prompt_text"],
        "metadata": image["prompt_metadata"],
        "model": image["model"],
        "seed": image["seed"],
        "mime_type": image["mime_type"],
        "width": image["width"],
        "height": image["height"],
        "size_bytes": image["size_bytes"],
        "cost_microusd": image["cost_microusd"],
        "sha256": image["image_sha256"],
    }


def as_csv(rows: Sequence[Mapping[str, object]]) -> bytes:
    """RFC 4180. The byte order mark tells Excel that the text is UTF-8."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([_cell(row[name]) for name in COLUMNS] for row in rows)
    return text.getvalue().encode("utf-8-sig")


def _cell(value: object) -> object:
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return value


def as_jsonl(rows: Sequence[Mapping[str, object]]) -> bytes:
    """One JSON object on each line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
