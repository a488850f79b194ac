"""S3 objects are on disk before the answer, and survive the process."""

import io
import os
import signal
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.local.conftest import Aws

pytestmark = pytest.mark.timeout(60)


def kill_and_revive(aws: Aws) -> None:
    """Kill the process, and start it again as the supervisor does."""
    process = aws.service._process
    assert process is not None
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    aws.service.revive()
    aws.service.wait_until_ready()


def test_objects_and_their_metadata_survive_sigkill(aws: Aws, s3: Any, prefix: str) -> None:
    metadata = {"sha256": "abc", "usage": '{"tokens": 1}'}
    put = s3.put_object(
        Bucket="private",
        Key=f"{prefix}ä b.png",
        Body=b"\x89PNG" * 1000,
        ContentType="image/png",
        Metadata=metadata,
    )
    before = s3.head_object(Bucket="private", Key=f"{prefix}ä b.png")
    s3.put_object(Bucket="private", Key=f"{prefix}gone", Body=b"1")
    s3.delete_object(Bucket="private", Key=f"{prefix}gone")
    s3.put_object(Bucket="private", Key=f"{prefix}twice", Body=b"old")
    s3.put_object(Bucket="private", Key=f"{prefix}twice", Body=b"new")
    kill_and_revive(aws)
    after = s3.get_object(Bucket="private", Key=f"{prefix}ä b.png")
    assert after["Body"].read() == b"\x89PNG" * 1000
    assert after["ContentType"] == "image/png"
    assert after["Metadata"] == metadata
    assert after["ETag"] == put["ETag"] == before["ETag"]
    assert after["LastModified"] == before["LastModified"]
    assert s3.get_object(Bucket="private", Key=f"{prefix}twice")["Body"].read() == b"new"
    listing = s3.list_objects_v2(Bucket="private", Prefix=prefix)["Contents"]
    assert [item["Key"] for item in listing] == [f"{prefix}twice", f"{prefix}ä b.png"]
    secret = aws.client("secretsmanager").get_secret_value(SecretId="some/secret")
    assert secret["SecretString"] == "its value"


def test_copies_multi_deletes_and_multipart_uploads_survive_sigkill(
    aws: Aws, s3: Any, prefix: str
) -> None:
    s3.put_object(Bucket="private", Key=f"{prefix}a", Body=b"a", Metadata={"m": "1"})
    s3.put_object(Bucket="private", Key=f"{prefix}b", Body=b"b")
    s3.copy_object(
        Bucket="private", Key=f"{prefix}c", CopySource={"Bucket": "private", "Key": f"{prefix}a"}
    )
    s3.delete_objects(Bucket="private", Delete={"Objects": [{"Key": f"{prefix}b"}]})
    s3.upload_fileobj(io.BytesIO(b"x" * 9_000_000), "private", f"{prefix}large")
    kill_and_revive(aws)
    copy = s3.get_object(Bucket="private", Key=f"{prefix}c")
    assert (copy["Body"].read(), copy["Metadata"]) == (b"a", {"m": "1"})
    assert s3.list_objects_v2(Bucket="private", Prefix=prefix)["KeyCount"] == 3
    assert s3.head_object(Bucket="private", Key=f"{prefix}large")["ContentLength"] == 9_000_000


def test_replaced_and_deleted_objects_leave_no_file(aws: Aws, s3: Any, prefix: str) -> None:
    directory = Path(aws.configuration["directory"]) / "private"
    before = len(list(directory.iterdir()))
    for body in (b"1", b"2", b"3"):
        s3.put_object(Bucket="private", Key=f"{prefix}k", Body=body)
    assert len(list(directory.iterdir())) == before + 2
    s3.delete_object(Bucket="private", Key=f"{prefix}k")
    assert len(list(directory.iterdir())) == before


def test_objects_are_not_held_in_memory(aws: Aws, s3: Any, prefix: str) -> None:
    def resident_megabytes() -> float:
        assert aws.service._process is not None
        pages = int(Path(f"/proc/{aws.service._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    s3.put_object(Bucket="private", Key=f"{prefix}first", Body=b"x" * 2_000_000)
    before = resident_megabytes()
    for number in range(120):
        s3.put_object(Bucket="private", Key=f"{prefix}{number}", Body=os.urandom(2_000_000))
    # 240 MB were written. The allocator keeps a part of that, which does not grow.
    assert resident_megabytes() - before < 120


def cpu_seconds(aws: Aws) -> float:
    """CPU time of the process since it began."""
    assert aws.service._process is not None
    ticks = Path(f"/proc/{aws.service._process.pid}/stat").read_text().rpartition(")")[2].split()
    # utime and stime: proc(5). The fields after the name begin with the third.
    return (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")


def test_a_start_with_a_thousand_objects_takes_little_more(aws: Aws, s3: Any, prefix: str) -> None:
    """Two starts are compared by their CPU time, because other work also delays them."""
    kill_and_revive(aws)
    few = cpu_seconds(aws)
    directory = Path(aws.configuration["directory"]) / "public"
    s3.put_object(Bucket="public", Key=f"{prefix}0", Body=b"x")
    record = next(directory.glob("*.json")).read_text()
    for number in range(1, 1000):
        name = f"{prefix}{number}"
        (directory / f"{number:064}.json").write_text(record.replace(f"{prefix}0", name))
    kill_and_revive(aws)
    assert cpu_seconds(aws) < 1.5 * few
    keys = [
        item["Key"]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket="public", Prefix=prefix)
        for item in page["Contents"]
    ]
    assert len(keys) == 1000


def test_a_presigned_url_needs_no_header(s3: Any, prefix: str) -> None:
    s3.put_object(Bucket="private", Key=f"{prefix}k", Body=b"image", ContentType="image/png")
    url = s3.generate_presigned_url(
        "get_object", Params={"Bucket": "private", "Key": f"{prefix}k"}, ExpiresIn=60
    )
    with urllib.request.urlopen(url, timeout=10) as response:
        assert response.read() == b"image"
        assert response.headers["Content-Type"] == "image/png"


def test_only_a_public_bucket_answers_unsigned_requests(aws: Aws, s3: Any, prefix: str) -> None:
    for bucket in ("private", "public"):
        s3.put_object(Bucket=bucket, Key=f"{prefix}k", Body=b"image")
    with urllib.request.urlopen(f"{aws.service.url}/public/{prefix}k", timeout=10) as response:
        assert response.read() == b"image"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{aws.service.url}/private/{prefix}k", timeout=10)
    assert refused.value.code == 403
    refused.value.close()


def test_a_form_upload_from_a_browser_is_stored(aws: Aws, s3: Any, prefix: str) -> None:
    post = s3.generate_presigned_post(
        "private", f"{prefix}up.png", Fields={"Content-Type": "image/png"}, ExpiresIn=60
    )
    boundary = "boundary"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in post["fields"].items()
    ]
    file = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    body = b"".join([*parts, file.encode(), b"\x89PNG\xff", f"\r\n--{boundary}--\r\n".encode()])
    request = urllib.request.Request(
        post["url"], body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.status in (200, 204)
    stored = s3.get_object(Bucket="private", Key=f"{prefix}up.png")
    assert stored["Body"].read() == b"\x89PNG\xff"
