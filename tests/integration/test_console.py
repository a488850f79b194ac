"""GET / and the files of the console: one policy, cached for ever, no token needed."""

import gzip
import json
import re
from html import unescape
from typing import Any

import pytest

from masstock import settings
from masstock.services.storage import Results, Uploads
from masstock_api.routes.console import FILES
from tests.support.handler import AUDIENCE, RESULTS_BUCKET, UPLOADS_BUCKET, Api
from tests.support.template import Stack as Template


@pytest.fixture
def sign_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    def configure(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        settings._parsed.clear()

    yield configure
    settings._parsed.clear()


def policy_of(page: Any) -> dict[str, str]:
    directives = page.headers["Content-Security-Policy"].split(";")
    return dict(directive.strip().split(" ", 1) for directive in directives)


def origin(url: str) -> str:
    return "/".join(url.split("/")[:3])


def test_the_page_may_reach_the_two_buckets_and_nobody_else(api: Api) -> None:
    page = api.call(None, "GET", "/")
    assert page.content_type == "text/html; charset=utf-8"
    assert page.headers["Cache-Control"] == "no-cache"
    results = origin(Results(RESULTS_BUCKET).signed_url("image"))
    uploads = origin(Uploads(UPLOADS_BUCKET).address())
    assert policy_of(page) == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": f"'self' blob: {results}",
        "connect-src": f"'self' {' '.join(sorted({results, uploads}))}",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


def test_the_page_may_reach_the_configured_issuer(api: Api, sign_in: Any) -> None:
    sign_in(
        CONSOLE_AUTH_URL="https://project.supabase.co/auth/v1/",
        CONSOLE_AUTH_KEY="publishable<",
        CONSOLE_CLIENT_ID="console",
        CONSOLE_ORIGINS="https://login.example https://token.example",
    )
    page = api.call(None, "GET", "/")
    allowed = policy_of(page)["connect-src"].split()
    for host in ("project.supabase.co", "identity.test", "login.example", "token.example"):
        assert f"https://{host}" in allowed
    told = re.search(r'name="sign-in" content="([^"]+)"', page.text)
    assert told is not None
    assert json.loads(unescape(told[1])) == {
        "local": False,
        "supabase_url": "https://project.supabase.co/auth/v1",
        "supabase_key": "publishable<",
        "issuer": "https://identity.test",
        "client_id": "console",
        "audience": AUDIENCE,
    }


def test_the_uploads_bucket_lets_the_page_upload() -> None:
    """Moto lets every origin through, so the template is read."""
    [rule] = Template().properties("UploadsBucket")["CorsConfiguration"]["CorsRules"]
    assert (rule["AllowedOrigins"], rule["AllowedMethods"]) == (["*"], ["POST"])


def test_what_an_issuer_adds_to_the_address_is_ignored(api: Api) -> None:
    plain = api.call(None, "GET", "/")
    returned = api.call(None, "GET", "/?code=abc&state=x&iss=y")
    assert (returned.status_code, returned.text) == (200, plain.text)


def test_every_file_of_the_page_is_served_compressed_and_cached_for_ever(api: Api) -> None:
    page = api.call(None, "GET", "/").text
    linked = re.findall(r'(?:src|href)="(console/[^"]+)"', page)
    assert len(linked) >= 4
    for path in linked:
        answer = api.call(None, "GET", f"/{path}")
        assert answer.status_code == 200, path
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.data == (FILES / path.rpartition("/")[2]).read_bytes()
        packed = api.call(None, "GET", f"/{path}", headers={"Accept-Encoding": "gzip"})
        assert gzip.decompress(packed.data) == answer.data


@pytest.mark.parametrize("name", ["index.html", "preact.d.ts", "README.md", "..%2Fapp.py", "%2e"])
def test_no_other_file_is_served(api: Api, name: str) -> None:
    version = re.search(r"console/(\w+)/", api.call(None, "GET", "/").text)
    assert version is not None
    assert api.call(None, "GET", f"/console/{version[1]}/{name}").status_code == 404


def test_a_file_of_another_release_is_not_found(api: Api) -> None:
    assert api.call(None, "GET", "/console/0123456789ab/main.js").status_code == 404
