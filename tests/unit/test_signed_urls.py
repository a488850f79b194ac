"""URLs of images: boto3's signature, but the same URL for a whole period."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from botocore import auth
from botocore.session import Session

from masstock.file_names import image_stem
from masstock.services import signed_urls
from masstock.services.s3_client import bucket_address, s3
from masstock.services.signed_urls import PERIOD_SECONDS, VALID_SECONDS, signed_url
from tests.support.clock import BEGINNING, Clock


@pytest.fixture
def clock(aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(signed_urls, "time", clock)
    s3.cache_clear()
    yield clock
    s3.cache_clear()


@pytest.mark.parametrize("token", [None, "a/session+token=="])
@pytest.mark.parametrize("file_name", [None, 'Ünï "quoted" 100%.png'])
@pytest.mark.parametrize("key", ["a/0_1.png", "a/thumbnails/0.webp", "a b/ü+~'(1).png"])
def test_the_signature_is_that_of_boto3(
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
    file_name: str | None,
    key: str,
) -> None:
    if token is not None:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    s3.cache_clear()
    clock.now += 7
    ours = signed_url("a-bucket", key, file_name)
    params = {"Bucket": "a-bucket", "Key": key}
    if file_name is not None:
        params["ResponseContentDisposition"] = dict(parse_qsl(urlsplit(ours).query))[
            "response-content-disposition"
        ]
    moment = datetime.fromtimestamp(BEGINNING, UTC)
    monkeypatch.setattr(auth, "get_current_datetime", lambda **_: moment)
    monkeypatch.setitem(auth.AUTH_TYPE_MAPS, "s3v4-query", auth.S3SigV4QueryAuth)
    theirs = s3().generate_presigned_url("get_object", params, ExpiresIn=VALID_SECONDS)
    assert urlsplit(ours)[:2] == urlsplit(theirs)[:2]
    assert unquote(urlsplit(ours).path) == unquote(urlsplit(theirs).path)
    assert sorted(parse_qsl(urlsplit(ours).query)) == sorted(parse_qsl(urlsplit(theirs).query))


REGIONS = [
    region
    for partition in ("aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b")
    for region in Session().get_available_regions("s3", partition, allow_non_regional=False)
]


@pytest.mark.parametrize("bucket", ["a-bucket", "a.bucket", "bucket0"])
def test_an_address_is_that_of_boto3_in_every_region(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, bucket: str
) -> None:
    assert len(REGIONS) > 30
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    for region, fips in [*((region, "") for region in REGIONS), ("us-east-1", "true")]:
        monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", fips)
        monkeypatch.setenv("AWS_REGION", region)
        s3.cache_clear()
        theirs = s3().generate_presigned_url("get_object", {"Bucket": bucket, "Key": "x"})
        assert bucket_address(bucket) == theirs.partition("?")[0].removesuffix("x")


def test_the_usual_url_needs_no_boto3(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would double the cold start of a list."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    assert signed_url("a-bucket", "a/0_1.png").startswith("http://127.0.0.1:")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert signed_url("a-bucket", "k").startswith("https://a-bucket.s3.eu-west-1.amazonaws.com/k?")


def test_a_url_stays_the_same_for_a_period_and_is_valid_for_longer(clock: Clock) -> None:
    first = signed_url("a-bucket", "a/0_1.png")
    clock.now += PERIOD_SECONDS - 1
    assert signed_url("a-bucket", "a/0_1.png") == first
    assert signed_urls.expiry().timestamp() - clock.now > PERIOD_SECONDS
    clock.now += 1
    assert signed_url("a-bucket", "a/0_1.png") != first


@pytest.mark.parametrize(
    ("name", "plain", "full"),
    [
        ("sku-1.png", "sku-1.png", "sku-1.png"),
        ("Ünï.jpg", "_n_.jpg", "%C3%9Cn%C3%AF.jpg"),
        ('a"b\\c%.png', "a_b_c_.png", "a%22b%5Cc%25.png"),
        ("line\r\nend.png", "line__end.png", "line%0D%0Aend.png"),
    ],
)
def test_a_name_cannot_leave_its_header(clock: Clock, name: str, plain: str, full: str) -> None:
    query = dict(parse_qsl(urlsplit(signed_url("a-bucket", "k", name)).query))
    assert query["response-content-disposition"] == (
        f"inline; filename=\"{plain}\"; filename*=UTF-8''{full}"
    )


@pytest.mark.parametrize(
    ("custom_id", "image_index", "several", "name"),
    [
        ("sku-1", 0, False, "sku-1"),
        ("sku-1", 0, True, "sku-1-1"),
        ("sku-1", 2, True, "sku-1-3"),
        (None, 0, False, "0007"),
        (None, 1, True, "0007-2"),
        ("a/b", 0, False, "a_b"),
        ("..", 0, False, "0007"),
        ("nul", 0, False, "_nul"),
    ],
)
def test_a_file_is_named_by_its_custom_id_or_its_index(
    custom_id: str | None, image_index: int, several: bool, name: str
) -> None:
    assert image_stem(custom_id, 7, image_index, several=several) == name
