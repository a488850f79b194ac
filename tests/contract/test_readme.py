"""The README names only targets of the Makefile, and CI runs the commands of the README."""

import re

from tests.support import readme
from tests.support.readme import ROOT

README = readme.README.read_text()
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_make_target_in_the_readme_exists() -> None:
    mentioned = set(re.findall(r"(?:^|`|\()make (?:-s )?([a-z-]+)", README, re.MULTILINE))
    assert {"demo", "up", "down", "token", "test", "check", "migrate", "schema"} <= mentioned
    assert mentioned <= TARGETS


def test_ci_runs_only_commands_of_the_readme() -> None:
    # tests/e2e/test_readme.py runs the other commands.
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


def test_every_room_in_the_readme_exists() -> None:
    table = README.split("## Where does X live?")[1].split("\n## ")[0]
    rooms = re.findall(r"`([a-z_./]+)`", table)
    assert rooms
    assert not [room for room in rooms if not (ROOT / room).exists()]
