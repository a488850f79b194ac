"""Compares pacing algorithms in a simulation: `python -m bench.pacing [--seeds N] [CASE …]`.

The lanes are the SQL functions of the product on a real Postgres. Only the clock, the provider and
the state machine are simulated. The exit status is 1 if the lanes miss a goal.
"""

import argparse
import random
import sys
from uuid import UUID, uuid4

from bench.pacing.cases import CASES, Maker
from bench.pacing.lanes import Lanes, database
from bench.pacing.peers import Aimd, Backoff, EvenSpacing
from bench.pacing.world import Pacer

HEADING = ("figure, worst run", "goal", "lanes", "even spacing", "AIMD", "backoff")
WIDTHS = (48, 16, 10, 12, 10, 10)


def main(arguments: list[str]) -> int:
    """Prints a table. Returns the exit status."""
    names = [case.__name__ for case in CASES]
    parser = argparse.ArgumentParser(prog="python -m bench.pacing")
    parser.add_argument("--seeds", type=int, default=30, help="runs of each kind (default: 30)")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(names))
    options = parser.parse_args(arguments)
    if unknown := set(options.cases) - set(names):
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    wanted = [case for case in CASES if not options.cases or case.__name__ in options.cases]
    _print(HEADING)
    is_met = True
    with database() as connection:

        def lanes(rng: random.Random, *, platform: bool = False) -> Pacer:
            return Lanes(connection, uuid4(), owner=None if platform else UUID(int=1))

        for case in wanted:
            columns = [
                list(case(maker, options.seeds))
                for maker in (lanes, _alone(EvenSpacing), _alone(Aimd), _alone(Backoff))
            ]
            for row in zip(*columns, strict=True):
                ours = row[0]
                is_met &= ours.is_met
                goal = f"{ours.bound} {ours.goal:g}"
                marks = [f"{one.worst:.3g}{'' if one.is_met else ' !'}" for one in row]
                _print((ours.name, goal, *marks))
    print("! misses the goal")
    return 0 if is_met else 1


def _alone(pacer: type[EvenSpacing | Aimd | Backoff]) -> Maker:
    """A pacer that does not distinguish clients."""

    def make(rng: random.Random, *, platform: bool = False) -> Pacer:
        return pacer(rng)

    return make


def _print(cells: tuple[str, ...]) -> None:
    print(*(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
