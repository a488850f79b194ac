"""Large objects of the local S3: ranges, copies and uploads in parts, without holding them."""

import hashlib
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import Aws

pytestmark = pytest.mark.timeout(120)
MEGABYTE = 1024 * 1024
PART = 8 * MEGABYTE


@contextmanager
def growth(aws: Aws) -> Iterator[list[float]]:
    """Yield a list that gets the megabytes by which the process grew at most."""
    assert aws.service._process is not None
    statm = Path(f"/proc/{aws.service._process.pid}/statm")

    def private() -> float:
        # Without mapped files.
        _, resident, shared, *_ = map(int, statm.read_text().split())
        return (resident - shared) * os.sysconf("SC_PAGE_SIZE") / MEGABYTE

    before, peak, done = private(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], private() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def upload(s3: Any, key: str, parts: list[bytes]) -> None:
    of = {"Bucket": "private", "Key": key}
    of["UploadId"] = s3.create_multipart_upload(**of)["UploadId"]
    etags = [
        s3.upload_part(**of, PartNumber=number, Body=part)["ETag"]
        for number, part in enumerate(parts, 1)
    ]
    named = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
    s3.complete_multipart_upload(**of, MultipartUpload={"Parts": named})


def refusal(call: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as refused:
        call()
    answer: Any = refused.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


@pytest.mark.slow
def test_a_large_object_is_never_in_memory(aws: Aws, s3: Any, prefix: str) -> None:
    size, parts = 300 * MEGABYTE, [os.urandom(PART)] * 37 + [b"e" * 4 * MEGABYTE]
    # The first request of each kind imports modules.
    upload(s3, f"{prefix}small", [b"small"])
    with growth(aws) as peak:
        upload(s3, f"{prefix}large", parts)
        source = {"Bucket": "private", "Key": f"{prefix}large"}
        s3.copy_object(Bucket="private", Key=f"{prefix}copy", CopySource=source)
        for number in range(20):
            first = number * PART
            ranged = s3.get_object(**source, Range=f"bytes={first}-{first + 999_999}")
            assert ranged["ContentLength"] == 1_000_000
            assert ranged["Body"].read() == parts[0][:1_000_000]
        digest, read = hashlib.sha256(), 0
        for piece in s3.get_object(Bucket="private", Key=f"{prefix}copy")["Body"].iter_chunks(PART):
            digest.update(piece)
            read += len(piece)
    assert (read, digest.digest()) == (size, hashlib.sha256(b"".join(parts)).digest())
    assert peak[0] < 100
    for name in ("large", "copy"):
        s3.delete_object(Bucket="private", Key=f"{prefix}{name}")


@pytest.mark.parametrize("size", [10, 3 * MEGABYTE], ids=["small", "large"])
def test_ranges_are_answered_as_s3_does(aws: Aws, s3: Any, prefix: str, size: int) -> None:
    key, body = f"{prefix}k", os.urandom(size)
    s3.put_object(Bucket="public", Key=key, Body=body)

    def get(asked: str) -> tuple[int, bytes, str | None]:
        request = urllib.request.Request(f"{aws.service.url}/public/{key}")
        request.add_header("Range", asked)
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert int(answer.headers["Content-Length"]) == size or answer.status == 206
            return answer.status, answer.read(), answer.headers["Content-Range"]

    assert get("bytes=2-5") == (206, body[2:6], f"bytes 2-5/{size}")
    assert get("bytes=4-") == (206, body[4:], f"bytes 4-{size - 1}/{size}")
    assert get("bytes=-3") == (206, body[-3:], f"bytes {size - 3}-{size - 1}/{size}")
    assert get(f"bytes=5-{size * 2}") == (206, body[5:], f"bytes 5-{size - 1}/{size}")
    # S3 ignores a range that is malformed, or names several ranges.
    assert get("bytes=5-2") == (200, body, None)
    assert get("bytes=0-1,3-4") == (200, body, None)
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(f"bytes={size}-")
    assert refused.value.code == 416
    assert b"<Code>InvalidRange</Code>" in refused.value.read()
    refused.value.close()
    head = s3.head_object(Bucket="public", Key=key, Range="bytes=2-5")
    assert (head["ContentLength"], head["ContentRange"]) == (4, f"bytes 2-5/{size}")
    s3.delete_object(Bucket="public", Key=key)


def test_an_object_that_is_replaced_is_read_to_its_end(s3: Any, prefix: str) -> None:
    of = {"Bucket": "private", "Key": f"{prefix}k"}
    body = os.urandom(40 * MEGABYTE)
    s3.put_object(**of, Body=body)
    answer = s3.get_object(**of)
    s3.put_object(**of, Body=b"new")
    assert answer["Body"].read() == body
    assert s3.get_object(**of)["Body"].read() == b"new"


def test_downloads_leave_no_open_file(aws: Aws, s3: Any, prefix: str) -> None:
    assert aws.service._process is not None
    descriptors = Path(f"/proc/{aws.service._process.pid}/fd")

    def objects_open() -> int:
        links = (os.readlink(each) for each in descriptors.iterdir() if each.is_symlink())
        return sum(".body" in link for link in links)

    of = {"Bucket": "private", "Key": f"{prefix}k"}
    s3.put_object(**of, Body=os.urandom(20 * MEGABYTE))
    for _ in range(10):
        s3.get_object(**of, Range="bytes=0-9")["Body"].read()
        s3.get_object(**of)["Body"].close()
    deadline = time.monotonic() + 10
    while objects_open():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_aborted_upload_leaves_nothing(s3: Any, prefix: str) -> None:
    of = {"Bucket": "private", "Key": f"{prefix}k"}
    upload_id = s3.create_multipart_upload(**of)["UploadId"]
    s3.upload_part(**of, UploadId=upload_id, PartNumber=1, Body=b"x" * PART)
    s3.abort_multipart_upload(**of, UploadId=upload_id)
    late = {**of, "UploadId": upload_id, "PartNumber": 2, "Body": b"x"}
    assert refusal(lambda: s3.upload_part(**late)) == (404, "NoSuchUpload")
    assert refusal(lambda: s3.head_object(**of)) == (404, "404")


def test_a_part_can_be_a_range_of_another_object(s3: Any, prefix: str) -> None:
    of = {"Bucket": "private", "Key": f"{prefix}k"}
    body = os.urandom(PART)
    s3.put_object(Bucket="private", Key=f"{prefix}source", Body=body)
    of["UploadId"] = s3.create_multipart_upload(**of)["UploadId"]
    part = s3.upload_part_copy(
        **of,
        PartNumber=1,
        CopySource={"Bucket": "private", "Key": f"{prefix}source"},
        CopySourceRange=f"bytes=100-{6 * MEGABYTE}",
    )["CopyPartResult"]
    parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
    s3.complete_multipart_upload(**of, MultipartUpload={"Parts": parts})
    stored = s3.get_object(Bucket="private", Key=f"{prefix}k")["Body"].read()
    assert stored == body[100 : 6 * MEGABYTE + 1]


@pytest.mark.parametrize("size", [10, 3 * MEGABYTE], ids=["small", "large"])
def test_a_copy_can_replace_metadata_and_get_a_checksum(s3: Any, prefix: str, size: int) -> None:
    body = os.urandom(size)
    s3.put_object(
        Bucket="private",
        Key=f"{prefix}a",
        Body=body,
        ContentType="image/png",
        Metadata={"old": "1"},
    )
    copied = s3.copy_object(
        Bucket="private",
        Key=f"{prefix}b",
        CopySource={"Bucket": "private", "Key": f"{prefix}a"},
        MetadataDirective="REPLACE",
        ContentType="image/webp",
        CacheControl="private",
        Metadata={"new": "2"},
        ChecksumAlgorithm="SHA256",
    )["CopyObjectResult"]
    stored = s3.get_object(Bucket="private", Key=f"{prefix}b", ChecksumMode="ENABLED")
    assert stored["Body"].read() == body
    assert (stored["ContentType"], stored["CacheControl"]) == ("image/webp", "private")
    assert stored["Metadata"] == {"new": "2"}
    assert stored["ChecksumSHA256"] == copied["ChecksumSHA256"]


def test_copies_and_puts_can_have_conditions(s3: Any, prefix: str) -> None:
    source = {"Bucket": "private", "Key": f"{prefix}a"}
    etag = s3.put_object(**source, Body=b"a")["ETag"]
    to = {"Bucket": "private", "Key": f"{prefix}b", "CopySource": source}
    failed = (412, "PreconditionFailed")
    assert refusal(lambda: s3.copy_object(**to, CopySourceIfNoneMatch=etag)) == failed
    s3.copy_object(**to, CopySourceIfMatch=etag)
    assert refusal(lambda: s3.put_object(**source, Body=b"b", IfNoneMatch="*")) == failed
    assert refusal(lambda: s3.put_object(**source, Body=b"b", IfMatch='"0"')) == failed
    assert s3.get_object(**source)["Body"].read() == b"a"
    s3.put_object(**source, Body=b"b", IfMatch=etag)


def test_a_presigned_url_sets_headers_of_the_answer(s3: Any, prefix: str) -> None:
    of = {"Bucket": "private", "Key": f"{prefix}k"}
    s3.put_object(**of, Body=b"k", ContentType="image/png", CacheControl="no-store")
    overrides = {
        "ResponseContentDisposition": 'attachment; filename="a b.png"',
        "ResponseCacheControl": "private, max-age=60",
    }
    url = s3.generate_presigned_url("get_object", Params={**of, **overrides}, ExpiresIn=60)
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.headers["Content-Disposition"] == overrides["ResponseContentDisposition"]
        assert answer.headers.get_all("Cache-Control") == [overrides["ResponseCacheControl"]]
        assert answer.headers["Content-Type"] == "image/png"


def test_lists_have_pages(s3: Any, prefix: str) -> None:
    for name in ("a", "b/1", "b/2", "c", "d", "e"):
        s3.put_object(Bucket="private", Key=prefix + name, Body=b"")
    of = {"Bucket": "private", "Prefix": prefix, "Delimiter": "/", "MaxKeys": 2}
    found: list[list[str]] = []
    token: dict[str, str] = {}
    while True:
        page = s3.list_objects_v2(**of, **token)
        keys = [each["Key"] for each in page.get("Contents", [])]
        shared = [each["Prefix"] for each in page.get("CommonPrefixes", [])]
        found.append([key.removeprefix(prefix) for key in keys + shared])
        if not page["IsTruncated"]:
            break
        token = {"ContinuationToken": page["NextContinuationToken"]}
    assert [len(page) for page in found] == [2, 2, 1]
    assert sorted(chain(*found)) == ["a", "b/", "c", "d", "e"]
