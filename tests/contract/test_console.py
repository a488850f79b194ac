"""The files of the console: readable modules without a build, and one library with its origin."""

import hashlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONSOLE = ROOT / "functions/api/masstock_api/console"
MODULES = sorted(path for path in CONSOLE.glob("*.js") if path.name != "preact.js")
IMPORT = re.compile(r"""(?:from|import\()\s*"(\./[\w.]+)\"""")
# htm 3.1.1 (Apache-2.0) with Preact 10 (MIT), as npm has it: htm/preact/standalone.module.js.
LIBRARY_SHA256 = "72284e8e9079c87817145df1110f74e8a2aa040b2fc384922e18dfcb46fc1fd7"


def test_the_library_is_the_published_file_and_its_page_says_so() -> None:
    assert hashlib.sha256((CONSOLE / "preact.js").read_bytes()).hexdigest() == LIBRARY_SHA256
    page = (CONSOLE / "README.md").read_text()
    assert all(word in page for word in ("3.1.1", "Apache-2.0", "MIT", LIBRARY_SHA256))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_a_module_is_short_and_says_what_it_is(module: Path) -> None:
    text = module.read_text()
    assert len(text.splitlines()) < 250
    assert text.startswith("// ")
    for name in IMPORT.findall(text):
        # A comment can name types, which are in types.d.ts.
        assert (CONSOLE / name).exists() or name == "./types.js", name


def test_no_file_names_another_host() -> None:
    for path in (*MODULES, CONSOLE / "console.css", CONSOLE / "index.html"):
        hosts = re.findall(r"https?://[\w.]+", path.read_text())
        assert not hosts, path.name


def test_every_module_is_used() -> None:
    wanted = {name for module in MODULES for name in IMPORT.findall(module.read_text())}
    assert {f"./{module.name}" for module in MODULES} - wanted <= {"./main.js"}


def test_every_outcome_has_a_sentence() -> None:
    page = (ROOT / "docs/errors.md").read_text()
    table = page[page.index("## Outcomes of a prompt") : page.index("## What to do about")]
    codes = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    sentences = dict(
        re.findall(r'^  (\w+): "(.+)",$', (CONSOLE / "outcomes.js").read_text(), re.MULTILINE)
    )
    assert codes
    assert set(sentences) == codes
    assert all(one.endswith(".") and len(one) <= 80 for one in sentences.values())
