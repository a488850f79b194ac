"""masstock.services.storage: only images are stored, keys contain only ids, and the stored object
has all values of its row."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import boto3
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from local.aws.resources import REGION
from masstock.errors import InvalidImage, ReferenceGone, StorageUnavailable
from masstock.services import s3_client, storage
from masstock.services.storage import (
    ImageDetails,
    ObjectMissing,
    Results,
    StoredImage,
    Uploads,
    image_key,
    sniff_image,
    thumbnail_key,
)

CLIENT, OTHER = uuid4(), uuid4()
PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
WEBP = b"RIFF\x00\x00\x00\x00WEBP" + b"pixels"
JPEG = b"\xff\xd8\xff" + b"pixels"
DETAILS = ImageDetails("a-model é", 1376, 768, False, 2, True)


@pytest.fixture
def bucket(aws: None, aws_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", aws_url)
    client: Any = boto3.client("s3", endpoint_url=aws_url, region_name=REGION)
    name = f"bucket-{uuid4().hex}"
    client.create_bucket(Bucket=name)
    yield name
    client.delete_bucket_policy(Bucket=name)
    for found in client.list_objects_v2(Bucket=name).get("Contents", []):
        client.delete_object(Bucket=name, Key=found["Key"])


@pytest.mark.parametrize(
    ("content", "mime_type"), [(PNG, "image/png"), (JPEG, "image/jpeg"), (WEBP, "image/webp")]
)
def test_an_image_is_known_by_its_magic_bytes(content: bytes, mime_type: str) -> None:
    assert sniff_image(content) == mime_type
    assert sniff_image(content.ljust(storage.MAX_IMAGE_BYTES, b"\0")) == mime_type
    with pytest.raises(InvalidImage):
        sniff_image(content.ljust(storage.MAX_IMAGE_BYTES + 1, b"\0"))


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a", b"<svg/>", PNG[1:], b"RIFF\0\0\0\0WAVE", b"\x89PNG\n\x1a\n"]
)
def test_other_bytes_are_not_an_image(content: bytes) -> None:
    with pytest.raises(InvalidImage):
        sniff_image(content)


class CutShort(BaseHTTPRequestHandler):
    """Announces 40 bytes and sends the first line of them."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "40")
        self.end_headers()
        self.wfile.write(b'"a red fox"\n')

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_list_that_arrives_cut_short_is_not_accepted(
    aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = HTTPServer(("127.0.0.1", 0), CutShort)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
    s3_client.s3.cache_clear()  # pyright: ignore[reportPrivateUsage]
    try:
        with pytest.raises(StorageUnavailable):
            Uploads("bucket").read_prompts("key")
    finally:
        s3_client.s3.cache_clear()  # pyright: ignore[reportPrivateUsage]
        server.shutdown()
        server.server_close()


@given(st.uuids(), st.integers(0, 9_999), st.datetimes(timezones=st.just(UTC)))
def test_a_key_consists_of_ids_and_the_rows_second(
    execution_id: UUID, index: int, created_at: datetime
) -> None:
    second = int(created_at.timestamp())
    assert image_key(execution_id, index, created_at, "image/jpeg") == (
        f"{execution_id}/{index}_{second}.jpg"
    )


def store(bucket: str, key: str) -> StoredImage:
    return Results(bucket).put(
        key,
        PNG,
        "image/png",
        processing_time_ms=1,
        cost=None,
        attempt=1,
        asked="this",
        details=DETAILS,
    )


def find(bucket: str, execution_id: UUID, index: int, second: int = 0) -> StoredImage | None:
    asked_at = datetime.fromtimestamp(second, UTC)
    return Results(bucket).find(execution_id, index, asked_at, "this")


@pytest.mark.parametrize("text", ["", "x", "[]", "7", "{}", '{"model": "a"}', '{"a": 1}'])
def test_an_image_of_an_earlier_release_has_no_details(text: str) -> None:
    assert ImageDetails.from_metadata(text) is None
    assert ImageDetails.from_metadata(DETAILS.as_metadata()) == DETAILS
    assert DETAILS.as_metadata().isascii()


def test_a_stored_image_has_all_values_of_its_row(bucket: str) -> None:
    results, execution_id = Results(bucket), uuid4()
    key = image_key(execution_id, 1, datetime.fromtimestamp(9, UTC), "image/png")
    stored = results.put(
        key,
        PNG,
        "image/png",
        processing_time_ms=7,
        cost=38_700,
        attempt=2,
        asked="this",
        details=DETAILS,
    )
    assert stored.details == DETAILS
    assert find(bucket, execution_id, 1, 9) == stored
    # A prefix must not match another prompt, such as 1 and 10.
    assert find(bucket, execution_id, 0, 9) is None
    assert find(bucket, uuid4(), 1, 9) is None


def test_an_image_of_another_prompt_is_not_found(bucket: str, aws_url: str) -> None:
    results, execution_id = Results(bucket), uuid4()
    store(bucket, f"{execution_id}/1_0.png")
    assert results.find(execution_id, 1, datetime.fromtimestamp(0, UTC), "that") is None
    # A changed prompt has another key, so that a late image of the former one replaces nothing.
    assert find(bucket, execution_id, 1, 1) is None
    # An image of an earlier release does not say what was asked.
    client: Any = boto3.client("s3", endpoint_url=aws_url, region_name=REGION)
    found = client.head_object(Bucket=bucket, Key=f"{execution_id}/1_0.png")
    del found["Metadata"]["asked"]
    key = f"{execution_id}/2_0.png"
    client.put_object(Bucket=bucket, Key=key, Body=PNG, Metadata=found["Metadata"])
    assert find(bucket, execution_id, 2) is not None


def test_a_thumbnail_belongs_to_one_image_and_is_not_taken_for_one(bucket: str) -> None:
    results, execution_id = Results(bucket), uuid4()
    key = thumbnail_key(execution_id, 1)
    assert key == f"{execution_id}/thumbnails/1.webp"
    results.put_thumbnail(key, WEBP, "a" * 64)
    assert results.has_thumbnail(key, "a" * 64)
    # The prompt was painted again.
    assert not results.has_thumbnail(key, "b" * 64)
    # A changed prompt has another key, so that a late thumbnail of the former one replaces nothing.
    edited = thumbnail_key(execution_id, 1, datetime.fromtimestamp(7, UTC))
    assert edited == f"{execution_id}/thumbnails/1_7.webp"
    assert not results.has_thumbnail(edited, "a" * 64)
    assert find(bucket, execution_id, 1) is None
    assert results.remove_all(execution_id) == 1
    assert not results.has_thumbnail(key, "a" * 64)


def test_browsers_may_keep_images_and_thumbnails(bucket: str) -> None:
    results, execution_id = Results(bucket), uuid4()
    stored = store(bucket, f"{execution_id}/1_0.png")
    thumbnail = thumbnail_key(execution_id, 1)
    results.put_thumbnail(thumbnail, WEBP, stored.sha256)
    for key, content, mime_type in (
        (stored.key, PNG, "image/png"),
        (thumbnail, WEBP, "image/webp"),
    ):
        answer = requests.get(results.signed_url(key), timeout=10)
        assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
        assert (answer.content, answer.headers["Content-Type"]) == (content, mime_type)


def test_an_image_is_copied_at_no_cost(bucket: str) -> None:
    results, execution_id = Results(bucket), uuid4()
    source = store(bucket, f"{uuid4()}/1_0.png")
    asked_at = datetime.fromtimestamp(9, UTC)
    copy = results.reuse(source.key, execution_id, 2, asked_at, attempt=3, asked="this")
    assert (copy.cost_microusd, copy.attempt, copy.is_reused) == (0, 3, True)
    assert (copy.sha256, copy.details) == (source.sha256, source.details)
    # The next attempt completes the row from the copy.
    assert find(bucket, execution_id, 2, 9) == copy
    assert results.read(copy.key) == PNG
    with pytest.raises(ObjectMissing):
        results.reuse(f"{uuid4()}/1_0.png", execution_id, 3, asked_at, attempt=1, asked="this")


def test_s3_checks_the_hash_of_every_stored_image(bucket: str) -> None:
    sent: list[Any] = []
    events: Any = s3_client.s3().meta.events
    events.register("before-send.s3.PutObject", lambda request, **_: sent.append(request))
    store(bucket, "any/0_0.png")
    Uploads(bucket).put_reference(CLIENT, PNG)
    digest = base64.b64encode(hashlib.sha256(PNG).digest())
    for request in sent:
        assert request.headers["x-amz-checksum-sha256"] == digest
        # The signature covers the checksum, and so the body.
        assert b"x-amz-checksum-sha256" in request.headers["Authorization"]
        assert request.headers["x-amz-content-sha256"] == b"UNSIGNED-PAYLOAD"
    assert len(sent) == 2


# --- addresses --------------------------------------------------------------------------------

REGIONAL_HOSTS = {
    "us-east-1": "s3.us-east-1.amazonaws.com",
    "eu-west-1": "s3.eu-west-1.amazonaws.com",
    "af-south-1": "s3.af-south-1.amazonaws.com",
    "us-gov-west-1": "s3.us-gov-west-1.amazonaws.com",
    "cn-north-1": "s3.cn-north-1.amazonaws.com.cn",
    "cn-northwest-1": "s3.cn-northwest-1.amazonaws.com.cn",
}


def addresses(bucket: str) -> list[str]:
    """Every kind of URL that callers get: signed, public, and of the two upload forms."""
    results, uploads = Results(bucket), Uploads(bucket)
    return [
        results.signed_url("any/0_0.png"),
        results.public_url("any/0_0.png"),
        str(uploads.new_image_upload(CLIENT, uuid4(), "image/png")["url"]),
        str(uploads.new_prompts_upload(CLIENT, uuid4())["url"]),
    ]


@pytest.mark.parametrize(("region", "host"), REGIONAL_HOSTS.items())
@pytest.mark.parametrize("dual_stack", ["true", "false"])
def test_urls_and_forms_name_the_regions_own_host(
    aws: None, monkeypatch: pytest.MonkeyPatch, region: str, host: str, dual_stack: str
) -> None:
    """The signature covers the host, and S3 redirects or refuses the global host."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, region)
    # One decision for every environment: docs/decisions.md, "URLs name the region's host".
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", dual_stack)
    for url in addresses("a-bucket"):
        parts = urlsplit(url)
        assert (parts.scheme, parts.netloc) == ("https", f"a-bucket.{host}")
        assert not parts.path.startswith("/a-bucket")
    query = parse_qs(urlsplit(Results("a-bucket").signed_url("any/0_0.png")).query)
    assert query["X-Amz-Credential"][0].split("/")[2] == region
    assert query["X-Amz-SignedHeaders"] == ["host"]


@pytest.mark.parametrize(
    ("endpoint", "bucket_at"),
    [
        ("http://127.0.0.1:4566", "http://127.0.0.1:4566/a-bucket"),
        ("http://127.8.8.8:4566", "http://127.8.8.8:4566/a-bucket"),
        ("http://localhost:4566", "http://localhost:4566/a-bucket"),
        ("http://[::1]:4566", "http://[::1]:4566/a-bucket"),
        # Containers reach the stack by an address of a network, which has no subdomains either.
        ("http://172.17.0.1:4566", "http://172.17.0.1:4566/a-bucket"),
        ("https://s3.store.example", "https://a-bucket.s3.store.example"),
    ],
)
@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
def test_only_loopback_endpoints_get_the_bucket_as_a_path(
    aws: None, monkeypatch: pytest.MonkeyPatch, variable: str, endpoint: str, bucket_at: str
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, endpoint)
    for url in addresses("a-bucket"):
        assert url.startswith(bucket_at)
        assert url.removeprefix(bucket_at).count("a-bucket") == 0


def test_one_prompts_image_is_not_found_for_another(bucket: str) -> None:
    execution_id = uuid4()
    store(bucket, f"{execution_id}/12_0.png")
    assert find(bucket, execution_id, 1) is None
    found = find(bucket, execution_id, 12)
    assert found is not None
    assert found.cost_microusd is None


def test_only_images_of_a_deleted_execution_are_removed(bucket: str) -> None:
    results, gone, kept = Results(bucket), uuid4(), uuid4()
    for execution_id in (gone, kept):
        for index in range(3):
            store(bucket, f"{execution_id}/{index}_0.png")
    assert results.remove_all(gone) == 3
    assert find(bucket, gone, 0) is None
    assert find(bucket, kept, 2) is not None


def test_bytes_that_changed_on_their_way_are_refused_and_not_stored(bucket: str) -> None:
    def change(request: Any, **_: Any) -> None:
        request.body = PNG[:-1] + b"?"

    events: Any = s3_client.s3().meta.events
    events.register("before-send.s3.PutObject", change)
    execution_id = uuid4()
    with pytest.raises(StorageUnavailable) as raised:
        store(bucket, f"{execution_id}/0_0.png")
    assert "(BadDigest)" in str(raised.value.__cause__)
    assert find(bucket, execution_id, 0) is None
    with pytest.raises(StorageUnavailable):
        Uploads(bucket).put_reference(CLIENT, PNG)


def refuse_deletes(bucket: str, url: str, *keys: str) -> None:
    """S3 refuses to delete these keys, inside an answer with status 200. Without keys it deletes
    every key again."""
    client: Any = boto3.client("s3", endpoint_url=url, region_name=REGION)
    if not keys:
        client.delete_bucket_policy(Bucket=bucket)
        return
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:DeleteObject",
        "Resource": [f"arn:aws:s3:::{bucket}/{key}" for key in keys],
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


def test_an_image_that_s3_refuses_to_delete_is_not_taken_for_deleted(
    bucket: str, aws_url: str
) -> None:
    results, execution_id = Results(bucket), uuid4()
    for index in range(3):
        store(bucket, f"{execution_id}/{index}_0.png")
    refuse_deletes(bucket, aws_url, f"{execution_id}/1_0.png")
    with pytest.raises(StorageUnavailable):
        results.remove_all(execution_id)
    # The others are gone.
    assert [find(bucket, execution_id, index) is None for index in range(3)] == [True, False, True]
    refuse_deletes(bucket, aws_url)
    assert results.remove_all(execution_id) == 1
    assert find(bucket, execution_id, 1) is None


def test_a_reference_is_read_in_its_submitted_version(bucket: str) -> None:
    uploads = Uploads(bucket)
    key, version = uploads.put_reference(CLIENT, PNG)
    assert key.startswith(f"{CLIENT}/references/")
    assert uploads.version_of(key) == (version, len(PNG))
    assert uploads.read_reference(CLIENT, key, version) == (PNG, "image/png")
    with pytest.raises(ReferenceGone):
        uploads.read_reference(CLIENT, key, "0" * 32)
    with pytest.raises(ReferenceGone):
        uploads.read_reference(CLIENT, key.replace("references/", "references/0"), version)


def test_another_clients_reference_is_never_read(bucket: str) -> None:
    """SQL injected as one tenant can write any key into its own execution."""
    uploads = Uploads(bucket)
    key, version = uploads.put_reference(OTHER, PNG)
    for named in (key, f"{CLIENT}/../{key}"):
        with pytest.raises(ReferenceGone):
            uploads.read_reference(CLIENT, named, version)


def test_an_upload_form_fixes_key_type_and_size(bucket: str) -> None:
    uploads = Uploads(bucket)
    for form, type_, most in (
        (uploads.new_image_upload(CLIENT, uuid4(), "image/png"), "image/png", 10 * 1024 * 1024),
        (uploads.new_prompts_upload(CLIENT, uuid4()), "application/jsonl", 50 * 1024 * 1024),
    ):
        fields: Any = form["fields"]
        signed = json.loads(base64.b64decode(fields["policy"]))["conditions"]
        for condition in (
            {"key": form["key"]},
            {"bucket": bucket},
            {"Content-Type": type_},
            ["content-length-range", 1, most],
        ):
            assert condition in signed
        answer = requests.post(str(form["url"]), data=fields, files={"file": PNG}, timeout=20)
        assert answer.status_code == 204


def test_a_reference_that_is_too_large_or_not_an_image_is_refused(bucket: str) -> None:
    """This check does not rely on the form's limits."""
    for content in (PNG.ljust(storage.MAX_IMAGE_BYTES + 1, b"x"), b"GIF89a" + b"x" * 20):
        form = Uploads(bucket).new_image_upload(CLIENT, uuid4(), "image/png")
        fields: Any = form["fields"]
        requests.post(str(form["url"]), data=fields, files={"file": content}, timeout=20)
        with pytest.raises((InvalidImage, ObjectMissing)):
            Uploads(bucket).version_of(str(form["key"]))
