"""Builds a part of an archive from its rows: `build_part.py DATABASE_URL ARCHIVE_ID PART`."""

import sys
from unittest import mock
from uuid import UUID

from masstock.database.connection import Database
from masstock.database.worker import Worker
from masstock.settings import ArchiveSettings
from masstock_finalize.archiving import build_part

if __name__ == "__main__":
    _, url, archive_id, part = sys.argv
    settings = ArchiveSettings(
        {"DATABASE_SECRET_ID": url, "RESULTS_BUCKET": "results", "UPLOADS_BUCKET": "uploads"}
    )
    # A function reads its database URL from a secret. Here the secret's name is the URL.
    with mock.patch("masstock.database.connection.read_secret", str):
        built = build_part(Worker(Database(url)), settings, UUID(archive_id), int(part))
    sys.exit(not built)
