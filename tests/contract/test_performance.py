"""docs/performance.md, bench/results.json and the plots show the same measurements.

The tests read the committed files. A later run replaces the results and can differ.
"""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.catalogue import GOALS, MODULES, Goal
from bench.measure import Row
from bench.report import as_result

ROOT = Path(__file__).parents[2]


def committed(path: str) -> str:
    """The committed content of a file. Without a repository, its current content."""
    shown = subprocess.run(
        ["git", "show", f"HEAD:{path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        errors="replace",
    )
    return (ROOT / path).read_text() if shown.returncode else shown.stdout


RESULTS: dict[str, dict[str, Any]] = {
    result["name"]: result for result in json.loads(committed("bench/results.json"))
}
DOCUMENT = committed("docs/performance.md")


def test_every_row_was_measured_against_its_goal() -> None:
    assert list(RESULTS) == list(GOALS)
    for name, result in RESULTS.items():
        assert result["goal"] == GOALS[name].text
        assert result["met"] == (
            result["ratio"] is not None and GOALS[name].is_met(result["ratio"])
        ), name


@pytest.mark.parametrize("name", GOALS)
def test_the_document_quotes_every_measured_row(name: str) -> None:
    [line] = re.findall(rf"^\| `{name}` \|.*$", DOCUMENT, re.MULTILINE)
    _, _, ratio, goal, verdict, *_ = (cell.strip() for cell in line.split("|"))
    result = RESULTS[name]
    assert float(ratio) == pytest.approx(result["ratio"], abs=0.006)
    assert goal.replace("≤", "<=").replace("≥", ">=") == result["goal"]
    assert verdict == ("met" if result["met"] else "missed")


def test_every_missed_goal_is_explained() -> None:
    missed = [name for name, result in RESULTS.items() if not result["met"]]
    _, _, explained = DOCUMENT.partition("## What is missed, and why")
    assert [name for name in missed if f"`{name}`" not in explained] == []


def test_every_plot_exists_and_is_shown() -> None:
    for name in ("goals", *(module.rpartition(".")[2] for module in MODULES)):
        assert committed(f"bench/plots/{name}.png")
        assert f"(../bench/plots/{name}.png)" in DOCUMENT


@pytest.mark.parametrize(
    ("goal", "ratio", "met"),
    [
        ("<= 1.6", 1.6, True),
        ("<= 1.6", 1.601, False),
        (">= 0.85", 0.849, False),
        ("= 1", 1.0, True),
        ("= 1", 1.01, False),
    ],
)
def test_a_goal_is_met_on_the_right_side_of_its_bound(goal: str, ratio: float, met: bool) -> None:
    assert Goal(goal).is_met(ratio) is met


def test_a_row_that_did_not_run_is_not_met_and_has_a_reason() -> None:
    result = as_result(Row("flights", None, None, "", "", {}, "no database"))
    assert (result["ratio"], result["met"], result["reason"]) == (None, False, "no database")
