"""S3 refuses bytes whose checksum is not the one that the request carries, and stores nothing."""

import base64
import hashlib
import re
import urllib.error
import urllib.parse
import urllib.request
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.httpchecksum import _CHECKSUM_CLS

from tests.local.conftest import Aws

BODY, OTHER = b"the bytes that were signed", b"other bytes of their length"[:26]
AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host;x-amz-checksum-sha256, Signature=0"
)
ALGORITHMS = [*_CHECKSUM_CLS, "md5"]


@pytest.fixture
def key() -> str:
    return f"{uuid.uuid4()}/0_0.png"


def digest(algorithm: str, body: bytes) -> str:
    if algorithm == "md5":
        return base64.b64encode(hashlib.md5(body).digest()).decode()
    checksum: Any = _CHECKSUM_CLS[algorithm]()
    checksum.update(body)
    return checksum.b64digest()


def send(
    aws: Aws, path: str, body: bytes, headers: dict[str, str], method: str = "PUT"
) -> tuple[int, str, str]:
    """Status, error code and error message."""
    request = urllib.request.Request(
        f"{aws.service.url}/{path}",
        body,
        {"Authorization": AUTHORIZATION, "Content-Type": "image/png", **headers},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, "", ""
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        error.close()
        parts = [re.findall(f"<{name}>(.*?)</{name}>", text) for name in ("Code", "Message")]
        return error.code, parts[0][0], parts[1][0]


def stored(s3: Any, key: str) -> bytes | None:
    try:
        return s3.get_object(Bucket="private", Key=key)["Body"].read()
    except s3.exceptions.NoSuchKey:
        return None


def chunked(body: bytes, trailer: str = "") -> bytes:
    """aws-chunked, in chunks of ten bytes."""
    parts = [body[start : start + 10] for start in range(0, len(body), 10)]
    lines = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts)
    return lines + b"0\r\n" + trailer.encode() + b"\r\n"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_checksum_must_be_that_of_the_body(aws: Aws, s3: Any, key: str, algorithm: str) -> None:
    header = {f"x-amz-checksum-{algorithm}": digest(algorithm, BODY)}
    assert send(aws, f"private/{key}", OTHER, header) == (
        400,
        "BadDigest",
        f"The {algorithm.upper()} you specified did not match the calculated checksum.",
    )
    assert stored(s3, key) is None
    assert send(aws, f"private/{key}", BODY, header)[0] == 200
    assert stored(s3, key) == BODY


def test_the_md5_and_the_hash_of_the_signature_must_be_those_of_the_body(
    aws: Aws, s3: Any, key: str
) -> None:
    for name, value, code in (
        ("Content-MD5", digest("md5", BODY), "BadDigest"),
        ("x-amz-content-sha256", hashlib.sha256(BODY).hexdigest(), "XAmzContentSHA256Mismatch"),
    ):
        assert send(aws, f"private/{key}", OTHER, {name: value})[:2] == (400, code)
        assert stored(s3, key) is None
        assert send(aws, f"private/{key}", BODY, {name: value})[0] == 200
        s3.delete_object(Bucket="private", Key=key)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-MD5": "not base64"}, "InvalidDigest"),
        ({"Content-MD5": digest("sha256", BODY)}, "InvalidDigest"),
        ({"x-amz-checksum-sha256": "not base64"}, "InvalidRequest"),
        ({"x-amz-checksum-sha256": digest("sha1", BODY)}, "InvalidRequest"),
        ({"x-amz-checksum-sha256": ""}, "InvalidRequest"),
        ({"x-amz-checksum-rot13": digest("sha1", BODY)}, "InvalidRequest"),
        (
            {f"x-amz-checksum-{name}": digest(name, BODY) for name in ("sha1", "sha256")},
            "InvalidRequest",
        ),
        ({"x-amz-sdk-checksum-algorithm": "SHA256"}, "InvalidRequest"),
        (
            {
                "x-amz-sdk-checksum-algorithm": "SHA1",
                "x-amz-checksum-sha256": digest("sha256", BODY),
            },
            "BadDigest",
        ),
        ({"x-amz-content-sha256": "not a hash"}, "InvalidArgument"),
    ],
    ids=str,
)
def test_a_malformed_checksum_is_refused(
    aws: Aws, s3: Any, key: str, headers: dict[str, str], code: str
) -> None:
    assert send(aws, f"private/{key}", BODY, headers)[:2] == (400, code)
    assert stored(s3, key) is None


@pytest.mark.parametrize("body", [BODY, b""], ids=["a body", "no body"])
def test_a_body_without_a_checksum_is_stored(aws: Aws, s3: Any, key: str, body: bytes) -> None:
    assert send(aws, f"private/{key}", body, {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})[0] == 200
    assert stored(s3, key) == body


def test_a_checksum_in_a_trailer_must_be_that_of_the_body(aws: Aws, s3: Any, key: str) -> None:
    headers = {
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-trailer": "x-amz-checksum-crc32",
        "x-amz-sdk-checksum-algorithm": "CRC32",
        "x-amz-decoded-content-length": str(len(BODY)),
        "Content-Encoding": "aws-chunked",
    }
    trailer = f"x-amz-checksum-crc32:{digest('crc32', BODY)}\r\n"
    for body, refusal in (
        (chunked(OTHER, trailer), "BadDigest"),
        (chunked(BODY), "MalformedTrailerError"),
        (chunked(BODY)[:-9], "IncompleteBody"),
        (b"zz\r\n", "IncompleteBody"),
    ):
        assert send(aws, f"private/{key}", body, headers)[:2] == (400, refusal)
        assert stored(s3, key) is None
    assert send(aws, f"private/{key}", chunked(BODY, trailer), headers)[0] == 200
    assert stored(s3, key) == BODY


def corrupt(client: Any, operation: str) -> None:
    """The network changes the body after it was signed."""

    def change(request: Any, **_: Any) -> None:
        request.body = bytes(request.body.read() if hasattr(request.body, "read") else request.body)
        request.body = request.body[:-1] + b"?"

    client.meta.events.register(f"before-send.s3.{operation}", change)


def test_what_boto3_signs_is_verified(aws: Aws, s3: Any, key: str) -> None:
    s3.put_object(Bucket="private", Key=key, Body=BODY)
    assert stored(s3, key) == BODY
    corrupt(s3, "PutObject")
    with pytest.raises(ClientError, match="XAmzContentSHA256Mismatch"):
        s3.put_object(Bucket="private", Key=key, Body=OTHER)
    assert stored(aws.client("s3"), key) == BODY


def test_parts_of_an_upload_are_verified_and_their_end_is_not_taken_for_one(
    aws: Aws, s3: Any, key: str
) -> None:
    upload = {"Bucket": "private", "Key": key}
    started = s3.create_multipart_upload(**upload, ChecksumAlgorithm="SHA256")
    part = {"PartNumber": 1, "UploadId": started["UploadId"], **upload}
    checksum = digest("sha256", BODY)
    with pytest.raises(ClientError, match="BadDigest"):
        s3.upload_part(**part, Body=OTHER, ChecksumSHA256=checksum)
    done = s3.upload_part(**part, Body=BODY, ChecksumSHA256=checksum)
    parts = [{"PartNumber": 1, "ETag": done["ETag"], "ChecksumSHA256": checksum}]
    # This header is of the whole object, not of the request's body.
    s3.complete_multipart_upload(
        **upload,
        UploadId=started["UploadId"],
        MultipartUpload={"Parts": parts},
        ChecksumSHA256=f"{digest('sha256', hashlib.sha256(BODY).digest())}-1",
    )
    assert stored(s3, key) == BODY


def test_deleting_many_objects_needs_a_checksum_of_the_list(aws: Aws, s3: Any, key: str) -> None:
    s3.put_object(Bucket="private", Key=key, Body=BODY)
    body = f"<Delete><Object><Key>{key}</Key></Object></Delete>".encode()
    assert send(aws, "private?delete=", body, {}, "POST")[:2] == (400, "InvalidRequest")
    wrong = {"Content-MD5": digest("md5", OTHER)}
    assert send(aws, "private?delete=", body, wrong, "POST")[:2] == (400, "BadDigest")
    assert stored(s3, key) == BODY
    s3.delete_objects(Bucket="private", Delete={"Objects": [{"Key": key}]})
    assert stored(s3, key) is None


def form(s3: Any, key: str, file: bytes, **fields: str) -> bytes:
    post = s3.generate_presigned_post("private", key, Fields=fields, ExpiresIn=60)
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in post["fields"].items()
    ]
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    return b"".join([*parts, head, file, b"\r\n--b--\r\n"])


def test_a_checksum_among_the_fields_of_a_form_is_that_of_its_file(
    aws: Aws, s3: Any, key: str
) -> None:
    fields = {"x-amz-checksum-sha256": digest("sha256", BODY)}
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    refused = send(aws, "private", form(s3, key, OTHER, **fields), headers, "POST")
    assert refused[:2] == (400, "BadDigest")
    assert stored(s3, key) is None
    assert send(aws, "private", form(s3, key, BODY, **fields), headers, "POST")[0] < 300
    assert stored(s3, key) == BODY


@pytest.mark.parametrize("where", ["headers", "query"])
def test_a_presigned_upload_is_verified(aws: Aws, s3: Any, key: str, where: str) -> None:
    checksum = digest("sha256", BODY)
    url = s3.generate_presigned_url(
        "put_object", {"Bucket": "private", "Key": key, "ChecksumSHA256": checksum}
    )
    path = url.removeprefix(f"{aws.service.url}/")
    headers: dict[str, str] = {}
    if where == "headers":
        headers["x-amz-checksum-sha256"] = checksum
    elif "x-amz-checksum-sha256" not in path.lower():
        path += f"&x-amz-checksum-sha256={urllib.parse.quote(checksum, safe='')}"
    assert send(aws, path, OTHER, headers)[:2] == (400, "BadDigest")
    assert send(aws, path, BODY, headers)[0] == 200
    assert stored(s3, key) == BODY


def test_reads_carry_the_hash_of_no_bytes(aws: Aws, s3: Any, key: str) -> None:
    s3.put_object(Bucket="private", Key=key, Body=BODY)
    empty = {"x-amz-content-sha256": hashlib.sha256(b"").hexdigest()}
    assert send(aws, f"private/{key}", b"", empty, "GET")[0] == 200
    assert s3.head_object(Bucket="private", Key=key, ChecksumMode="ENABLED")["ContentLength"] == 26
