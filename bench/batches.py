"""Whole batches over HTTP: the time that the stack adds to the model's time, per batch and per
prompt. The peers are queues that paint the same batch with the same stand-ins for the model and S3.

The stand-in model makes real PNGs, 6 ms of CPU each, for our stack and for the peers. The peers
store images over plain HTTP without signatures, which is less work than on AWS.
"""

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

from bench import queues, redis, stack
from bench.measure import CannotRun, Row
from bench.processes import cpu_by_kind
from bench.queues import Peer, Queue
from bench.stack import Stack

# The time of one image in the seed's sample.
MODEL_SECONDS = 3.5
CONCURRENCY = 20
PROMPTS = 100
MODEL_ALONE = PROMPTS / CONCURRENCY * MODEL_SECONDS
# A batch that is large enough to give every worker of a peer a task.
WARM_UP = 40
QUICK_ROUNDS, FULL_ROUNDS = 2, 5
QUICK_PROMPTS, FULL_PROMPTS = 300, 1000

type Walls = dict[str, list[float]]


def run(names: list[str], *, full: bool) -> Iterator[Row]:
    """The rows `batch_*` and `fanout_overhead`."""
    rounds = FULL_ROUNDS if full else QUICK_ROUNDS
    prompts = FULL_PROMPTS if full else QUICK_PROMPTS
    redis_url = ""
    walls: Walls = {}
    peers, missing = (
        queues.find(queues.PEERS_BY_NAME) if names != ["batch_efficiency"] else ({}, {})
    )
    with contextlib.ExitStack() as resources:
        if peers:
            try:
                redis_url = resources.enter_context(redis.running())
            except CannotRun as error:
                missing |= dict.fromkeys(peers, str(error))
                peers = {}
        scene = resources.enter_context(stack.running("batches", concurrency=CONCURRENCY))
        contest = _Contest(scene, peers, redis_url)
        if {"batch_efficiency", "batch_vs_peers"} & set(names):
            walls = contest.slow_batches(rounds, alone="batch_vs_peers" not in names)
        for name in names:
            match name:
                case "batch_efficiency":
                    yield _efficiency(walls["ours"])
                case "batch_vs_peers":
                    yield _beside_peers(walls, peers, missing)
                case "fanout_overhead":
                    if "celery" not in peers:
                        raise CannotRun(f"without Celery: {missing.get('celery')}")
                    yield contest.quick_batches(rounds, prompts)


class _Contest:
    """Our stack and the peers, which all call the same stand-in model."""

    def __init__(self, scene: Stack, peers: dict[str, Peer], redis_url: str) -> None:
        self._scene = scene
        self._peers = peers
        access = scene.access
        self._variables = {
            "REDIS_URL": redis_url,
            "MODEL_URL": access["model_url"],
            "BUCKET_URL": f"{access['s3_endpoint']}/{access['bucket']}",
        }

    def slow_batches(self, rounds: int, *, alone: bool) -> Walls:
        """Seconds of whole batches with a slow model, by name. Each runs once per round."""
        walls: Walls = {}

        def ours() -> None:
            self._scene.warm(CONCURRENCY)
            self._scene.tell_model(seconds=MODEL_SECONDS)
            walls.setdefault("ours", []).append(self._scene.paint(PROMPTS))

        def theirs(name: str, queue: Queue) -> None:
            self._scene.tell_model(seconds=MODEL_SECONDS)
            walls.setdefault(name, []).append(queue.run("paint", PROMPTS))

        self._in_turn(rounds, ours, theirs, {} if alone else self._peers)
        return walls

    def quick_batches(self, rounds: int, prompts: int) -> Row:
        """The row for a model that answers immediately: only the overhead is left."""
        walls: Walls = {}
        spent: defaultdict[str, float] = defaultdict(float)

        def note(name: str, seconds: float) -> None:
            walls.setdefault(name, []).append(seconds / prompts * 1000)

        def ours() -> None:
            self._scene.warm(CONCURRENCY)
            self._scene.tell_model(seconds=0)
            supervisor = self._scene.access["pid"]
            before = cpu_by_kind(supervisor)
            note("ours", self._scene.paint(prompts))
            for kind, seconds in cpu_by_kind(supervisor).items():
                spent[kind] += seconds - before.get(kind, 0)

        def theirs(name: str, queue: Queue) -> None:
            self._scene.tell_model(seconds=0)
            note(name, queue.run("paint", prompts))
            note(f"{name}_nothing", queue.run("nothing", prompts))

        self._in_turn(rounds, ours, theirs, self._peers)
        middle = {name: median(found) for name, found in walls.items()}
        per_item = 1000 / (prompts * rounds)
        return Row(
            "fanout_overhead",
            middle.pop("ours"),
            middle["celery"],
            "Celery chord, same model and S3",
            "ms per prompt",
            {
                "prompts": prompts,
                "rounds": rounds,
                "peers_ms": {name: round(found, 2) for name, found in middle.items()},
                "cpu_ms": {
                    kind: round(seconds * per_item, 2) for kind, seconds in sorted(spent.items())
                },
            },
        )

    def _in_turn(
        self,
        rounds: int,
        ours: Callable[[], None],
        theirs: Callable[[str, Queue], None],
        peers: dict[str, Peer],
    ) -> None:
        """Runs each once per round, in an order that rotates. A peer's processes run only while it
        is measured."""
        names = ["ours", *peers]
        for number in range(rounds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                if name == "ours":
                    ours()
                    continue
                # A short warm-up.
                self._scene.tell_model(seconds=0.2)
                with queues.running(name, peers[name], self._variables) as queue:
                    queue.run("paint", WARM_UP)
                    theirs(name, queue)


def _efficiency(walls: list[float]) -> Row:
    return Row(
        "batch_efficiency",
        PROMPTS / median(walls),
        PROMPTS / MODEL_ALONE,
        "the model alone",
        "img/s",
        {"seconds": _rounded(walls), "model_alone_seconds": MODEL_ALONE},
    )


def _beside_peers(walls: Walls, peers: dict[str, Peer], missing: dict[str, str]) -> Row:
    if not peers:
        raise CannotRun(f"no peer can run here: {missing}")
    middle = {name: median(walls[name]) for name in peers}
    best = min(middle, key=lambda name: middle[name])
    details: dict[str, Any] = {
        "seconds": {name: _rounded(found) for name, found in walls.items()},
        "versions": {
            name: version for peer in peers.values() for name, version in peer.versions.items()
        },
        "missing": missing,
    }
    return Row("batch_vs_peers", median(walls["ours"]), middle[best], best, "s", details)


def _rounded(seconds: list[float]) -> list[float]:
    return [round(value, 2) for value in seconds]
