"""Cold starts: the CPU of a whole process that imports a built function and answers one event.

The peers are the floor (json and psycopg, reading the same rows) and FastAPI. All except the floor
first fetch their secrets, as deployed. No connection uses TLS, for any of them.
"""

from collections.abc import Callable, Iterator
from itertools import count
from statistics import median
from typing import Any

from bench import functions, import_profile, stage
from bench.measure import MILLISECONDS, Row, Sample, compare, interleave
from bench.stage import Event, Stage

QUICK_ROUNDS, FULL_ROUNDS = 9, 25
FIRST_PAGE = "/v1/executions?limit=50"


def run(names: list[str], *, full: bool) -> Iterator[Row]:
    """The rows `cold_*`, all measured in the same rounds."""
    with stage.set_up("cold-starts") as scene:
        measured = _functions(scene)
        samples = interleave(FULL_ROUNDS if full else QUICK_ROUNDS, _variants(scene, measured))
        for name in names:
            mine = name.removeprefix("cold_").removesuffix("_peer")
            reference = "fastapi" if name.endswith("_peer") else "floor"
            details: dict[str, Any] = {
                "wall_ratio": _ratio(samples, mine, reference, "wall"),
                "imports_ratio": _ratio(samples, f"import {mine}", f"import {reference}"),
                "imports_ms": _milliseconds(samples, f"import {mine}"),
            }
            match name:
                case "cold_api":
                    details["shared_secret_ratio"] = _ratio(samples, "shared secret", "floor")
                    details["profile_ms"] = import_profile.of(measured["api"])
                case "cold_api_peer":
                    details["peer_to_floor"] = _ratio(samples, "fastapi", "floor")
                    details["peer_profile_ms"] = import_profile.of(measured["fastapi"])
                case "cold_generate":
                    details["calls_alone_ratio"] = _ratio(samples, "calls alone", "floor")
                    details["ratio_to_calls_alone"] = _ratio(samples, "generate", "calls alone")
                    details["profile_ms"] = import_profile.of(measured["generate"])
            yield compare(
                name,
                samples[mine],
                samples[reference],
                "FastAPI + Mangum" if reference == "fastapi" else "json + psycopg, same query",
                clock="cpu",
                **details,
            )


def _milliseconds(samples: dict[str, list[Sample]], name: str) -> float:
    return round(median(sample.cpu for sample in samples[name]) * MILLISECONDS, 1)


def _ratio(
    samples: dict[str, list[Sample]], mine: str, reference: str, clock: str = "cpu"
) -> float:
    ours, theirs = (
        median(getattr(sample, clock) for sample in samples[name]) for name in (mine, reference)
    )
    return round(ours / theirs, 3)


def _functions(scene: Stage) -> dict[str, functions.Function]:
    return {
        "floor": functions.floor(scene),
        "fastapi": functions.fastapi(scene),
        "api": functions.ours(scene, "ApiFunction"),
        "fanout": functions.ours(scene, "FanoutFunction"),
        "finalize": functions.ours(scene, "FinalizeFunction"),
        "generate": functions.ours(scene, "GenerateFunction"),
        "calls alone": functions.calls_alone(scene),
    }


def _variants(
    scene: Stage, measured: dict[str, functions.Function]
) -> dict[str, Callable[[], Sample]]:
    """What each round runs. Each sample of a function gets its own rows in the database."""
    shared_secret = measured["api"].with_variables(JWT_JWKS_URL="", JWT_SECRET_ID=stage.JWT_SECRET)
    painted = scene.submit("processing", prompts="processing")
    indices = count()
    page = scene.get(FIRST_PAGE)
    page_by_secret = scene.get(FIRST_PAGE, scene.shared_secret_token())

    def start(name: str, event: Callable[[], Event]) -> Callable[[], Sample]:
        return lambda: measured[name].start(event())

    def fanout() -> Event:
        return {"execution_id": str(scene.submit()), "run": 0}

    def finalize() -> Event:
        return {"execution_id": str(scene.submit("processing", prompts="completed")), "run": 0}

    def generate() -> Event:
        return {"execution_id": str(painted), "batch_index": next(indices)}

    return {
        "floor": start("floor", lambda: page),
        "api": start("api", lambda: page),
        "fastapi": start("fastapi", lambda: page),
        "fanout": start("fanout", fanout),
        "finalize": start("finalize", finalize),
        "generate": start("generate", generate),
        "calls alone": start("calls alone", lambda: {"prompt": "a cat wearing sunglasses"}),
        "shared secret": lambda: shared_secret.start(page_by_secret),
        **{f"import {name}": function.start for name, function in measured.items()},
    }
