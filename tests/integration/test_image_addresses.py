"""URLs of images and upload forms, as callers of a deployed api get them in each region."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest

from masstock import settings
from masstock.services import s3_client
from tests.support import handler
from tests.support.databases import Urls
from tests.support.demo_data import DEMO_EXECUTION

HOSTS = {
    "us-east-1": "s3.us-east-1.amazonaws.com",
    "eu-west-1": "s3.eu-west-1.amazonaws.com",
    "af-south-1": "s3.af-south-1.amazonaws.com",
    "cn-north-1": "s3.cn-north-1.amazonaws.com.cn",
}
RESULTS = f"/v1/executions/{DEMO_EXECUTION}/results"


@pytest.fixture(params=HOSTS)
def region(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def deployed(
    fresh_database: Urls, aws_url: str, region: str
) -> Iterator[tuple[handler.Api, pytest.MonkeyPatch]]:
    """The api's handler with the environment of a region, where only S3 has its own address."""
    with handler.environment(fresh_database, aws_url) as patch:
        api = handler.Api()
        # The tests' secrets are in another region, so they are read before.
        assert api.call("client_a", "GET", RESULTS).status_code == 200
        s3_client.s3.cache_clear()
        patch.setenv("AWS_REGION", region)
        patch.setenv("AWS_DEFAULT_REGION", region)
        patch.delenv("AWS_ENDPOINT_URL_S3")
        yield api, patch


def locations(api: handler.Api) -> list[str]:
    page = api.call("client_a", "GET", RESULTS).json
    assert page is not None
    image = api.call("client_a", "GET", f"{RESULTS}/0/image")
    assert image.status_code == 302
    return [image.headers["Location"], *(row["result_url"] for row in page["items"])]


def test_signed_urls_and_forms_name_the_regions_own_host(
    deployed: tuple[handler.Api, pytest.MonkeyPatch], region: str
) -> None:
    api, _ = deployed
    for url in locations(api):
        assert url.startswith(f"https://results.{HOSTS[region]}/{DEMO_EXECUTION}/")
        assert "X-Amz-Signature" in urlsplit(url).query
    for body in ({"kind": "prompts"}, {"kind": "reference_image", "content_type": "image/png"}):
        form = api.call("client_a", "POST", "/v1/uploads", json=body).json
        assert form is not None
        assert form["url"] == f"https://uploads.{HOSTS[region]}/"


def test_public_urls_are_made_anew_at_each_read(
    deployed: tuple[handler.Api, pytest.MonkeyPatch], fresh_database: Urls, region: str
) -> None:
    """Rows of an earlier version hold the global host. Rows that were painted while the stage had
    signed URLs hold none."""
    api, patch = deployed
    patch.setenv("IMAGE_ACCESS", "public")
    settings._parsed.clear()
    with psycopg.connect(fresh_database.superuser) as connection:
        connection.execute(
            "UPDATE public.workflow_batch_results SET result_url = CASE batch_index WHEN 1 "
            "THEN 'https://results.s3.amazonaws.com/' || result_storage_path END "
            "WHERE execution_id = %s",
            [DEMO_EXECUTION],
        )
    for url in locations(api):
        assert url.startswith(f"https://results.{HOSTS[region]}/{DEMO_EXECUTION}/")
        assert urlsplit(url).query == ""
