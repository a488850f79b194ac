"""The two analytics reports beside the queries of the seed schema."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, LiteralString

from bench.big_database import ADMINISTRATOR, BigDatabase
from bench.measure import CannotRun, Row, Sample, compare, interleave, timed
from masstock.database.connection import BEGIN_READ_ONLY, COMMIT
from masstock.database.queries import analytics, sweeps
from tests.support.seed_queries import SUCCESS_RATE_BY_CLIENT, TOP_WORKFLOWS

ROUNDS = 15
# The changes of a busy minute: the sweep folds the appended counts once a minute.
CHANGED = 5000


def measure_reports(database: BigDatabase, name: str) -> Row:
    """Both reports ÷ both queries of the seed schema, run by the owner without row security."""
    database.worker.fetch_together([sweeps.fold_counts()])
    database.administer("VACUUM (ANALYZE)")
    folded = _rounds(database)
    # Each change appends two rows: one for the old state, one for the new.
    database.administer(
        """
        UPDATE public.workflow_executions SET duration_seconds = duration_seconds + 1
        WHERE id IN (SELECT id FROM public.workflow_executions
                     WHERE duration_seconds IS NOT NULL LIMIT %(changed)s)
        """,
        changed=CHANGED,
    )
    unfolded = _rounds(database)
    fold = timed(lambda: database.worker.fetch_together([sweeps.fold_counts()]))
    _check(database)

    def compared(samples: dict[str, list[Sample]], **details: Any) -> Row:
        return compare(
            name,
            [_sum(*pair) for pair in zip(samples["clients"], samples["workflows"], strict=True)],
            [_sum(*pair) for pair in zip(samples["success"], samples["top"], strict=True)],
            "the document's two queries, as owner",
            clock="wall",
            **details,
        )

    late = compared(unfolded)
    return compared(
        folded,
        **{
            f"ratio_with_{2 * CHANGED}_unfolded": round(late.ratio or 0, 4),
            "folding_them_ms": round(fold.wall * 1000, 1),
            "clients_ms": _middle(folded["clients"]),
            "workflows_ms": _middle(folded["workflows"]),
            "success_rate_by_client_ms": _middle(folded["success"]),
            "top_workflows_ms": _middle(folded["top"]),
        },
    )


def _rounds(database: BigDatabase) -> dict[str, list[Sample]]:
    _check(database)
    reader = database.reading(ADMINISTRATOR)
    variants: dict[str, Callable[[], Sample]] = {
        "clients": lambda: timed(lambda: analytics.report_clients(reader), 5),
        "success": lambda: timed(lambda: _asked(database, SUCCESS_RATE_BY_CLIENT)),
        "workflows": lambda: timed(lambda: analytics.report_workflows(reader), 5),
        "top": lambda: timed(lambda: _asked(database, TOP_WORKFLOWS)),
    }
    return interleave(ROUNDS, variants)


def _asked(database: BigDatabase, query: LiteralString) -> list[dict[str, Any]]:
    return database.owner.flight([BEGIN_READ_ONLY, (query, {}), COMMIT])[1]


def _check(database: BigDatabase) -> None:
    """Raises CannotRun unless each report equals its query. Names are unique in this database, so
    the comparison can ignore the order of rows with equal counts."""
    reader = database.reading(ADMINISTRATOR)
    pairs: list[tuple[str, LiteralString]] = [
        (analytics.report_clients(reader), SUCCESS_RATE_BY_CLIENT),
        (analytics.report_workflows(reader), TOP_WORKFLOWS),
    ]
    for report, query in pairs:
        if _exactly(json.loads(report, parse_float=Decimal)) != _exactly(_asked(database, query)):
            raise CannotRun("a report differs from the document's query")


def _exactly(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(
        str({key: Decimal(v) if isinstance(v, int) else v for key, v in row.items()})
        for row in rows
    )


def _sum(one: Sample, other: Sample) -> Sample:
    return Sample(one.wall + other.wall, one.cpu + other.cpu)


def _middle(samples: list[Sample]) -> float:
    return round(sorted(samples, key=lambda s: s.wall)[len(samples) // 2].wall * 1000, 2)
