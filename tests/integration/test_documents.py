"""GET /openapi.json and /docs need no token and load nothing from another host."""

import gzip
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from masstock import settings
from masstock.services.storage import Results
from tests.support.demo_data import DEMO_EXECUTION
from tests.support.handler import RESULTS_BUCKET, Api
from tests.support.template import Stack

TEMPLATE = Stack()
COMMITTED = Path(__file__).parents[2] / "docs/openapi.json"


def test_the_committed_openapi_document_is_served(api: Api) -> None:
    answer = api.call(None, "GET", "/openapi.json")
    assert answer.content_type == "application/json"
    assert answer.data == COMMITTED.read_bytes()


@pytest.mark.parametrize("path", ["/openapi.json", "/docs/swagger-ui.js", "/docs/swagger-ui.css"])
def test_large_documents_are_compressed(api: Api, path: str) -> None:
    plain = api.call(None, "GET", path)
    packed = api.call(None, "GET", path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert len(packed.data) < len(plain.data) / 2
    # A cache keeps both apart.
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [
        ("gzip", True),
        ("br, gzip;q=0.001", True),
        ("gzip;q=0", False),
        ("identity, gzip; q=0.000", False),
        ("x-gzip-of-another-kind", False),
    ],
)
def test_only_callers_that_accept_gzip_get_it(api: Api, accepted: str, is_packed: bool) -> None:
    answer = api.call(None, "GET", "/openapi.json", headers={"Accept-Encoding": accepted})
    assert ("Content-Encoding" in answer.headers) == is_packed
    assert (gzip.decompress(answer.data) if is_packed else answer.data) == COMMITTED.read_bytes()


def test_the_page_loads_only_our_files_and_its_policy_forbids_others(api: Api) -> None:
    page = api.call(None, "GET", "/docs")
    assert page.content_type == "text/html; charset=utf-8"
    parts = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {part for part in parts if not part.startswith("data:")} == {
        "docs/swagger-ui.css",
        "docs/swagger-ui.js",
        "docs/start.js",
    }
    for part in parts:
        if not part.startswith("data:"):
            assert api.call(None, "GET", f"/{part}").status_code == 200
    policy = dict(
        directive.strip().split(" ", 1)
        for directive in page.headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert "://" not in str({**policy, "img-src": "", "connect-src": ""})


@pytest.mark.parametrize("access", ["signed", "public"])
def test_the_page_may_fetch_and_show_an_image_and_reach_no_other_host(
    api: Api, monkeypatch: pytest.MonkeyPatch, access: str
) -> None:
    monkeypatch.setenv("IMAGE_ACCESS", access)
    settings._parsed.clear()
    page = api.call(None, "GET", "/docs")
    url = Results(RESULTS_BUCKET).public_url("an/image.png")
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
    policy = page.headers["Content-Security-Policy"]
    assert f"connect-src 'self' {origin};" in policy
    assert f"img-src 'self' data: blob: {origin};" in policy
    settings._parsed.clear()


def test_the_results_bucket_lets_the_page_read_an_answer(api: Api) -> None:
    """The image's URL is the permission, so every origin may use it."""
    [rule] = TEMPLATE.properties("ResultsBucket")["CorsConfiguration"]["CorsRules"]
    assert (rule["AllowedOrigins"], rule["AllowedMethods"]) == (["*"], ["GET", "HEAD"])
    place = f"/v1/executions/{DEMO_EXECUTION}/results/0/image"
    location = api.call("client_a", "GET", place).headers["Location"]
    origin = "https://api.example"
    answer = requests.get(location, headers={"Origin": origin}, timeout=10)
    assert answer.headers["Access-Control-Allow-Origin"] in ("*", origin)


@pytest.mark.parametrize("asset", ["api.py", "..%2Fapi.py", "swagger-ui.min.css", "%2e%2e"])
def test_no_other_file_is_served(api: Api, asset: str) -> None:
    assert api.call(None, "GET", f"/docs/{asset}").status_code == 404
