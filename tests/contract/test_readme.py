"""The README promises only what the Makefile has, and CI runs what it promises."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_make_target_in_the_readme_exists() -> None:
    mentioned = set(re.findall(r"(?:^|`|\()make (?:-s )?([a-z-]+)", README, re.MULTILINE))
    assert {"demo", "up", "down", "token", "test", "check", "migrate", "schema"} <= mentioned
    assert mentioned <= TARGETS


def test_every_room_in_the_readme_exists() -> None:
    table = README.split("## Where does X live?")[1].split("\n## ")[0]
    rooms = re.findall(r"`([a-z_./]+)`", table)
    assert rooms
    assert not [room for room in rooms if not (ROOT / room).exists()]
