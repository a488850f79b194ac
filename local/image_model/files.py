"""The files of Gemini's Files API, on disk. They belong to the key that made them."""

import base64
import hashlib
import json
import secrets
import string
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from local.image_model.errors import GoogleError, Json, invalid_argument

LIFETIME = timedelta(hours=48)
PIECE_BYTES = 1024 * 1024
PAGE_SIZE = 10
LETTERS = string.ascii_lowercase + string.digits


@dataclass(slots=True)
class File:
    """A file of one key. `path` holds its content."""

    name: str
    key_sha256: str
    path: Path
    mime_type: str
    display_name: str
    source: str
    created: datetime
    is_complete: bool = False

    def described(self, base_url: str) -> Json:
        """The resource as the API shows it."""
        with self.path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        return {
            "name": self.name,
            "displayName": self.display_name,
            "mimeType": self.mime_type,
            "sizeBytes": str(self.path.stat().st_size),
            "createTime": timestamp(self.created),
            "updateTime": timestamp(self.created),
            "expirationTime": timestamp(self.created + LIFETIME),
            # Google encodes the hexadecimal digits.
            "sha256Hash": base64.b64encode(digest.encode()).decode(),
            "uri": f"{base_url}/v1beta/{self.name}",
            "state": "ACTIVE",
            "source": self.source,
        }


class Files:
    """Every file since the start. Safe for concurrent threads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._files: dict[str, File] = {}

    def start(self, key_sha256: str, mime_type: str, display_name: str) -> File:
        """A file whose upload begins."""
        return self._add(f"files/{token(12)}", key_sha256, mime_type, display_name, "UPLOADED")

    def append(self, file: File, content: Iterable[bytes], offset: int) -> None:
        """Add the bytes of one upload request; GoogleError 400 at another offset."""
        if file.is_complete or file.path.stat().st_size != offset:
            raise invalid_argument("The upload offset is not the number of received bytes.")
        with file.path.open("ab") as target:
            for piece in content:
                target.write(piece)

    def generated(self, key_sha256: str) -> tuple[File, BinaryIO]:
        """A file for the results of a job. Its name is longer than the SDK's get accepts."""
        name = f"files/batch-{token(36)}"
        file = self._add(name, key_sha256, "application/jsonl", "", "GENERATED")
        file.is_complete = True
        return file, file.path.open("wb")

    def find(self, name: str, key_sha256: str) -> File:
        """A complete file; GoogleError 403 for another key or an unknown name."""
        with self._lock:
            file = self._files.get(name)
        if file is None or file.key_sha256 != key_sha256 or not file.is_complete:
            raise GoogleError(
                403,
                "PERMISSION_DENIED",
                f"You do not have permission to access the File {name.removeprefix('files/')} or it"
                " may not exist.",
            )
        return file

    def page(self, key_sha256: str, page_size: str, page_token: str, base_url: str) -> Json:
        """The complete files of a key, newest first."""
        with self._lock:
            every = list(self._files.values())[::-1]
        files = [file for file in every if file.key_sha256 == key_sha256 and file.is_complete]
        size = min(int(page_size), 100) if page_size.isdecimal() and int(page_size) else PAGE_SIZE
        # The token is the start of the page.
        start = int(page_token) if page_token.isdecimal() else 0
        page: Json = {"files": [file.described(base_url) for file in files[start : start + size]]}
        if start + size < len(files):
            page["nextPageToken"] = str(start + size)
        return page

    def delete(self, name: str, key_sha256: str) -> None:
        """Delete a file; GoogleError 403 as for `find`."""
        file = self.find(name, key_sha256)
        with self._lock:
            self._files.pop(name, None)
        file.path.unlink(missing_ok=True)

    def _add(
        self, name: str, key_sha256: str, mime_type: str, display_name: str, source: str
    ) -> File:
        path = self._directory / name.removeprefix("files/")
        path.touch()
        file = File(name, key_sha256, path, mime_type, display_name, source, datetime.now(UTC))
        with self._lock:
            self._files[name] = file
        return file


def token(length: int) -> str:
    """A random name as Google makes them."""
    return "".join(secrets.choice(LETTERS) for _ in range(length))


def timestamp(time: datetime) -> str:
    """A time as protobuf's JSON writes it."""
    return time.isoformat().replace("+00:00", "Z")


def display_name_of(body: bytes) -> str:
    """The name in the body that starts an upload; GoogleError 400 for a body that is not JSON."""
    try:
        parsed = json.loads(body or b"{}")
    except ValueError as error:
        raise invalid_argument(f"Invalid JSON payload received. {error}") from None
    file = parsed.get("file") if isinstance(parsed, dict) else None
    name = (file or {}).get("displayName", (file or {}).get("display_name", ""))
    return name if isinstance(name, str) else ""
