"""Reference images of a submission have a limit together, whether inline or uploaded."""

import base64
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import boto3
import pytest

from local.aws.resources import REGION
from masstock.errors import FieldError, ValidationFailed
from masstock.schemas.requests import ExecutionCreate
from masstock.services.storage import Uploads
from masstock_api import references
from masstock_api.prompt_lists.places import PromptList
from masstock_api.prompt_lists.reading import IN_BODY
from masstock_api.stored_form import input_data

CLIENT = UUID(int=17)
PNG = b"\x89PNG\r\n\x1a\n"
MEGABYTE = 2**20
TOGETHER = FieldError(
    "/reference_images", "The reference images of a prompt may have 15 MB in total."
)


@pytest.fixture
def s3(aws: None, aws_url: str) -> Any:
    return boto3.client("s3", endpoint_url=aws_url, region_name=REGION)


@pytest.fixture
def bucket(s3: Any, aws_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", aws_url)
    name = f"uploads-{uuid4().hex}"
    s3.create_bucket(Bucket=name)
    return name


def upload(s3: Any, bucket: str, size: int) -> str:
    key = f"{CLIENT}/references/{uuid4()}.png"
    s3.put_object(Bucket=bucket, Key=key, Body=PNG.ljust(size, b"x"))
    return key


def store(bucket: str, images: list[str], *, dry_run: bool) -> Any:
    submission = ExecutionCreate.model_validate(
        {"workflow_id": str(uuid4()), "prompts": ["x"], "reference_images": images}
    )
    return input_data(
        submission,
        PromptList(["x"], IN_BODY),
        client_id=CLIENT,
        execution_id=uuid4(),
        uploads=Uploads(bucket),
        sealing_keys="",
        dry_run=dry_run,
    )


@pytest.mark.parametrize("dry_run", [False, True])
def test_references_over_15_mb_together_are_refused(s3: Any, bucket: str, dry_run: bool) -> None:
    uploads = [upload(s3, bucket, 7 * MEGABYTE), upload(s3, bucket, 7 * MEGABYTE)]
    inline = [base64.b64encode(PNG.ljust(size, b"x")).decode() for size in (MEGABYTE, MEGABYTE + 1)]
    stored = store(bucket, [*uploads, inline[0]], dry_run=dry_run)
    assert stored["reference_images"][:2] == uploads
    # A dry run stores no inline image.
    assert bool(stored["reference_etags"][2]) is not dry_run
    with pytest.raises(ValidationFailed) as refused:
        store(bucket, [*uploads, inline[1]], dry_run=dry_run)
    assert refused.value.errors == [TOGETHER]


def test_the_same_upload_counts_each_time(s3: Any, bucket: str) -> None:
    key = upload(s3, bucket, 6 * MEGABYTE)
    with pytest.raises(ValidationFailed) as refused:
        store(bucket, [key] * 3, dry_run=False)
    assert refused.value.errors == [TOGETHER]


ENCODED = base64.b64encode(PNG * 20).decode()
WRAPPED = base64.encodebytes(PNG * 20).decode()
AS_PEOPLE_SEND_THEM = {
    "base64": ENCODED,
    "wrapped base64": WRAPPED,
    "wrapped as in e-mail": WRAPPED.replace("\n", "\r\n"),
    "a data URL": f"data:image/png;base64,{ENCODED}",
    "a wrapped data URL": f"data:image/png;base64,\n{WRAPPED}",
    "an escaped data URL": "data:image/png;base64," + quote(ENCODED, safe=""),
    "a data URL in capitals": f"DATA:IMAGE/PNG;BASE64,{ENCODED}",
    "a data URL with a parameter": f"data:image/png;name=a.png;base64,{ENCODED}",
    "a data URL without a type": f"data:;base64,{ENCODED}",
    "a data URL with a wrong type": f"data:image/jpeg;base64,{ENCODED}",
}


@pytest.mark.parametrize("form", AS_PEOPLE_SEND_THEM)
def test_each_form_of_an_inline_image_is_the_same_image(s3: Any, bucket: str, form: str) -> None:
    [key] = store(bucket, [AS_PEOPLE_SEND_THEM[form]], dry_run=False)["reference_images"]
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == PNG * 20


REFUSED = {
    "@": references.NO_BASE64,
    "": references.NO_IMAGE,
    ENCODED[:-1]: references.NO_BASE64,
    f"data:{ENCODED}": references.NO_BASE64,
    f"data:image/png,{ENCODED}": references.NO_BASE64_DATA,
    f"data:image/png;base64url,{ENCODED}": references.NO_BASE64_DATA,
    "data:image/png;base64,%F0%9F%98%80": references.NO_BASE64,
    "data:image/svg+xml;base64,PHN2Zy8+": references.NO_IMAGE,
    "https://pictures.example/a.png": references.NO_FETCH,
    f"{CLIENT}/references/{UUID(int=1)}.png": references.NO_UPLOAD,
    f"{UUID(int=2)}/references/{UUID(int=3)}.png": references.NO_UPLOAD,
}


@pytest.mark.parametrize("image", REFUSED)
def test_a_refusal_says_which_rule_the_image_breaks(bucket: str, image: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        store(bucket, [ENCODED, image], dry_run=True)
    assert refused.value.errors == [FieldError("/reference_images/1", REFUSED[image])]
