"""The entry of a deployment: Supabase's REST API, and OpenID Connect with PKCE. The api runs in
this process with a deployment's settings."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from local.processes.children import free_port
from local.processes.servers import ThreadedServer
from masstock import settings
from tests.support import handler
from tests.support.issuer import CLIENT_ID, CODE, EMAIL, PASSWORD, PUBLISHABLE_KEY, Issuer
from tests.support.visitor import Visitor

pytestmark = pytest.mark.timeout(60)


class Deployment:
    """The api and the issuer, each on a port, and a browser in front of them."""

    def __init__(self, api: handler.Api, browser: Browser, folder: Path, aws_url: str) -> None:
        self._browser, self._folder, self._aws_url = browser, folder, aws_url
        self.minted: list[str] = []
        self.lifetime = 3600
        self.issuer = Issuer(self._mint)
        self._issuer_server = ThreadedServer(self.issuer, free_port())
        self.issuer.url = self._issuer_server.url
        # The handler answers one request at a time, as a function does.
        one = threading.Lock()

        def application(environ: dict[str, Any], start: Any) -> Any:
            with one:
                return api.application(environ, start)

        self._api_server = ThreadedServer(application, free_port())
        self.urls: list[str] = []

    def _mint(self) -> str:
        user = handler.USERS["client_a"]
        self.minted.append(handler.token(user, iss=self.issuer.url, jti=str(len(self.minted))))
        return self.minted[-1]

    def visit(self, at: str = "", expects: tuple[int, ...] = ()) -> Visitor:
        access = {"base_url": self._api_server.url, "s3_endpoint": self._aws_url, "tokens": {}}
        origins = (self.issuer.url,)
        person = Visitor(
            self._browser, access, None, self._folder, at=at, expects=expects, origins=origins
        )
        person.page.on("request", lambda request: self.urls.append(request.url))
        return person

    def stop(self) -> None:
        self._api_server.stop()
        self._issuer_server.stop()


@pytest.fixture
def deployment(
    api: handler.Api, browser: Browser, tmp_path: Path, aws_url: str
) -> Iterator[Deployment]:
    made = Deployment(api, browser, tmp_path, aws_url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JWT_ISSUER", made.issuer.url)
        patch.setenv("CONSOLE_AUTH_URL", f"{made.issuer.url}/auth/v1")
        patch.setenv("CONSOLE_AUTH_KEY", PUBLISHABLE_KEY)
        patch.setenv("CONSOLE_CLIENT_ID", CLIENT_ID)
        settings._parsed.clear()
        yield made
    settings._parsed.clear()
    made.stop()


def no_token_in(urls: list[str], minted: list[str]) -> bool:
    return not any(token in url for token in minted for url in urls)


def test_openid_connect_with_pkce_leads_back_to_the_view(deployment: Deployment) -> None:
    person = deployment.visit(at="usage")
    person.check("sign-in")
    person.press("Sign in")
    person.page.get_by_role("heading", name="Usage").wait_for()
    assert person.page.url.endswith("/#/usage")
    assert len(deployment.minted) == 1
    assert no_token_in(deployment.urls, deployment.minted)
    person.leave()


def test_a_stolen_code_is_not_exchanged(deployment: Deployment) -> None:
    person = deployment.visit(expects=(400,))
    person.page.goto(f"{person.base}/?code=stolen&state=guessed")
    person.see("The sign-in was not finished.")
    assert person.page.url == f"{person.base}/"
    # With the right state, but without its verifier, the issuer refuses.
    kept = '{"verifier": "guessed", "state": "known", "hash": ""}'
    person.page.evaluate("(kept) => sessionStorage.setItem('sign-in', kept)", kept)
    person.page.goto(f"{person.base}/?code=stolen&state=known")
    person.see("The code does not fit.")
    assert deployment.issuer.refusals == ["token"]
    assert deployment.minted == []
    person.leave()


def test_supabase_takes_a_password(deployment: Deployment) -> None:
    person = deployment.visit(expects=(400,))
    person.write("E-mail", EMAIL)
    person.write("Password", "wrong")
    person.press("Enter", exact=True)
    person.see("Invalid login credentials")
    person.write("Password", PASSWORD)
    person.press("Enter", exact=True)
    person.page.get_by_label("Prompts", exact=True).wait_for()
    assert no_token_in(deployment.urls, deployment.minted)
    person.leave()


def test_supabase_takes_a_code_by_email_and_renews_the_token(deployment: Deployment) -> None:
    person = deployment.visit(expects=(401,))
    person.write("E-mail", EMAIL)
    person.press("Get a code by e-mail instead")
    person.press("Send me a code")
    person.write("Code", CODE)
    person.check("sign-in-code")
    person.press("Enter", exact=True)
    person.page.get_by_label("Prompts", exact=True).wait_for()
    # A token that the API no longer accepts.
    person.page.evaluate("sessionStorage.setItem('token', 'expired')")
    person.page.reload()
    person.page.get_by_label("Prompts", exact=True).wait_for()
    assert deployment.issuer.refreshed >= 1
    person.leave()


def test_a_double_click_asks_for_one_code(deployment: Deployment) -> None:
    person = deployment.visit()
    person.write("E-mail", EMAIL)
    person.press("Get a code by e-mail instead")
    person.page.get_by_role("button", name="Send me a code").dblclick()
    person.page.get_by_label("Code", exact=True).wait_for()
    asked = [url for url in deployment.urls if url.endswith("/otp")]
    assert len(asked) == 1
    person.leave()


def test_two_requests_renew_the_token_once(deployment: Deployment) -> None:
    person = deployment.visit(expects=(401,))
    person.write("E-mail", EMAIL)
    person.write("Password", PASSWORD)
    person.press("Enter", exact=True)
    person.page.get_by_label("Prompts", exact=True).wait_for()
    person.press("Usage", exact=True)
    person.page.get_by_role("heading", name="Usage").wait_for()

    def expire(route: Any) -> None:
        if deployment.issuer.refreshed == 0:
            route.fulfill(status=401, json={"code": "unauthorized", "status": 401})
        else:
            route.fallback()

    person.page.route(f"{person.base}/v1/**", expire)
    person.press("New batch", exact=True)
    person.page.get_by_label("Prompts", exact=True).wait_for()
    person.page.wait_for_timeout(500)
    assert deployment.issuer.refreshed == 1
    person.leave()


def test_a_renewal_keeps_the_page(deployment: Deployment) -> None:
    person = deployment.visit(expects=(401,))
    person.write("E-mail", EMAIL)
    person.write("Password", PASSWORD)
    person.press("Enter", exact=True)
    key = person.page.get_by_label("API key of the image model", exact=True)
    key.fill("typed-by-hand")

    def expire(route: Any) -> None:
        if deployment.issuer.refreshed == 0:
            route.fulfill(status=401, json={"code": "unauthorized", "status": 401})
        else:
            route.fallback()

    person.page.route(f"{person.base}/v1/**", expire)
    with person.page.expect_response("**/auth/v1/token?*"):
        person.write("Prompts", "a lamp")
    person.page.wait_for_timeout(1000)
    assert key.input_value() == "typed-by-hand"
    person.leave()
