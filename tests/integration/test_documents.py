"""GET /openapi.json and /docs need no token and load nothing from another host."""

import gzip
import re
from pathlib import Path

import pytest

from tests.support.handler import Api

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
    assert (policy["script-src"], policy["connect-src"]) == ("'self'", "'self'")
    assert "://" not in str(policy)


@pytest.mark.parametrize("asset", ["api.py", "..%2Fapi.py", "swagger-ui.min.css", "%2e%2e"])
def test_no_other_file_is_served(api: Api, asset: str) -> None:
    assert api.call(None, "GET", f"/docs/{asset}").status_code == 404
