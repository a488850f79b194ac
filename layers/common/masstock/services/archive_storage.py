"""The ZIP files of images in the bucket of uploads."""

from uuid import UUID

from masstock.services import signed_urls
from masstock.services.multipart import MultipartUpload, abort_upload
from masstock.services.s3_client import remove_all, s3, storage_errors

# The lifecycle rule of the bucket names the tag (template.yaml).
ARCHIVE_TAG = "kind=archive"


class Archives:
    """The ZIP files of images, in the bucket of uploads, which is always private. S3 removes them
    after seven days, by their tag."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket

    @staticmethod
    def prefix(client_id: UUID, execution_id: UUID, archive_id: UUID, part: int) -> str:
        """What the keys of all attempts to build a part begin with."""
        return f"{client_id}/archives/{execution_id}/{archive_id}/{part}-"

    def new_upload(self, key: str) -> "ArchiveUpload":
        """Begins an upload in chunks."""
        return ArchiveUpload(self._bucket, key)

    def abort_uploads(self, prefix: str) -> None:
        """Ends the uploads in progress under a prefix. Nothing of them is kept."""
        with storage_errors():
            pages = s3().get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
                for found in page.get("Uploads", []):
                    abort_upload(self._bucket, found.get("Key", ""), found.get("UploadId", ""))

    def size_of(self, key: str) -> int:
        """The size of a stored archive."""
        with storage_errors():
            return s3().head_object(Bucket=self._bucket, Key=key)["ContentLength"]

    def remove_all(self, client_id: UUID, execution_id: UUID) -> int:
        """Deletes the archives of an execution and returns their number. Raises as
        `Results.remove_all`."""
        return remove_all(self._bucket, f"{client_id}/archives/{execution_id}/")

    def signed_url(self, key: str, file_name: str) -> str:
        """A URL that needs no token, for at least 15 minutes; see `signed_urls`. A browser saves
        the file as `file_name`."""
        return signed_urls.signed_url(self._bucket, key, file_name, shown=False)


class ArchiveUpload(MultipartUpload):
    """The upload of an archive."""

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(bucket, key, "application/zip", ARCHIVE_TAG)
