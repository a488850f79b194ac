"""Draws `bench/plots/` from `bench/results.json`. Runs in the peers' environment, which has
matplotlib."""

import json
from itertools import accumulate
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib import ticker

from bench.catalogue import GOALS, MODULES, TIMELINE

BENCH = Path(__file__).parent
PLOTS = BENCH / "plots"
OURS, REFERENCE, MISSED = "#2a6fbb", "#b8bec7", "#c8452f"
# The lines of the peers in a plot over time.
PEERS = ("#3d9a50", "#d98a00", "#8a5fb5", "#7a7f87")
type Result = dict[str, Any]


def overview(results: list[Result]) -> None:
    """Draws every ratio as a share of its goal, with the middle half of its rounds. A point left of
    the line is better than its goal."""
    figure, axes = plt.subplots(figsize=(9, 0.34 * len(results) + 1.2), layout="constrained")
    for height, result in enumerate(reversed(results)):
        share, low, high = (
            against_goal(result, ratio)
            for ratio in (
                result["ratio"],
                *result["details"].get("ratio_quartiles", [result["ratio"]] * 2),
            )
        )
        color = OURS if result["met"] else MISSED
        axes.plot([low, high], [height, height], color=color, linewidth=5, alpha=0.3)
        axes.plot(share, height, "o", color=color)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(
        range(len(results)),
        [f"{r['name']}  {r['ratio']:g} ({r['goal']})" for r in reversed(results)],
        fontsize=9,
    )
    axes.set_xscale("log")
    for set_formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        set_formatter(ticker.FormatStrFormatter("%g"))
    axes.set_xlabel("ratio ÷ goal (logarithmic); left of the line: better than the goal")
    axes.grid(axis="x", alpha=0.3)
    save(figure, "goals")


def against_goal(result: Result, ratio: float) -> float:
    """The ratio as a share of its goal: 1 meets the goal exactly, and less is better."""
    comparison, _, bound = result["goal"].partition(" ")
    return float(bound) / ratio if comparison == ">=" else ratio / float(bound)


def pairs(name: str, results: list[Result]) -> None:
    """Draws ours and the reference for each row, in the row's unit. The tick marks the goal."""
    figure, panels = plt.subplots(
        len(results), 1, figsize=(9, 1.25 * len(results)), layout="constrained", squeeze=False
    )
    for axes, result in zip(panels[:, 0], results, strict=True):
        values = [result["ours"], result["reference"]]
        color = OURS if result["met"] else MISSED
        bars = axes.barh([1, 0], values, color=[color, REFERENCE], height=0.75)
        axes.bar_label(bars, [f" {value:g}" for value in values], fontsize=9)
        goal = result["reference"] * float(GOALS[result["name"]].text.split()[1])
        axes.plot([goal, goal], [0.55, 1.45], color="black", linewidth=2)
        axes.set_yticks([1, 0], ["ours", result["reference_name"]], fontsize=9)
        axes.set_xlim(0, 1.15 * max(*values, goal))
        axes.set_title(f"{result['name']} ({result['unit']})", fontsize=9, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="x", labelsize=8)
    save(figure, name)


def timeline(name: str, result: Result) -> None:
    """Draws the images and the refused calls of each run since its beginning."""
    figure, panels = plt.subplots(2, 1, figsize=(9, 6.5), layout="constrained", sharex=True)
    step = result["details"]["step_seconds"]
    for axes, kind in zip(panels, ("images", "refused"), strict=True):
        colors = iter(PEERS)
        for runner, course in result["details"]["runs"].items():
            counts = list(accumulate(course[f"{kind}_over_time"], initial=0))
            is_ours = runner == "ours"
            axes.plot(
                [step * number for number in range(len(counts))],
                counts,
                label=runner,
                color=OURS if is_ours else next(colors),
                linewidth=3 if is_ours else 1.5,
                linestyle="-" if is_ours else "--",
            )
        axes.set_ylabel({"images": "images", "refused": "refused calls"}[kind])
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(fontsize=9)
    panels[0].set_title(f"{result['name']}: ours and the peers", fontsize=9, loc="left")
    panels[1].set_xlabel("seconds since the submission")
    save(figure, name)


def save(figure: Any, name: str) -> None:
    """Writes the plot without metadata, which would differ between runs."""
    figure.savefig(PLOTS / f"{name}.png", dpi=110, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Replaces the plots of the last run's rows, and the overview if the run measured all rows."""
    PLOTS.mkdir(exist_ok=True)
    results: list[Result] = json.loads((BENCH / "results.json").read_text())
    ran = [result for result in results if result["ratio"] is not None]
    if ran and len(results) == len(GOALS):
        overview(ran)
    for module, goals in MODULES.items():
        if not any(result["name"] in goals for result in results):
            continue
        name = module.rpartition(".")[2]
        (PLOTS / f"{name}.png").unlink(missing_ok=True)
        if found := [result for result in ran if result["name"] in goals]:
            pairs(name, found)
        for result in found:
            if result["name"] == TIMELINE:
                timeline(f"{name}_timeline", result)


if __name__ == "__main__":
    main()
