"""Keeps the objects of moto's S3 on disk, so that they survive the process.

    <directory>/<bucket>/<sha256 of the key>.json   name, metadata, etag, time: the commit point
    <directory>/<bucket>/<uuid>.body                the bytes

Both files are written before the request is answered. A process that dies leaves either the old
object or the new one. There is no fsync: objects survive SIGKILL, but not a power cut.
`local.aws.stored_bodies` reads the bytes.
"""

import hashlib
import json
import os
import threading
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from moto.s3.exceptions import EntityTooSmall, InvalidPart, MalformedXML, NoSuchUpload
from moto.s3.models import FakeKey, FakeMultipart, S3Backend, get_canned_acl, s3_backends
from moto.settings import S3_UPLOAD_PART_MIN_SIZE

from local.aws.resources import ACCOUNT, REGION
from local.aws.stored_bodies import Content, StoredBody

PARTITION = "aws"


class ObjectStore:
    """The directory behind moto's S3. A process has one ObjectStore, because moto has one S3 for
    each process."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock = threading.Lock()
        self._touched = threading.local()
        self._backend: S3Backend = s3_backends[ACCOUNT][PARTITION]

    # -------------------------------------------------- called by the patched moto

    def write_body(self, bucket: str, pieces: Iterable[bytes]) -> StoredBody:
        """Write bytes one after the other to a new file. No record refers to it yet."""
        path = self.directory / bucket / f"{uuid.uuid4()}.body"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as whole:
            size = sum(whole.write(piece) for piece in pieces)
        return StoredBody(path, size)

    def touch(self, bucket: str, key: str) -> None:
        """Mark an object: the current request commits it before it answers."""
        self._touched.__dict__.setdefault("keys", set()).add((bucket, key))

    def commit(self) -> None:
        """Write moto's state of every object that this thread touched to disk."""
        touched = self._touched.__dict__.pop("keys", ())
        for bucket, name in touched:
            # Under one lock: if two threads write an object, disk and memory keep the same version.
            with self._lock:
                key = self._backend.buckets[bucket].keys.get(name)
                if key is None:
                    self._remove(bucket, name)
                else:
                    self._record(bucket, key)

    def committing(self, application: Callable) -> Callable:
        """Wrap a WSGI application so that its changes are on disk before it answers."""

        def wrapped(environ: dict[str, Any], start_response: Callable) -> Any:
            answer = application(environ, start_response)
            self.commit()
            return answer

        return wrapped

    # -------------------------------------------------- files

    def _record_path(self, bucket: str, name: str) -> Path:
        return self.directory / bucket / f"{hashlib.sha256(name.encode()).hexdigest()}.json"

    def _record(self, bucket: str, key: Any) -> None:
        path = self._record_path(bucket, key.name)
        before = self._body_of(path)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(
            json.dumps(
                {
                    "name": key.name,
                    "body": key.stored.path.name,
                    "size": key.stored.size,
                    "etag": key._etag,
                    "modified": key.last_modified.isoformat(),
                    "metadata": dict(key.metadata),
                    "storage": key.storage_class,
                    "encryption": key.encryption,
                    "checksum_value": key.checksum_value,
                    "checksum_algorithm": key.checksum_algorithm,
                }
            )
        )
        os.replace(temporary, path)
        if before is not None and before != key.stored.path:
            before.unlink(missing_ok=True)

    def _remove(self, bucket: str, name: str) -> None:
        path = self._record_path(bucket, name)
        body = self._body_of(path)
        path.unlink(missing_ok=True)
        if body is not None:
            body.unlink(missing_ok=True)

    @staticmethod
    def _body_of(record: Path) -> Path | None:
        try:
            return record.parent / json.loads(record.read_text())["body"]
        except FileNotFoundError:
            return None

    # -------------------------------------------------- start

    def load(self, buckets: list[str]) -> None:
        """Create `buckets` with the objects on disk; delete files that no record refers to."""
        for name in buckets:
            directory = self.directory / name
            directory.mkdir(parents=True, exist_ok=True)
            bucket = self._backend.create_bucket(name, REGION)
            bodies = set()
            for path in directory.glob("*.json"):
                record = json.loads(path.read_text())
                bodies.add(record["body"])
                bucket.keys[record["name"]] = self._restore(name, directory, record)
            for path in directory.iterdir():
                if path.suffix != ".json" and path.name not in bodies:
                    path.unlink()
        self._touched.__dict__.clear()

    @staticmethod
    def _restore(bucket: str, directory: Path, record: dict[str, Any]) -> Any:
        key: Any = FakeKey(
            name=record["name"],
            value=StoredBody(directory / record["body"], record["size"]),  # pyright: ignore
            account_id=ACCOUNT,
            region_name=REGION,
            storage=record["storage"],
            etag=record["etag"],
            version_id="null",
            bucket_name=bucket,
            encryption=record["encryption"],
            checksum_value=record["checksum_value"],
        )
        key.checksum_algorithm = record["checksum_algorithm"]
        key.last_modified = datetime.fromisoformat(record["modified"])
        key.set_metadata(record["metadata"], replace=True)
        return key


def keep_objects_in(store: ObjectStore) -> None:
    """Patch moto: bytes of objects go to `store`, and every change touches the object."""
    in_memory: Any = FakeKey.value
    set_metadata = FakeKey.set_metadata
    delete_object = S3Backend.delete_object

    def read_value(self: Any) -> bytes | Content:
        if "stored" in self.__dict__:
            return self.stored.value()
        return in_memory.fget(self)

    def write_value(self: Any, value: bytes | Content | StoredBody) -> None:
        if self.bucket_name is None:
            # A part of a multipart upload is not an object yet.
            in_memory.fset(self, value)
            return
        if isinstance(value, StoredBody):
            self.stored = value
        else:
            pieces = value if isinstance(value, Content) else [value]
            self.stored = store.write_body(self.bucket_name, pieces)
            self._etag = self._etag or hashlib.md5(value, usedforsecurity=False).hexdigest()
        self.contentsize = self.stored.size
        store.touch(self.bucket_name, self.name)

    def set_and_touch(self: Any, metadata: Any, replace: bool = False) -> None:
        set_metadata(self, metadata, replace)
        store.touch(self.bucket_name, self.name)

    def delete_and_touch(self: Any, bucket_name: str, key_name: str, *args: Any, **kw: Any) -> Any:
        outcome = delete_object(self, bucket_name, key_name, *args, **kw)
        store.touch(bucket_name, key_name)
        return outcome

    FakeKey.value = property(read_value, write_value)  # pyright: ignore
    FakeKey.set_metadata = set_and_touch
    S3Backend.delete_object = delete_and_touch


def join_uploads_in(store: ObjectStore) -> None:
    """Patch moto: the parts of a multipart upload become an object without being in memory."""
    complete_upload: Any = S3Backend.complete_multipart_upload

    def complete_here(self: S3Backend, bucket_name: str, multipart_id: str, body: Any) -> Any:
        upload: Any = self.get_bucket(bucket_name).multiparts[multipart_id]
        # `complete` does not know the bucket.
        upload.bucket_name = bucket_name
        # moto lets everybody read an object without an ACL.
        upload.acl = upload.acl or get_canned_acl("private")
        return complete_upload(self, bucket_name, multipart_id, body)

    def complete(self: Any, body: Iterable[tuple[int, str]]) -> tuple[StoredBody, str, None]:
        """As moto's, but a whole upload is never in memory."""
        named = list(body)
        if not named:
            raise MalformedXML
        parts = [self.parts.get(number) for number, _ in named]
        for part, (_, part_etag) in zip(parts, named, strict=True):
            if part is None or part.etag.strip('"') != part_etag.strip('"'):
                raise InvalidPart
        if any(part.contentsize < S3_UPLOAD_PART_MIN_SIZE for part in parts[:-1]):
            raise EntityTooSmall
        digests = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
        etag = hashlib.md5(digests, usedforsecurity=False).hexdigest()
        stored = store.write_body(self.bucket_name, (part.value for part in parts))
        self.dispose()
        return stored, f"{etag}-{len(parts)}", None

    FakeMultipart.complete = complete
    S3Backend.complete_multipart_upload = complete_here


def know_uploads() -> None:
    """Patch moto: a part of an unknown or ended upload is refused, as S3 does."""
    upload_part: Any = S3Backend.upload_part

    def upload_known_part(self: S3Backend, bucket_name: str, multipart_id: str, *rest: Any) -> Any:
        if multipart_id not in self.get_bucket(bucket_name).multiparts:
            raise NoSuchUpload(multipart_id)
        return upload_part(self, bucket_name, multipart_id, *rest)

    S3Backend.upload_part = upload_known_part
