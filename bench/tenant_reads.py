"""The reads of a tenant, under our policies and without policies, and pages deep in a long list."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from statistics import median
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from bench.big_database import (
    ADMINISTRATOR,
    BIGGEST_CLIENT,
    SMALL_CLIENT,
    BigDatabase,
    UnderSeedPolicies,
    WithoutRowSecurity,
    client,
    execution_of,
    user_of,
)
from bench.measure import MILLISECONDS, CannotRun, Row, Sample, compare, interleave, timed
from masstock.database.connection import Executor
from masstock.database.queries import batch_results, executions
from masstock.database.queries.keyset import Page
from masstock.errors import retryable_codes
from tests.support.seed_queries import BATCH_RESULTS, EXECUTIONS_WITH_WORKFLOW

PAGE = 50
DEEP = 50_000
RESULTS = 1000
MAX_PAGE_BYTES = 4 * 1024 * 1024
SEED_ROUNDS = 9
SLOW_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Caller:
    """A user, and the number of the client whose executions the user reads."""

    name: str
    user_id: UUID
    number: int

    @property
    def owner_names(self) -> UUID | None:
        """The client that the owner's query names; None when an administrator reads."""
        return None if self.user_id == ADMINISTRATOR else client(self.number)


CALLERS = (
    Caller("small client", user_of(SMALL_CLIENT), SMALL_CLIENT),
    Caller("biggest client", user_of(BIGGEST_CLIENT), BIGGEST_CLIENT),
    Caller("administrator", ADMINISTRATOR, BIGGEST_CLIENT),
)


def list_page(
    tx: Executor, client_id: UUID | None, before: tuple[datetime, UUID] | None = None
) -> list[str]:
    """Reads a page as the route does, with one extra row that shows if another page follows."""
    names = ("status", "workflow_id", "client_id", "user_id", "created_from", "created_to")
    filters = {**dict.fromkeys(names), "client_id": client_id}
    return executions.list_executions(tx, Page(PAGE, before, filters))


def _read_execution(tx: Executor, execution_id: UUID) -> str:
    """The pace is omitted: the owner has no identity, and so reads no pace."""
    return executions.fetch_execution(tx, execution_id).version


def _list_results(tx: Executor, execution_id: UUID) -> object:
    return batch_results.list_results(
        tx,
        execution_id,
        after=-1,
        limit=RESULTS,
        status=None,
        retryable_codes=retryable_codes(),
        max_bytes=MAX_PAGE_BYTES,
    )


class Question(NamedTuple):
    """One read: its function, the number of rounds, and the calls per round (more if it is quick).

    `ask` gets the connection, the caller and the client that the query names. `document` is the
    seed schema's query for the same rows.
    """

    ask: Callable[[Executor, Caller, UUID | None], object]
    rounds: int
    times: int
    document: Callable[[Executor, Caller], object] | None = None


def _document_list(tx: Executor, caller: Caller) -> object:
    return tx.fetch_all(
        EXECUTIONS_WITH_WORKFLOW.replace("$1", "%(client_id)s"), client_id=client(caller.number)
    )


def _document_results(tx: Executor, caller: Caller) -> object:
    return tx.fetch_all(
        BATCH_RESULTS.replace("$1", "%(execution_id)s"),
        execution_id=execution_of(caller.number, RESULTS),
    )


QUESTIONS = {
    "rls_list": Question(
        lambda tx, _, named: list_page(tx, named), 60, 10, document=_document_list
    ),
    "rls_one": Question(
        lambda tx, caller, _: _read_execution(tx, execution_of(caller.number, 10)),
        60,
        20,
    ),
    "rls_results": Question(
        lambda tx, caller, _: _list_results(tx, execution_of(caller.number, RESULTS)),
        40,
        2,
        document=_document_results,
    ),
    "rls_progress": Question(
        lambda tx, caller, _: _read_execution(tx, execution_of(caller.number, 10_000)),
        40,
        2,
    ),
}


def measure_question(database: BigDatabase, name: str) -> Row:
    """The row of the caller with the worst ratio. Its details hold the ratios of all callers."""
    question = QUESTIONS[name]
    variants: dict[str, Callable[[], Sample]] = {}
    for caller in CALLERS:
        ours = database.reading(caller.user_id)
        owner = WithoutRowSecurity(database.owner, caller.user_id, caller.owner_names)
        without_lookup = WithoutRowSecurity(
            database.owner, caller.user_id, caller.owner_names, signs_in=False
        )
        if question.ask(ours, caller, None) != question.ask(owner, caller, caller.owner_names):
            raise CannotRun(f"the {caller.name} and the owner got different answers")
        variants[f"ours, {caller.name}"] = _sampler(question, ours, caller, None)
        variants[f"owner, {caller.name}"] = _sampler(question, owner, caller, caller.owner_names)
        variants[f"owner without lookup, {caller.name}"] = _sampler(
            question, without_lookup, caller, caller.owner_names
        )
    samples = interleave(question.rounds, variants, warm_up=3)

    def compared(caller: Caller, reference: str = "owner", **details: Any) -> Row:
        return compare(
            name,
            samples[f"ours, {caller.name}"],
            samples[f"{reference}, {caller.name}"],
            f"owner without row security ({caller.name})",
            clock="wall",
            **details,
        )

    rows = {caller.name: compared(caller) for caller in CALLERS}
    worst = max(CALLERS, key=lambda caller: rows[caller.name].ratio or 0)
    return compared(
        worst,
        ratio_by_caller={who: round(row.ratio or 0, 3) for who, row in rows.items()},
        ratio_where_the_owner_looks_no_user_up={
            caller.name: round(compared(caller, "owner without lookup").ratio or 0, 3)
            for caller in CALLERS
        },
        ours_ms_by_caller={who: round(row.ours or 0, 3) for who, row in rows.items()},
        **_beside_seed_policies(database, question, rows),
    )


def _sampler(
    question: Question, tx: Executor, caller: Caller, named: UUID | None
) -> Callable[[], Sample]:
    return lambda: timed(lambda: question.ask(tx, caller, named), question.times)


def _beside_seed_policies(
    database: BigDatabase, question: Question, rows: Mapping[str, Row]
) -> dict[str, Any]:
    """Under the seed schema's policies ÷ as the owner: the same statement, and the seed schema's
    query. Measured outside of the rounds, because some take very long."""
    statement: dict[str, object] = {}
    document: dict[str, object] = {}
    for caller in CALLERS:
        tx = UnderSeedPolicies(database.seed_tenant, caller.user_id, caller.owner_names)
        owner = WithoutRowSecurity(database.owner, caller.user_id, caller.owner_names)
        taken = _milliseconds(partial(question.ask, tx, caller, caller.owner_names))
        statement[caller.name] = _quotient(taken, rows[caller.name].reference)
        if question.document is not None:
            document[caller.name] = _quotient(
                _milliseconds(partial(question.document, tx, caller)),
                _milliseconds(partial(question.document, owner, caller)),
            )
    figures = {"seed_policies_to_owner": statement}
    if document:
        figures["seed_policies_to_owner_documents_query"] = document
    return figures


def _milliseconds(ask: Callable[[], object]) -> float | None:
    """The median of a few calls; None if the statement exceeds its timeout."""
    try:
        samples = [timed(ask)]
        # A connection's first call also reads the catalogue. In a slow call that does not matter.
        if samples[0].wall < SLOW_SECONDS:
            samples = [timed(ask) for _ in range(SEED_ROUNDS)]
    except psycopg.errors.QueryCanceled:
        return None
    return median(sample.wall for sample in samples) * MILLISECONDS


def _quotient(taken: float | None, reference: float | None) -> float | str:
    if taken is None:
        return "over 10 s"
    return round(taken / reference, 1) if reference else "–"


def measure_deep_page(database: BigDatabase, name: str) -> Row:
    """The page that begins at row 50,000 of the biggest client ÷ its first page."""
    reader = database.reading(user_of(BIGGEST_CLIENT))
    [(created_at, row_id)] = database.administer(
        """
        SELECT created_at, id FROM public.workflow_executions WHERE client_id = %(client_id)s
        ORDER BY created_at DESC, id DESC OFFSET %(row)s LIMIT 1
        """,
        client_id=client(BIGGEST_CLIENT),
        row=DEEP - 1,
    )
    before = (created_at, row_id)
    if len(list_page(reader, None, before)) != PAGE + 1:
        raise CannotRun(f"there is no full page at row {DEEP}")
    samples = interleave(
        60,
        {
            "deep": lambda: timed(lambda: list_page(reader, None, before), 10),
            "first": lambda: timed(lambda: list_page(reader, None), 10),
        },
        warm_up=3,
    )
    return compare(name, samples["deep"], samples["first"], "its first page", clock="wall")
