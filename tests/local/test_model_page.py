"""docs/stand-in-model.md describes every control, and its commands work."""

import os
import re
import subprocess
from dataclasses import fields

from local.image_model import batches, limits, outages, rules
from local.image_model.replies import BEHAVIOURS
from local.settings import ROOT
from tests.local.model_calls import running_model

PAGE = (ROOT / "docs/stand-in-model.md").read_text()


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def first_column(table: str) -> set[str]:
    """The names in the first column, without the heading's."""
    cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_the_page_lists_every_behaviour_and_every_member() -> None:
    members, behaviours = section("Rules").split("| `behave` | Answer |")
    assert first_column(members) == rules.MEMBERS
    assert first_column(behaviours) == set(BEHAVIOURS)
    assert first_column(section("Limits")) == limits.MEMBERS
    assert first_column(section("Outages")) == outages.MEMBERS
    assert first_column(section("Jobs")) == {each.name for each in fields(batches.Batches)}


def test_the_page_names_every_kind_of_limit() -> None:
    kinds = next(line for line in section("Limits").splitlines() if line.startswith("| `kind`"))
    assert set(limits.KINDS) <= set(re.findall(r"`(\w+)`: ", kinds))


def test_the_commands_of_the_page_work() -> None:
    address, *commands = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    assert address.startswith("M=")
    printed: list[str] = []
    with running_model() as url:
        for command in commands:
            shell = ["bash", "-euc", command.replace("curl -s ", "curl -sf ")]
            environment = {"PATH": os.environ["PATH"], "M": url}
            run = subprocess.run(shell, env=environment, capture_output=True, check=True, text=True)
            printed.append(run.stdout)
    assert printed == [
        '{"rules": 2, "limits": 0, "outages": 0}',
        '{"rules": 2, "limits": 1, "outages": 0}',
        '{"rules": 2, "limits": 1, "outages": 1}',
        '{"rules": 2, "limits": 1, "outages": 1}',
        '[]{"rules": 0, "limits": 0, "outages": 0}',
    ]
