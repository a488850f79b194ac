"""README, CONTRIBUTING and the docs name only targets, files and headings that exist."""

import re
import tomllib
from pathlib import Path

import pytest

from local.__main__ import announce
from tests.support import readme
from tests.support.readme import ROOT

README = readme.README.read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob(".github/*.md")])


def targets_in(page: str) -> set[str]:
    return set(re.findall(r"(?:^|`|\()make (?:-s )?([a-z-]+)", page, re.MULTILINE))


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_make_target_in_the_readme_exists() -> None:
    mentioned = targets_in(README)
    assert {"demo", "up", "down", "token", "test", "check", "migrate", "schema"} <= mentioned
    assert mentioned <= TARGETS


def test_every_make_target_in_contributing_exists() -> None:
    mentioned = targets_in(CONTRIBUTING)
    assert {"test-unit", "test", "check", "schema", "openapi"} <= mentioned
    assert mentioned <= TARGETS


def test_ci_runs_commands_of_the_readme_and_no_others() -> None:
    # The rest is run by tests/e2e/test_readme.py.
    assert set(readme.ci_commands()) == {
        "make check",
        "make demo",
        "make test",
        "make test-crash",
        "make bench NAME=flights",
    }
    assert set(readme.ci_commands()) <= set(readme.commands())


def test_every_command_block_in_the_readme_is_marked() -> None:
    assert readme.unmarked_commands() == []


def test_the_readmes_commands_for_sam_are_those_that_make_sam_local_prints(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """They need Docker, so they are no `sh` block that tests/e2e/test_readme.py runs."""
    announce("http://127.0.0.1:1", Path(".local/sam/build/sam-local.yaml"))
    printed = [line for line in capsys.readouterr().out.splitlines() if "-t " in line]
    assert len(printed) == 2
    assert [line for line in README.splitlines() if line.startswith("    sam ")] == [
        f"    {line}" for line in printed
    ]


def test_every_room_in_the_readme_exists() -> None:
    table = README.split("## Where does X live?")[1].split("\n## ")[0]
    rooms = re.findall(r"`([a-z_./]+)`", table)
    assert rooms
    assert not [room for room in rooms if not (ROOT / room).exists()]


def test_every_file_in_contributing_exists() -> None:
    files = set(re.findall(r"[\w.]+/[\w./]+\w", CONTRIBUTING))
    assert files
    # The tests write below .local.
    missing = [file for file in files if not (ROOT / file).exists()]
    assert not [file for file in missing if not file.startswith(".local/")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors_of(target), link


def test_the_changelog_has_the_version_and_a_place_for_the_next_one() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    sections = re.findall(r"^## (\S+)", CHANGELOG, re.MULTILINE)
    assert sections[:2] == ["Unreleased", version]
