"""The results of the demo on the terminal: a table, the places of the files, calls to try."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from local.calls import example_calls

ROWS_SHOWN = 30

type Json = dict[str, Any]


def results_table(results: Sequence[Json], width: int) -> Table:
    """Return a table of the first 30 results and every failed one.

    Its caption counts the other results. `width` is the width of the terminal in characters.
    """
    shown = [
        result
        for number, result in enumerate(results)
        if number < ROWS_SHOWN or result["status"] != "completed"
    ]
    hidden = len(results) - len(shown)
    table = Table(caption=f"… and {hidden} more, all completed" if hidden else None)
    table.add_column("#", justify="right")
    table.add_column(
        "Prompt", max_width=min(56, max(20, width - 56)), no_wrap=True, overflow="ellipsis"
    )
    table.add_column("Status")
    table.add_column("Error", max_width=44, overflow="fold")
    table.add_column("ms", justify="right")
    for result in shown:
        style = "green" if result["status"] == "completed" else "red"
        errors = (result.get("error_code"), result.get("error_message"))
        took = result.get("processing_time_ms")
        table.add_row(
            str(result["batch_index"]),
            Text(" ".join(result["prompt_text"].split())),
            Text(result["status"], style),
            Text(": ".join(str(error) for error in errors if error)),
            "" if took is None else f"{took:,}",
        )
    return table


def prices_text(prices: Json) -> str:
    """Return the expected cost of both tiers in words."""
    standard, economy = _dollars(prices["standard"]), _dollars(prices["economy"])
    return f"Expected cost: {standard} standard, {economy} economy"


def saving_text(prices: Json, cost: int | None) -> str:
    """Return the cost in words, and what the standard tier would have cost more."""
    saved = (prices["standard"] or 0) - (cost or 0)
    return (
        f"Cost: {_dollars(cost)} instead of {_dollars(prices['standard'])}; saved {_dollars(saved)}"
    )


def _dollars(microusd: int | None) -> str:
    return "unknown" if microusd is None else f"{microusd / 1e6:.4f} US$"


def print_paths(console: Console, folder: Path, sheet: Path, summary: Path) -> None:
    """Print the places of the files, relative to the current directory if they are below it."""
    here = Path.cwd()
    for label, path in (("images", folder), ("contact sheet", sheet), ("summary", summary)):
        short = path.relative_to(here) if path.is_relative_to(here) else path
        console.print(f"  {label + ':':15}{short}", soft_wrap=True)


def print_calls(console: Console, access: Json, workflow_id: str, api_key: str) -> None:
    """Print curl commands that use the running stack."""
    a, b = (
        f"'Authorization: Bearer {access['tokens'][user]}'" for user in ("client_a", "client_b")
    )
    calls = example_calls(access["base_url"], workflow_id, api_key, a, b)
    console.print(
        "\nThe stack stays up until `make down`."
        f" Submit, wait, fetch the image; client B gets a 404:\n\n{calls}\n",
        markup=False,
        soft_wrap=True,
    )
