"""docs/compatibility.md names the versions of the lock files, and tests that exist."""

import re

import pytest

from tests.contract.test_locks import requirements
from tests.support.readme import ROOT

DOCUMENT = (ROOT / "docs/compatibility.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in DOCUMENT.splitlines()
    if line.startswith("| ") and not line.startswith("| Software")
]
OTHERS = {"Python": (ROOT / ".python-version").read_text().strip()}


def test_the_tables_have_rows() -> None:
    assert len(ROWS) > 20
    assert {len(row) for row in ROWS} == {5}


@pytest.mark.parametrize("name", sorted({row[0] for row in ROWS}))
def test_a_version_is_that_of_the_lock_file(name: str) -> None:
    locked = OTHERS | requirements(ROOT / "requirements-dev.txt")
    stated = {row[1] for row in ROWS if row[0] == name}
    assert stated == {locked.get(name, locked.get(name.lower(), "–"))}


@pytest.mark.parametrize("test", [row[4].strip("`") for row in ROWS])
def test_a_named_test_exists(test: str) -> None:
    path, _, function = test.partition("::")
    assert re.search(rf"^def {function}\(", (ROOT / path).read_text(), re.MULTILINE), test
