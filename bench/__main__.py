"""Measures our functions beside their peers in one run: `python -m bench [--full] [ROW …]`.

Prints a table (ours, peer, ratio, goal, verdict), draws `bench/plots/`, and replaces
`bench/results.json` and `bench/machine.json`. These files hold the rows of this run only. The exit
status is 1 if a row did not run. A missed goal does not change it, because machines are noisy.
"""

import argparse
import importlib
import sys
import time
import traceback
from collections.abc import Iterator

from bench import environment, plots, report
from bench.catalogue import GOALS, MODULES
from bench.measure import CannotRun, Row


def main(arguments: list[str]) -> int:
    """Runs the rows and writes the results; returns the exit status."""
    parser = argparse.ArgumentParser(prog="make bench", description="Ours beside the peers.")
    parser.add_argument("--full", action="store_true", help="use the full sizes; may take an hour")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="rows to measure (default: all)")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.rows if name not in GOALS]:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(GOALS)}")
    wanted = options.rows or list(GOALS)
    began = time.monotonic()
    rows: list[Row] = []
    print(report.HEADING, flush=True)
    for module, goals in MODULES.items():
        if names := [name for name in goals if name in wanted]:
            for row in measured(module, names, full=options.full):
                rows.append(row)
                print(report.line(row), flush=True)
    seconds = time.monotonic() - began
    report.write(rows, full=options.full, seconds=seconds, peers=environment.versions())
    plots.draw()
    print(f"{len(rows)} rows in {seconds:.0f} s; {report.RESULTS}, bench/plots/")
    return any(row.ratio is None for row in rows)


def measured(module: str, names: list[str], *, full: bool) -> Iterator[Row]:
    """Yields the rows of one module. A row that could not be measured carries the reason."""
    missing = dict.fromkeys(names)
    reason = "the module did not measure it"
    try:
        for row in importlib.import_module(module).run(names, full=full):
            missing.pop(row.name, None)
            yield row
    except CannotRun as error:
        reason = str(error)
    except Exception as error:  # the other modules still run
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"
    for name in missing:
        yield Row(name, None, None, "", "", {}, reason)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
