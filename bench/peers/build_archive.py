"""Builds a part of an archive without a database: `build_archive.py BUCKET NUMBER`."""

import sys
from datetime import UTC, datetime

from masstock.database.queries.archives import ArchivedImage
from masstock.services.archive_storage import Archives
from masstock.services.storage import Results
from masstock_finalize.archiving import store_images

if __name__ == "__main__":
    _, bucket, number = sys.argv
    images: list[ArchivedImage] = [
        {
            "batch_index": index,
            "prompt_index": index,
            "image_index": 0,
            "prompt_text": "a fox",
            "custom_id": None,
            "prompt_metadata": None,
            "seed": None,
            "model": None,
            "mime_type": "image/png",
            "width": None,
            "height": None,
            "size_bytes": 1_500_000,
            "cost_microusd": None,
            "image_sha256": None,
            "result_storage_path": f"{index}.png",
            "completed_at": datetime(2026, 1, 1, tzinfo=UTC),
        }
        for index in range(int(number))
    ]
    stems = {index: f"{index:04}" for index in range(int(number))}
    store_images(Archives(bucket), "archive.zip", images, stems, Results(bucket))
