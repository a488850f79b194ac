"""Warm requests, beside FastAPI and beside psycopg alone.

The rows measure the first page of fifty executions under row level security, the number of network
flights of a read, and the value of fewer flights when the network takes a millisecond each way.
Each function is a running process that is called as Lambda's runtime calls it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from statistics import median
from typing import Any

from bench import functions, stage
from bench.functions import Function, Warm
from bench.measure import CannotRun, Row, Sample, compare, interleave
from bench.stage import Event, Stage
from tests.support.wire import Wire

FIRST_PAGE = "/v1/executions?limit=50"
# Many short rounds: other load on the machine then affects all variants equally.
QUICK_ROUNDS, FULL_ROUNDS = 80, 240
CALLS = 8
# Calls before the first round, to fill the caches of the function and of Postgres.
WARM_UP_CALLS = 100
ONE_WAY_SECONDS = 0.001
WIRED_DATABASE = "the database, through a wire"
FOUR_TRIPS = "psycopg + json.dumps, four trips"


def run(names: list[str], *, full: bool) -> Iterator[Row]:
    """The rows `warm_list`, `warm_list_raw`, `flights` and `rtt`."""
    rounds = FULL_ROUNDS if full else QUICK_ROUNDS
    with stage.set_up("requests") as scene:
        if wanted := [name for name in names if name.startswith("warm_list")]:
            yield from _warm_lists(scene, wanted, rounds)
        if "flights" in names:
            yield _flights(scene)
        if "rtt" in names:
            yield _round_trips(scene, rounds)


def _warm_lists(scene: Stage, names: list[str], rounds: int) -> Iterator[Row]:
    event = scene.get(FIRST_PAGE)
    floor = functions.floor(scene)
    samples = _measure(
        {
            "ours": functions.ours(scene, "ApiFunction"),
            "fastapi": functions.fastapi(scene),
            "floor": floor,
            # A pooler in transaction mode would not allow prepared statements.
            "floor, prepared": floor.with_variables(PREPARE_THRESHOLD="1"),
            "flight": floor.with_variables(ONE_FLIGHT="1"),
        },
        event,
        rounds,
    )
    for name in names:
        reference, told = (
            ("fastapi", "FastAPI + Mangum") if name == "warm_list" else ("floor", FOUR_TRIPS)
        )
        theirs = samples[reference]
        yield compare(
            name,
            samples["ours"],
            theirs,
            told,
            clock="wall",
            flight_alone_ratio=_ratio(samples["flight"], theirs),
            ratio_to_prepared=_ratio(samples["ours"], samples["floor, prepared"]),
        )


def _ratio(ours: Sequence[Sample], theirs: Sequence[Sample]) -> float:
    walls = (median(sample.wall for sample in samples) for samples in (ours, theirs))
    return round(next(walls) / next(walls), 3)


def _measure(
    measured: Mapping[str, Function], event: Event, rounds: int, calls: int = CALLS
) -> dict[str, list[Sample]]:
    """Samples of each function. Raises CannotRun first if their answers differ."""
    with ExitStack() as stack:
        warm = {
            name: stack.enter_context(function.stay([event])) for name, function in measured.items()
        }
        _refuse_differences({name: process.answer() for name, process in warm.items()})
        for process in warm.values():
            process.call(WARM_UP_CALLS)

        def calling(process: Warm) -> Any:
            return lambda: process.call(calls)

        return interleave(rounds, {name: calling(process) for name, process in warm.items()})


def _refuse_differences(answers: Mapping[str, Mapping[str, Any]]) -> None:
    items = {name: _items(answer) for name, answer in answers.items()}
    for name, found in items.items():
        if found != items["ours"]:
            raise CannotRun(f"the answer of {name} differs from ours")


def _items(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of an answer, with parsed times, since the functions write them differently."""
    items: list[dict[str, Any]] = json.loads(answer["body"])["items"]
    for item in items:
        for name, value in item.items():
            if value is not None and name.endswith("_at"):
                item[name] = datetime.fromisoformat(value)
    return items


def _wired(scene: Stage, wire: Wire) -> Function:
    """The api, connected to its database through the proxy."""
    scene.stand_in.secrets[WIRED_DATABASE] = wire.url
    ours = functions.ours(scene, "ApiFunction")
    return ours.with_variables(DATABASE_SECRET_ID=WIRED_DATABASE)


def _flights(scene: Stage) -> Row:
    """Flights per read, without a token's first request, which also records the login."""
    [(execution,)] = scene.execute(
        "SELECT id FROM public.workflow_executions WHERE status = 'completed' AND prompt_count = %s"
        " LIMIT 1",
        [stage.RESULTS],
    )
    paths = {
        "list": FIRST_PAGE,
        "execution": f"/v1/executions/{execution}",
        "results": f"/v1/executions/{execution}/results",
        "me": "/v1/me",
        "workflows": "/v1/workflows",
        "image": f"/v1/executions/{execution}/results/0/image",
    }
    flights: dict[str, float] = {}
    with Wire(scene.urls.api) as wire:
        events = [scene.get(path) for path in paths.values()]
        with _wired(scene, wire).stay(events) as warm:
            warm.answer()
            for position, route in enumerate(paths):
                before = wire.flights
                warm.call(CALLS, position)
                flights[route] = (wire.flights - before) / CALLS
    mean = sum(flights.values()) / len(flights)
    worst = max(flights, key=lambda route: flights[route])
    return Row(
        "flights",
        mean,
        1,
        "one flight a read",
        "flights",
        {"worst": worst, "flights": flights, "connections": wire.connections},
    )


def _round_trips(scene: Stage, rounds: int) -> Row:
    with (
        Wire(scene.urls.api, delay_seconds=ONE_WAY_SECONDS) as ours,
        Wire(scene.urls.api, delay_seconds=ONE_WAY_SECONDS) as theirs,
    ):
        measured = {
            "ours": _wired(scene, ours),
            "floor": functions.floor(scene).with_variables(DATABASE_URL=theirs.url),
        }
        samples = _measure(measured, scene.get(FIRST_PAGE), rounds, CALLS // 2)
    return compare(
        "rtt",
        samples["ours"],
        samples["floor"],
        FOUR_TRIPS,
        clock="wall",
        one_way_ms=ONE_WAY_SECONDS * 1000,
    )
