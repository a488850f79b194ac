"""What the lanes cost if no provider limits us: batches with the lanes, and with lanes whose
functions in the database grant every call at once and write nothing."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psycopg

from bench import model_control
from bench.measure import CannotRun
from bench.stack import Stack

OPEN_LANES = Path(__file__).with_suffix(".sql")
FUNCTIONS = ["app.enter_lane", "app.leave_lane"]
ENVIRONMENTS = 20


def pairs(scene: Stack, prompts: int, number: int) -> list[tuple[float, float]]:
    """Seconds of a batch with the lanes and of one without them, as often as `number` says. Every
    second pair begins with the batch without them. The model answers at once. Raises CannotRun if
    the database has no lanes."""
    model_control.reset(scene.access["model_url"])
    found: list[tuple[float, float]] = []
    for turn in range(number):
        if turn % 2:
            without = _without(scene, prompts)
            found.append((_paint(scene, prompts), without))
        else:
            found.append((_paint(scene, prompts), _without(scene, prompts)))
    return found


def _paint(scene: Stack, prompts: int) -> float:
    scene.warm(ENVIRONMENTS)
    scene.tell_model(seconds=0)
    return scene.paint(prompts)


def _without(scene: Stack, prompts: int) -> float:
    with _replaced(scene.access["database_url"]):
        return _paint(scene, prompts)


@contextlib.contextmanager
def _replaced(database_url: str) -> Iterator[None]:
    """Replaces the functions of the lanes during the block."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        definitions = connection.execute(
            """
            SELECT pg_get_functiondef(oid) FROM pg_proc
            WHERE oid = ANY (SELECT to_regproc(name) FROM unnest(%s::text[]) AS name)
            """,
            [FUNCTIONS],
        ).fetchall()
        if len(definitions) != len(FUNCTIONS):
            raise CannotRun("the database has no lanes")
        connection.execute(OPEN_LANES.read_bytes())
        try:
            yield
        finally:
            for (definition,) in definitions:
                connection.execute(definition)
