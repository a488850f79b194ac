"""A person in front of the console. Notes requests to strangers, violations of the content security
policy, and errors in the browser's log."""

import json
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, Route

from tests.e2e.conftest import WORKFLOW
from tools.npm import ROOT, packages

SHOTS = ROOT / ".local/console"
WAIT_MS = 30_000
# Counts what the policy stops, in every document before its first script.
COUNT_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
"""


@cache
def _axe() -> str:
    return (packages(ROOT / "tests/console") / "axe-core/axe.min.js").read_text()


class Visitor:
    """A page of the console. `expects` are the statuses that the flow provokes."""

    def __init__(
        self,
        browser: Browser,
        access: dict[str, Any],
        who: str | None,
        folder: Path,
        *,
        at: str = "",
        expects: tuple[int, ...] = (),
        origins: tuple[str, ...] = (),
        width: int = 1440,
        height: int = 900,
        dark: bool = False,
        touch: bool = False,
    ) -> None:
        self.base = access["base_url"]
        self.folder = folder
        self._expects = expects
        self._origins = {self.base, access["s3_endpoint"], *origins}
        self.mistakes: list[str] = []
        self._context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            has_touch=touch,
            is_mobile=touch,
            accept_downloads=True,
        )
        self._context.set_default_timeout(WAIT_MS)
        self._context.add_init_script(COUNT_VIOLATIONS)
        # Other tests of the stack make workflows too.
        draft = json.dumps(json.dumps({"workflow": WORKFLOW}))
        self._context.add_init_script(f"sessionStorage.draft ??= {draft}")
        if who is not None:
            token = access["tokens"].get(who, who)
            # Only once: an ended session must not come back with a reload.
            begin = f"sessionStorage.setItem('token', {json.dumps(token)})"
            self._context.add_init_script(f"sessionStorage.begun ??= ({begin}, 'yes')")
        self.page = self.tab(at)

    def tab(self, at: str = "") -> Page:
        """Opens another tab at a view."""
        page = self._context.new_page()
        page.on("console", self._on_log)
        page.on("pageerror", lambda error: self.mistakes.append(f"error: {error}"))
        page.on("request", self._on_request)
        page.goto(f"{self.base}/{f'#/{at}' if at else ''}")
        return page

    def _on_log(self, message: ConsoleMessage) -> None:
        if message.type != "error":
            return
        provoked = any(f"status of {status}" in message.text for status in self._expects)
        offline = "ERR_INTERNET_DISCONNECTED" in message.text and 0 in self._expects
        if not provoked and not offline:
            self.mistakes.append(message.text)

    def _on_request(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme in ("http", "https") and f"{url.scheme}://{url.netloc}" not in self._origins:
            self.mistakes.append(f"request: {request.url}")

    def see(self, text: str, *, exact: bool = False) -> Locator:
        """Waits until the text is on the page."""
        found = self.page.get_by_text(text, exact=exact).first
        found.wait_for()
        return found

    def press(self, name: str, *, exact: bool = False) -> None:
        """Clicks a button, a link or a tab by its name."""
        buttons = self.page.get_by_role("button", name=name, exact=exact)
        links = self.page.get_by_role("link", name=name, exact=exact)
        buttons.or_(links).first.click()

    def write(self, label: str, text: str) -> None:
        """Fills a field."""
        self.page.get_by_label(label, exact=True).fill(text)

    def offline(self, is_offline: bool) -> None:
        """Cuts or restores the network."""
        self._context.set_offline(is_offline)

    def hold(self, pattern: str) -> list[Route]:
        """Keeps back the requests to these addresses. Returns them in the order of arrival."""
        waiting: list[Route] = []

        def keep(route: Route) -> None:
            waiting.append(route)

        self.page.route(pattern, keep)
        return waiting

    def lose_one(self, pattern: str) -> None:
        """Cuts the network for one request to these addresses."""
        self.page.route(pattern, lambda route: route.abort("internetdisconnected"), times=1)

    def picture(self, index: int) -> Locator:
        """The picture of a tile, as soon as it is shown."""
        image = self.page.locator(f'[data-index="{index}"] img.here')
        image.wait_for()
        return image

    def check(self, name: str) -> None:
        """Takes a screenshot for eyes. Notes violations of the accessibility rules, and a page that
        is wider than its window."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png")
        if self.page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            self.mistakes.append(f"{name} is wider than the window")
        self.page.evaluate(_axe())
        found = self.page.evaluate("axe.run()")
        for violation in found["violations"]:
            nodes = "; ".join(node["html"][:200] for node in violation["nodes"][:3])
            self.mistakes.append(f"axe in {name}: {violation['id']}: {nodes}")

    def leave(self) -> None:
        """Closes the tabs. Fails if something happened that must not happen."""
        self._context.close()
        assert not self.mistakes, "\n".join(self.mistakes)
