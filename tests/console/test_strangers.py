"""What the console tells somebody who has no business here."""

import pytest
from playwright.sync_api import Browser

from local.processes.children import free_port
from local.processes.servers import ThreadedServer
from tests.console.conftest import Visit
from tests.e2e.conftest import Stack
from tests.support.browser import REBOUND

pytestmark = pytest.mark.timeout(60)


def test_another_tenants_batch_does_not_exist(visit: Visit, stack: Stack) -> None:
    execution = stack.submit(["a secret lake"])
    person = visit("client_b", at=f"batches/{execution}", expects=(404,))
    person.see("There is no such batch")
    person.check("batch-of-another-tenant")
    assert "secret" not in person.page.content()


def test_an_expired_token_leads_to_the_entry_and_back(visit: Visit) -> None:
    person = visit("not.a.token", at="batches", expects=(401,))
    person.see("Your session has ended")
    person.check("session-ended")
    person.press("Enter as Acme")
    person.page.get_by_role("heading", name="Batches").wait_for()


def test_a_page_of_a_rebound_host_name_gets_no_token(browser: Browser, stack: Stack) -> None:
    tab = browser.new_page()
    tab.goto(f"{stack.access['base_url'].replace('127.0.0.1', REBOUND)}/")
    tab.get_by_text("This page may not hand out tokens.").wait_for()
    read = "fetch('/_local/entry').then(async (answer) => [answer.status, await answer.text()])"
    status, text = tab.evaluate(read)
    assert (status, "token" in text) == (403, False)
    tab.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_another_page_of_this_machine_gets_no_token(
    browser: Browser, stack: Stack, host: str
) -> None:
    def page(_: object, start: object) -> list[bytes]:
        start("200 OK", [("Content-Type", "text/html")])  # type: ignore[operator]
        return [b"<!doctype html><title>another page</title>"]

    server = ThreadedServer(page, free_port())
    try:
        tab = browser.new_page()
        tab.goto(server.url.replace("127.0.0.1", host))
        url = f"{stack.access['base_url']}/_local/entry"
        for mode in ("cors", "no-cors"):
            read = "fetch(url, {mode}).then((answer) => answer.text(), () => '')"
            script = f"([url, mode]) => {read}"
            assert "token" not in tab.evaluate(script, [url, mode])
        tab.close()
    finally:
        server.stop()
