"""The goals of pacing, on the product's SQL with a simulated clock. `python -m bench.pacing` plays
more runs, and other algorithms beside."""

import random
from collections.abc import Callable, Iterator
from uuid import UUID, uuid4

import psycopg
import pytest

from bench.pacing import cases
from bench.pacing.cases import Figure, Maker
from bench.pacing.lanes import Lanes
from bench.pacing.providers import KINDS, OK, Answer, Limit, limited
from bench.pacing.world import Pacer, World
from tests.support.databases import Urls, connected

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def connection(database: Urls) -> Iterator[psycopg.Connection]:
    with connected(database.worker) as connection:
        yield connection


@pytest.fixture
def lanes(connection: psycopg.Connection) -> Maker:
    def make(rng: random.Random, *, platform: bool = False) -> Pacer:
        return Lanes(connection, uuid4(), owner=None if platform else UUID(int=1))

    return make


@pytest.mark.parametrize(
    "case",
    [
        cases.unknown_limits,
        cases.slow_limits,
        cases.shared_lanes,
        cases.small_batches,
        cases.noise,
        cases.outages,
        cases.lost_feedback,
    ],
    ids=lambda case: case.__name__,
)
def test_the_lanes_reach_their_goals(
    lanes: Maker, case: Callable[[Maker, int], Iterator[Figure]]
) -> None:
    missed = [figure for figure in case(lanes, 1) if not figure.is_met]
    assert not missed


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rounding", ["down", "up"])
def test_a_short_minute_and_waits_of_either_rounding_reach_the_same_share(
    connection: psycopg.Connection, kind: str, rounding: str
) -> None:
    rng = random.Random(3)
    lane = Lanes(connection, uuid4(), owner=UUID(int=1), minute_seconds=20)
    limit = Limit(next(one for one in KINDS if one == kind), 60, 20, offset=7)
    world = World(
        lane, limited(limit, "RetryInfo"), rng, rounding="up" if rounding == "up" else "down"
    )
    world.submit(200)
    world.run()
    assert world.lost == 0
    assert len(world.refused) <= 24
    assert len(world.images) / (3 * world.last_call) >= 0.95


@pytest.mark.parametrize("delay", [None, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_provider_that_refuses_a_third_at_random_has_no_limit(
    connection: psycopg.Connection, seed: int, delay: float | None
) -> None:
    rng = random.Random(seed)
    refusal = Answer("refused", retry_after=delay)
    lane = Lanes(connection, uuid4(), owner=UUID(int=1))
    world = World(lane, lambda *_: refusal if rng.random() < 0.3 else OK, random.Random(seed + 9))
    world.submit(200)
    world.run()
    assert world.lost == 0
    # About twice the time without refusals. A lane that believes in a limit takes minutes.
    assert world.last_call < 40


def test_cancelled_executions_leave_their_share_to_others(
    connection: psycopg.Connection,
) -> None:
    rng = random.Random(4)
    lane = Lanes(connection, uuid4(), owner=UUID(int=1))
    world = World(lane, limited(Limit("sliding_window", 60), "RetryInfo + quotaValue"), rng)
    stays, *ended = (world.submit(300, client=UUID(int=1)) for _ in range(3))
    for execution in ended:
        world.cancel(execution, at=100)
    world.run(until=220)
    before = sum(80 <= time < 100 for time in stays.started)
    after = sum(110 <= time < 210 for time in stays.started)
    assert 4 <= before <= 9
    assert after >= 90
