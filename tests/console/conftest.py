"""A browser, and visitors of the console who note everything that must not happen."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.e2e.conftest import Stack
from tests.support.browser import NoBrowser, launch
from tests.support.visitor import Visitor

type Visit = Callable[..., Visitor]


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def browser(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    try:
        started = launch(playwright, tmp_path_factory.mktemp("browser"))
    except NoBrowser as reason:
        if os.environ.get("CONSOLE_TESTS") == "required":
            pytest.fail(f"The console's tests need a browser: {reason}")
        pytest.skip(f"The console is not tested: {reason}")
    yield started
    started.close()


@pytest.fixture
def visit(browser: Browser, stack: Stack, tmp_path: Path) -> Iterator[Visit]:
    """Opens the console for a visitor. At the end no visitor may have seen a violation."""
    visitors: list[Visitor] = []

    def open_console(who: str | None = "client_a", **options: object) -> Visitor:
        visitors.append(Visitor(browser, stack.access, who, tmp_path, **options))
        return visitors[-1]

    yield open_console
    for visitor in visitors:
        visitor.leave()
