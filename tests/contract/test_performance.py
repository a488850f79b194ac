"""docs/performance.md, bench/results.json and the plots show the same measurements, and the figures
of paced runs are computed correctly.

The tests read the committed files. A later run replaces the results and can differ.
"""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.catalogue import GOALS, MODULES, TIMELINE, Goal
from bench.measure import Row
from bench.model_control import Call
from bench.pace_figures import Run, jain
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
    names = [module.rpartition(".")[2] for module in MODULES]
    names += [
        f"{module.rpartition('.')[2]}_timeline"
        for module, goals in MODULES.items()
        if TIMELINE in goals
    ]
    for name in ("goals", *names):
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


def paced(*calls: tuple[str, float, str], submitted: float = 100.0) -> Run:
    """A run of two batches of two prompts, begun at 100."""
    batches = {"a": ["a0", "a1"], "b": ["b0", "b1"]}
    return Run(batches, 100.0, submitted, [Call(*call) for call in calls])


def test_the_share_counts_images_until_the_last_call_begins() -> None:
    run = paced(("a0", 101, "ok"), ("a1", 102, "limited"), ("a1", 104, "ok"))
    # Two images in four seconds, in which half a call per second allows two.
    assert run.share(0.5) == 1
    assert run.share(1) == 0.5


def test_the_share_of_a_run_without_a_call_is_nothing() -> None:
    assert paced().share(1) == 0


def test_a_prompt_that_is_painted_twice_is_one_image() -> None:
    run = paced(("a0", 101, "ok"), ("a0", 103, "ok"), ("b1", 104, "ok"))
    assert run.images == {"a0": 101, "b1": 104}
    assert run.share(1) == 0.5


def test_a_prompt_whose_calls_were_all_refused_is_lost() -> None:
    run = paced(("a0", 101, "ok"), ("a1", 102, "limited"), ("b0", 103, "outage"))
    assert (run.lost, run.refused, run.failed) == (3, 1, 1)


@pytest.mark.parametrize(
    ("amounts", "index"),
    [([5, 5, 5], 1), ([7, 0, 0], 1 / 3), ([3, 1], 0.8), ([4], 1)],
)
def test_jains_index_falls_with_the_inequality(amounts: list[float], index: float) -> None:
    assert jain(amounts) == pytest.approx(index)


def test_jains_index_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing was shared"):
        jain([0, 0])


def test_fairness_counts_only_while_every_batch_is_active() -> None:
    run = paced(
        *(("a0", 101, "ok"), ("b0", 104, "ok"), ("b1", 105, "ok"), ("a1", 109, "ok")),
        submitted=102,
    )
    # From 102, when both were submitted, to 105, when b had ended: nothing for a and two for b.
    assert run.fairness() == 0.5


def test_a_batch_that_lost_a_prompt_counts_as_active_to_the_end() -> None:
    run = paced(("a0", 101, "ok"), ("b0", 104, "ok"), ("a1", 109, "ok"))
    assert run.fairness() == pytest.approx(0.9)


def test_calls_are_counted_in_the_interval_in_which_they_begin() -> None:
    run = paced(("a0", 100, "ok"), ("a1", 101.9, "limited"), ("a1", 102, "ok"), ("b0", 105, "ok"))
    assert run.over_time("ok", 2) == [1, 1, 1]
    assert run.over_time("limited", 2) == [1, 0, 0]
