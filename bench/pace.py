"""Batches under a limit of the provider. The peers are told the limit, our stack is not.

A minute of the lanes is 30 s long, and so is the window of each limit. Every call of the model
takes a second. The figures come from the model's log of calls.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from statistics import median
from typing import Any

from bench import limited_peers, open_lanes, stack
from bench.limited_peers import MODEL_SECONDS, Runs, texts_of
from bench.measure import CannotRun, Row
from bench.model_control import Limit
from bench.pace_figures import Run
from bench.paced_batches import CONCURRENCY, MINUTE_SECONDS, PacedBatches, some_of
from bench.stack import Stack

type Case = tuple[str, tuple[str, ...]]
KINDS = ("fixed_window", "token_bucket", "sliding_window")
HINTS: tuple[tuple[str, ...], ...] = ((), ("retry_info",), ("retry_info", "quota_value"))
FULL_CASES: list[Case] = list(product(KINDS, HINTS))
# Each kind and each hint once.
QUICK_CASES: list[Case] = [(KINDS[1], HINTS[0]), (KINDS[0], HINTS[1]), (KINDS[2], HINTS[2])]
# Google's 429 has both hints.
CONTEST: Case = (KINDS[2], HINTS[2])
BATCH = {"batch": 200}
SHARED = {"batch-a": 40, "batch-b": 40, "batch-c": 40}
NOISE = 60
AHEAD, FEW = 300, 5
# What MasStock promises for the small batch: so many intervals of the limit, and one call.
INTERVALS = 13
OUTAGE_BEGINS_SECONDS = 3
OUTAGE_PROBES = 15
FREE_PAIRS = 5
STEP_SECONDS = 2


def run(names: list[str], *, full: bool) -> Iterator[Row]:
    """The rows `pace_*`."""
    variables = {"PACE_MINUTE_SECONDS": str(MINUTE_SECONDS)}
    with stack.running("pace", concurrency=CONCURRENCY, **variables) as scene:
        rows = _Rows(scene, full=full)
        makers: Mapping[str, Callable[[], Row]] = {
            "pace_share": rows.share,
            "pace_refused": rows.refused,
            "pace_slow": rows.slow,
            "pace_shared": rows.shared,
            "pace_shared_done": rows.shared_done,
            "pace_small": rows.small,
            "pace_noise": rows.noise,
            "pace_outage": rows.outage,
            "pace_outage_done": rows.outage_done,
            "pace_vs_peers": rows.beside_peers,
            "pace_vs_refused": rows.refused_beside_peers,
            "pace_free": rows.free,
        }
        for name in names:
            try:
                yield makers[name]()
            except CannotRun as error:  # the other rows do not need this one
                yield Row(name, None, None, "", "", {}, str(error))


class _Rows:
    """Makes each row. Rows that show two sides of the same run share it."""

    def __init__(self, scene: Stack, *, full: bool) -> None:
        self._scene = scene
        self._ours = PacedBatches(scene)
        self._full = full
        self._runs: dict[object, Any] = {}

    def _once[T](self, key: object, make: Callable[[], T]) -> T:
        if key not in self._runs:
            self._runs[key] = make()
        return self._runs[key]

    def _case(self, case: Case) -> Run:
        return self._once(case, lambda: self._ours.paint(BATCH, _limit(60, case)))

    def _cases(self) -> dict[Case, Run]:
        return {case: self._case(case) for case in (FULL_CASES if self._full else QUICK_CASES)}

    def share(self) -> Row:
        """The worst share beside the least that its kind of 429 allows."""
        runs = self._cases()
        rate = _limit(60, CONTEST).rate
        worst = min(runs, key=lambda case: runs[case].share(rate) / _least_share(case))
        return Row(
            "pace_share",
            runs[worst].share(rate),
            _least_share(worst),
            f"least share, {_name(worst)}",
            "of the limit",
            {
                "runs": {
                    _name(case): {**_figures(run), "share": round(run.share(rate), 3)}
                    for case, run in runs.items()
                }
            },
        )

    def refused(self) -> Row:
        """The worst number of refused calls beside the most that its kind of 429 allows."""
        runs = self._cases()
        worst = max(runs, key=lambda case: runs[case].refused / _most_refused(case))
        return Row(
            "pace_refused",
            runs[worst].refused,
            _most_refused(worst),
            f"most refused, {_name(worst)}",
            "calls of 200",
            {"refused": {_name(case): run.refused for case, run in runs.items()}},
        )

    def slow(self) -> Row:
        """A slow limit without any hint: the prompts with an image."""
        prompts = 100 if self._full else 60
        run = self._ours.paint({"batch": prompts}, _limit(15, (KINDS[2], ())))
        return _done("pace_slow", run)

    def shared(self) -> Row:
        """Jain's index of three batches on one key."""
        run, peers, missing = self._shared()
        return Row(
            "pace_shared",
            run.fairness(),
            1,
            "equal shares",
            "Jain's index",
            {
                **_figures(run),
                "peers": {name: round(peer.fairness(), 3) for name, peer in peers.items()},
                "missing": missing,
            },
        )

    def shared_done(self) -> Row:
        """The prompts with an image of three batches on one key."""
        return _done("pace_shared_done", self._shared()[0])

    def _shared(self) -> tuple[Run, Runs, dict[str, str]]:
        limit = _limit(30, (KINDS[2], HINTS[1]))

        def make() -> tuple[Run, Runs, dict[str, str]]:
            peers, missing = limited_peers.paint(limit, SHARED)
            return self._ours.paint(SHARED, limit), peers, missing

        return self._once("shared", make)

    def small(self) -> Row:
        """The time of a small batch behind a large one on a lane that is paced already."""
        limit = _limit(20, CONTEST)
        times = [self._ours.follow(AHEAD, FEW, limit) for _ in range(3 if self._full else 1)]
        return Row(
            "pace_small",
            median(times),
            INTERVALS / limit.rate + MODEL_SECONDS,
            f"{INTERVALS} intervals and one call",
            "s",
            {"seconds": [round(seconds, 2) for seconds in times], "prompts_ahead": AHEAD},
        )

    def noise(self) -> Row:
        """Scattered refusals without a limit behind them: the time beside that without them."""
        [texts] = texts_of(BATCH).values()
        quiet = self._ours.paint(BATCH)
        noisy = self._ours.paint(BATCH, refused_once=some_of(texts, NOISE))
        return Row(
            "pace_noise",
            noisy.seconds,
            quiet.seconds,
            "the same without refusals",
            "s",
            _figures(noisy),
        )

    def outage(self) -> Row:
        """The calls during five minutes of 503."""
        run = self._outage()
        return Row(
            "pace_outage",
            run.failed,
            CONCURRENCY + OUTAGE_PROBES,
            f"concurrency + {OUTAGE_PROBES}",
            "calls",
            {**_figures(run), "outage_seconds": self._outage_seconds},
        )

    def outage_done(self) -> Row:
        """The prompts with an image after five minutes of 503."""
        return _done("pace_outage_done", self._outage())

    @property
    def _outage_seconds(self) -> int:
        # Five minutes of the lanes, or of the clock.
        return 300 if self._full else 5 * MINUTE_SECONDS

    def _outage(self) -> Run:
        outage = {
            "in_s": OUTAGE_BEGINS_SECONDS,
            "for_s": self._outage_seconds,
            "status": 503,
        }
        return self._once("outage", lambda: self._ours.paint({"batch": 100}, outages=[outage]))

    def beside_peers(self) -> Row:
        """The time beside that of the best peer."""
        run, peers, missing = self._contest()
        complete = {name: peer for name, peer in peers.items() if not peer.lost}
        best = min(complete, key=lambda name: complete[name].seconds)
        return Row(
            "pace_vs_peers",
            run.seconds,
            complete[best].seconds,
            f"{best}, told the limit",
            "s",
            {
                "runs": {name: _course(one) for name, one in {"ours": run, **peers}.items()},
                "step_seconds": STEP_SECONDS,
                "other_kinds": self._other_kinds(),
                "missing": missing,
            },
        )

    def refused_beside_peers(self) -> Row:
        """The refused calls per image. The details have those of the peers."""
        run, peers, missing = self._contest()
        return Row(
            "pace_vs_refused",
            run.refused,
            len(run.images),
            "images",
            "calls",
            {
                "refused_per_image": {
                    name: round(one.refused / len(one.images), 3) for name, one in peers.items()
                },
                "missing": missing,
            },
        )

    def _contest(self) -> tuple[Run, Runs, dict[str, str]]:
        limit = _limit(60, CONTEST)

        def make() -> tuple[Run, Runs, dict[str, str]]:
            peers, missing = limited_peers.paint(limit, BATCH)
            if all(peer.lost for peer in peers.values()):
                raise CannotRun(f"no peer painted the batch: {missing}")
            return self._case(CONTEST), peers, missing

        return self._once("contest", make)

    def _other_kinds(self) -> dict[str, dict[str, Any]]:
        """The peers under the other kinds of limit, at the full size only."""
        kinds = KINDS[:2] if self._full else ()
        return {
            kind: {name: _figures(run) for name, run in peers.items()}
            for kind in kinds
            for peers, _ in [limited_peers.paint(_limit(60, (kind, CONTEST[1])), BATCH)]
        }

    def free(self) -> Row:
        """A batch without a limit, beside the same batch with lanes that do nothing."""
        prompts = 1000 if self._full else 300
        pairs = open_lanes.pairs(self._scene, prompts, FREE_PAIRS)
        ratios = sorted(ours / without for ours, without in pairs)
        quarter = len(ratios) // 4
        return Row(
            "pace_free",
            median(ratios),
            1,
            "lanes that grant at once and write nothing",
            "times the wall",
            {
                "ratio_quartiles": [round(ratios[quarter], 3), round(ratios[-1 - quarter], 3)],
                "seconds": [[round(one, 2) for one in pair] for pair in pairs],
                "prompts": prompts,
            },
        )


def _limit(per_minute: int, case: Case) -> Limit:
    kind, hints = case
    return Limit(per_minute, MINUTE_SECONDS, kind, hints)


def _least_share(case: Case) -> float:
    return 0.95 if case[1] else 0.90


def _most_refused(case: Case) -> int:
    return 8 if "quota_value" in case[1] else 24


def _name(case: Case) -> str:
    kind, hints = case
    return f"{kind}, {' + '.join(hints) or 'no hint'}"


def _done(name: str, run: Run) -> Row:
    return Row(name, run.prompts - run.lost, run.prompts, "prompts", "images", _figures(run))


def _figures(run: Run) -> dict[str, Any]:
    return {
        "seconds": round(run.seconds, 1),
        "images": len(run.images),
        "refused": run.refused,
        "lost": run.lost,
    }


def _course(run: Run) -> dict[str, Any]:
    """The figures of a run, and what happened in each interval of it."""
    return {
        **_figures(run),
        "images_over_time": run.over_time("ok", STEP_SECONDS),
        "refused_over_time": run.over_time("limited", STEP_SECONDS),
    }
