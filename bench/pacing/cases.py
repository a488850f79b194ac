"""What is measured: each case plays runs of one pacer and returns its worst figures."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal, Protocol
from uuid import UUID

from bench.pacing.providers import (
    HINTS,
    KINDS,
    Kind,
    Limit,
    Provider,
    changing,
    choose,
    down,
    limited,
    noisy,
)
from bench.pacing.world import Execution, Pacer, World

PER_MINUTE = 60
INTERVALS = 13
LATENCY_SECONDS = 1.0
CONCURRENCY = 20
OUTAGE = 300


class Maker(Protocol):
    """Makes a pacer for one lane. The platform's lane is fair between clients first."""

    def __call__(self, rng: random.Random, *, platform: bool = False) -> Pacer: ...


@dataclass(frozen=True, slots=True)
class Figure:
    """One result. `worst` of the runs is the most if `goal` is the most that is allowed."""

    name: str
    worst: float
    goal: float
    bound: Literal["at least", "at most"]

    @property
    def is_met(self) -> bool:
        """Does the worst run reach the goal?"""
        return self.worst >= self.goal if self.bound == "at least" else self.worst <= self.goal


def _least(name: str, values: list[float], goal: float) -> Figure:
    return Figure(name, min(values), goal, "at least")


def _most(name: str, values: list[float], goal: float) -> Figure:
    return Figure(name, max(values), goal, "at most")


def _play(
    make: Maker,
    provider: Provider,
    seed: int,
    *,
    prompts: int = 200,
    latency: float = LATENCY_SECONDS,
    killed: float = 0,
) -> World:
    rng = random.Random(seed)
    world = World(make(rng), provider, rng, latency=latency, killed=killed)
    world.submit(prompts)
    world.run()
    return world


def _window(kind: Kind, seed: int, calls: int = PER_MINUTE) -> Limit:
    """A limit per minute. The seed decides in which part of its window a run begins."""
    return Limit(kind, calls, 60, offset=random.Random(seed).uniform(0, 60))


def unknown_limits(make: Maker, seeds: int) -> Iterator[Figure]:
    """200 prompts at 60 a minute, three kinds of limit and three kinds of 429."""
    for hint in HINTS:
        worlds = [
            _play(make, limited(_window(kind, seed), hint), seed)
            for kind, seed in product(KINDS, range(seeds))
        ]
        shares = [len(one.images) / (PER_MINUTE / 60 * one.last_call) for one in worlds]
        yield _least(f"share, {hint}", shares, 0.90 if hint == "nothing" else 0.95)
        refused = [len(one.refused) for one in worlds]
        yield _most(f"refused of 200, {hint}", refused, 8 if "quotaValue" in hint else 24)
        yield _most(f"lost of 200, {hint}", [one.lost for one in worlds], 0)


def slow_limits(make: Maker, seeds: int) -> Iterator[Figure]:
    """100 prompts at 15 a minute, without a hint."""
    worlds = [
        _play(make, limited(_window(kind, seed, 15), "nothing"), seed, prompts=100)
        for kind, seed in product(KINDS, range(seeds))
    ]
    yield _most("lost of 100 at 15 a minute", [one.lost for one in worlds], 0)


def shared_lanes(make: Maker, seeds: int) -> Iterator[Figure]:
    """Three executions of 40 prompts on one key, while all three are active."""
    fairness: list[float] = []
    lost: list[float] = []
    for kind, hint, seed in product(KINDS, HINTS, range(seeds)):
        rng = random.Random(seed)
        world = World(make(rng), limited(_window(kind, seed, 30), hint), rng)
        client = UUID(int=1)
        executions = [world.submit(40, at=0.15 * n, client=client) for n in range(3)]
        world.run()
        lost.append(world.lost)
        until = min(max(one.started) for one in executions)
        fairness.append(jain([sum(0.3 <= t <= until for t in one.started) for one in executions]))
    yield _most("lost of three times 40", lost, 0)
    yield _least("Jain's index of three executions", fairness, 0.95)


def small_batches(make: Maker, seeds: int) -> Iterator[Figure]:
    """Five prompts behind 300 of the same client, on a lane that is paced already."""
    times: list[float] = []
    for kind, hint, seed in product(KINDS, HINTS, range(max(1, seeds // 3))):
        rng = random.Random(seed)
        world = World(make(rng), limited(_window(kind, seed), hint), rng)
        world.submit(300, client=UUID(int=1))
        times.append(_seconds_of_five(world, at=100, client=UUID(int=1)))
    yield _most("seconds of 5 behind 300", times, _allowed(PER_MINUTE))


def platform_lane(make: Maker, seeds: int) -> Iterator[Figure]:
    """200 clients use the platform's lane. One has 10,000 prompts in four executions."""
    times: list[float] = []
    for hint, seed in product(HINTS, range(max(1, seeds // 10))):
        rng = random.Random(seed)
        world = World(make(rng, platform=True), limited(_window(KINDS[1], seed), hint), rng)
        for _ in range(198):
            world.submit(1, at=rng.uniform(0, 20))
        for _ in range(4):
            world.submit(2500, at=10, client=UUID(int=1))
        times.append(_seconds_of_five(world, at=330, client=UUID(int=2)))
    yield _most("seconds of 5 beside 10,000 of another client", times, _allowed(PER_MINUTE))


def noise(make: Maker, seeds: int) -> Iterator[Figure]:
    """60 of 200 calls are refused once at random, without a limit."""
    ratios = []
    for seed in range(seeds):
        refused = choose(random.Random(seed), 200, 60)
        quiet, loud = (_play(make, noisy(which), seed) for which in (set[int](), refused))
        ratios.append((max(loud.images) + 1) / (max(quiet.images) + 1))
    yield _most("time with scattered refusals ÷ without", ratios, 3)


def outages(make: Maker, seeds: int) -> Iterator[Figure]:
    """Five minutes of 503 in the middle of 100 prompts."""
    worlds = [
        _play(make, down(3 * latency, 3 * latency + OUTAGE), seed, prompts=100, latency=latency)
        for latency, seed in product((1, 10), range(seeds))
    ]
    yield _most("lost of 100 in an outage", [one.lost for one in worlds], 0)
    yield _most("calls in an outage", [len(one.failed) for one in worlds], CONCURRENCY + 15)


def changes(make: Maker, seeds: int) -> Iterator[Figure]:
    """60 a minute, after two minutes 20, after six minutes 120."""
    pace: list[float] = []
    refused: list[float] = []
    for kind, hint, seed in product(KINDS, HINTS, range(max(1, seeds // 10))):
        steps = [(0.0, 60), (120.0, 20), (360.0, 120)]
        limits = [(since, _window(kind, seed, calls)) for since, calls in steps]
        world = _play(make, changing(limits, hint), seed, prompts=1200)
        last = world.last_call
        pace.append(sum(last - 130 <= t < last - 10 for t in world.images) / 2)
        refused.append(len(world.refused))
    yield _least("images a minute, long after a limit rose to 120", pace, 0.8 * 120)
    yield _most("refused of 1200 while limits change", refused, 300)


def lost_feedback(make: Maker, seeds: int) -> Iterator[Figure]:
    """A tenth of the invocations dies before it tells the lane anything."""
    lost = [
        _play(make, limited(_window(kind, seed), hint), seed, killed=0.1).lost
        for kind, hint, seed in product(KINDS, HINTS, range(max(1, seeds // 3)))
    ]
    yield _most("lost of 200 if a tenth dies", lost, 0)


CASES: tuple[Callable[[Maker, int], Iterator[Figure]], ...] = (
    unknown_limits,
    slow_limits,
    shared_lanes,
    small_batches,
    platform_lane,
    noise,
    outages,
    changes,
    lost_feedback,
)


def _allowed(per_minute: int) -> float:
    return INTERVALS * 60 / per_minute + LATENCY_SECONDS


def _seconds_of_five(world: World, *, at: float, client: UUID) -> float:
    small: Execution = world.submit(5, at=at, client=client)
    world.run(until=at + 120)
    return max(small.done) - at if len(small.done) == 5 else 120.0


def jain(values: list[int]) -> float:
    """Jain's index of fairness: 1 if all values are equal."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 0.0
