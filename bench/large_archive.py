"""An archive of 10,000 images of 1.5 MB, part by part: `python -m bench.large_archive [IMAGES]`.

Each part is built by a new process, as the function builds it, from rows in Postgres. The store
answers for all keys with the same few images. It keeps one ZIP file at a time, which the script
checks. So the run needs 2 GB on the disk, not 30.
"""

import hashlib
import os
import re
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import psycopg

from bench.environment import SCRATCH
from bench.processes import measured
from local import database
from local.keys import USERS, Keys
from local.processes.postgres import PostgresServer
from masstock.database.connection import Database
from masstock.database.queries import archives
from masstock.database.tenants import tenant_transaction
from masstock.services.tokens import Principal

IMAGE_BYTES, DIFFERENT = 1_500_000, 7
MEMORY_LIMIT_MB = 200
BUILD = Path(__file__).parent / "peers/build_part.py"
ROWS = """
    INSERT INTO public.workflow_batch_results (execution_id, client_id, batch_index, prompt_text,
        custom_id, status, result_storage_path, mime_type, size_bytes, image_sha256, completed_at)
    SELECT e.id, e.client_id, i, 'a fox reading newspaper number ' || i,
        CASE WHEN i %% 2 = 0 THEN 'sku-' || i END, 'completed', e.id || '/' || i || '_0.png',
        'image/png', %s, (%s::text[])[1 + i %% %s], now()
    FROM public.workflow_executions e, generate_series(0, %s - 1) AS i WHERE e.id = %s
"""


class Store(ThreadingHTTPServer):
    """The calls of S3 that a builder makes."""

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), StoreHandler)
        self.images = [b"\x89PNG\r\n\x1a\n" + os.urandom(IMAGE_BYTES - 8) for _ in range(DIFFERENT)]
        self.file = directory / "part.zip"
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class StoreHandler(BaseHTTPRequestHandler):
    """Path-style requests, unsigned."""

    protocol_version = "HTTP/1.1"
    server: Store
    # S3 takes chunks in any order; all but the last have the size of the first.
    chunk_bytes = 8 * 1024 * 1024

    def do_GET(self) -> None:
        """An image, or the uploads in progress, of which there are none."""
        if "uploads" in parse_qs(urlsplit(self.path).query, keep_blank_values=True):
            self._answer(b"<ListMultipartUploadsResult></ListMultipartUploadsResult>")
            return
        found = re.search(r"/(\d+)_0\.png", self.path)
        assert found is not None
        self._answer(self.server.images[int(found[1]) % DIFFERENT])

    def do_HEAD(self) -> None:
        """The size of the ZIP file."""
        self.send_response(200)
        self.send_header("Content-Length", str(self.server.file.stat().st_size))
        self.end_headers()

    def do_POST(self) -> None:
        """Begins or completes an upload."""
        self._body()
        if "uploadId" in self.path:
            self._answer(b"<CompleteMultipartUploadResult></CompleteMultipartUploadResult>")
            return
        self.server.file.write_bytes(b"")
        self._answer(
            b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
        )

    def do_PUT(self) -> None:
        """A chunk of the ZIP file."""
        [number] = parse_qs(urlsplit(self.path).query)["partNumber"]
        chunk = self._body()
        with self.server.file.open("r+b") as file:
            file.seek((int(number) - 1) * self.chunk_bytes)
            file.write(chunk)
        self._answer(b"", ETag=f'"{hashlib.md5(chunk, usedforsecurity=False).hexdigest()}"')

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def _answer(self, body: bytes, **headers: str) -> None:
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def main(images: int) -> int:
    """Builds and checks the archive; returns the exit status: 1 if it took too much memory."""
    directory = SCRATCH / "large_archive"
    directory.mkdir(parents=True, exist_ok=True)
    server = PostgresServer(directory / "postgres", fsync=False)
    server.destroy()
    keys = Keys(directory / "keys")
    store = Store(directory)
    began = time.monotonic()
    try:
        urls = database.prepare(database.create_database(server.start()), keys)
        database.seed(urls.owner, embedded=True)
        execution_id, archive_id = _insert(urls.owner, store, images), uuid4()
        with mock.patch("masstock.database.connection.read_secret", str):
            api = Database(urls.api)
            principal = Principal(UUID(USERS["client_a"]), 0)
            key = keys.secret("identity-key")
            with tenant_transaction(api, principal, key) as tx:
                archives.create_archive(tx, archive_id, execution_id, None)
                parts = archives.fetch_archive(tx, execution_id)["parts"]
            names: set[str] = set()
            peaks = []
            for part in parts:
                peaks.append(_build(urls.worker, store, archive_id, part["part"]))
                names |= _checked(store)
                print(f"part {part['part']}: {peaks[-1]:.0f} MB at its peak", flush=True)
            with tenant_transaction(api, principal, key) as tx:
                archive = archives.fetch_archive(tx, execution_id)
    finally:
        server.destroy()
        store.shutdown()
        store.file.unlink(missing_ok=True)
    assert archive["state"] == "ready"
    assert len(names) == images
    seconds = time.monotonic() - began
    print(f"{images:,} images in {len(peaks)} parts, {max(peaks):.0f} MB, {seconds:.0f} s")
    return max(peaks) > MEMORY_LIMIT_MB


def _insert(url: str, store: Store, images: int) -> UUID:
    """An ended execution of the seed's client, with a row for each image."""
    digests = [hashlib.sha256(image).hexdigest() for image in store.images]
    with psycopg.connect(url) as connection:
        [execution_id] = connection.execute(
            """
            INSERT INTO public.workflow_executions (workflow_id, client_id, user_id, status,
                input_data)
            SELECT w.id, u.client_id, u.id, 'completed', '{}'
            FROM public.users u, public.workflows w WHERE u.id = %s LIMIT 1 RETURNING id
            """,
            [USERS["client_a"]],
        ).fetchone() or (None,)
        connection.execute(ROWS, [IMAGE_BYTES, digests, DIFFERENT, images, execution_id])
    assert execution_id is not None
    return execution_id


def _build(url: str, store: Store, archive_id: UUID, part: int) -> float:
    """The peak memory of the builder, in megabytes."""
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL_S3": store.url,
        "AWS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
    }
    command = [sys.executable, BUILD, url, str(archive_id), str(part)]
    return measured(command, environment)[1]


def _checked(store: Store) -> set[str]:
    """The names of the images in the ZIP file, after each was compared with what was stored."""
    digests = {hashlib.sha256(image).digest() for image in store.images}
    with zipfile.ZipFile(store.file) as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")]
        assert len(set(names)) == len(names) == len(archive.namelist()) - 2
        for name in names:
            # Reading compares the CRC too.
            assert hashlib.sha256(archive.read(name)).digest() in digests
    return set(names)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
