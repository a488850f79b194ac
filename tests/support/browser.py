"""The browser of the console's tests: CHROMIUM=path, an installed Chrome, or the Chromium of the
npm package @sparticuz/chromium. It needs no system package."""

import os
import shutil
import subprocess
from pathlib import Path

from playwright.sync_api import Browser, Error, Playwright

from tools.npm import NODE, ROOT, packages

SOURCES = ROOT / "tests/console"
INSTALLED = ("google-chrome", "google-chrome-stable", "chromium", "chromium-browser")
# The package's own arguments contain --disable-web-security, which no user's browser has, so only
# the program is asked for.
DESCRIBE = """
import chromium from "@sparticuz/chromium";
console.log(await chromium.executablePath());
"""
# A host name that leads here, as one does after DNS rebinding.
REBOUND = "rebound.example"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1",
]


class NoBrowser(Exception):
    """No browser runs on this machine."""


def launch(playwright: Playwright, folder: Path) -> Browser:
    """Starts the browser. Unpacks into `folder`. Raises NoBrowser with a reason."""
    named = os.environ.get("CHROMIUM")
    program = named or next(filter(None, map(shutil.which, INSTALLED)), None) or _packaged(folder)
    try:
        return playwright.chromium.launch(
            executable_path=program, args=ARGUMENTS, headless=True, timeout=60_000
        )
    except Error as error:
        raise NoBrowser(f"{program} does not start: {error.message.splitlines()[0]}") from error


def _packaged(folder: Path) -> str:
    try:
        modules = packages(SOURCES)
    except subprocess.CalledProcessError as error:
        raise NoBrowser("npm cannot install the packages of tests/console") from error
    told = subprocess.run(
        [NODE, "--input-type=module", "--eval", DESCRIBE],
        cwd=modules.parent,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    if told.returncode != 0:
        raise NoBrowser(f"@sparticuz/chromium: {told.stderr.strip()[-200:]}")
    return told.stdout.strip()
