"""The search for words in the prompts of the biggest client."""

from collections.abc import Callable
from typing import Any, LiteralString

from bench.big_database import BIGGEST_CLIENT, BigDatabase, WithoutRowSecurity, client, user_of
from bench.measure import CannotRun, Row, Sample, compare, interleave, timed
from masstock.database import connection
from masstock.database.connection import Executor
from masstock.database.queries import library
from masstock.database.queries.library import ResultPage
from masstock.errors import retryable_codes

PAGE = 50
ROUNDS, TIMES = 40, 3
# Words by how often they are in the prompts of `big_database.sql`.
WORDS = {
    "every prompt": "sunglasses",
    "1 % of them": "watercolor",
    "half of the older half": "dusk",
    "three batches of 100 days ago": "spaceship",
    "few prompts": "4711",
    "no prompt": "absent",
    "every prompt and 1 % of them": "sunglasses watercolor",
}
FILTERS = ("status", "workflow_id", "execution_id", "client_id", "custom_id", "model")
PERIOD = ("created_from", "created_to")
OWNERS_SEARCH: LiteralString = """
    SELECT p.created_at, p.execution_id, p.batch_index FROM public.workflow_batch_results p
    WHERE p.client_id = %(own_client)s AND p.owners_words @@ plainto_tsquery('simple', %(q)s)
    ORDER BY p.created_at DESC, p.execution_id DESC, p.batch_index DESC LIMIT %(limit)s
"""


class OwnersSearch(WithoutRowSecurity):
    """The api's statement, which finds the page with the owner's own index."""

    def fetch_all(self, query: LiteralString, **values: object) -> list[connection.Row]:
        """The rows of one statement."""
        return super().fetch_all(query.replace(library.WITH_WORDS, OWNERS_SEARCH), **values)


def measure_library_search(database: BigDatabase, name: str) -> Row:
    """The row of the word with the worst ratio. Its details hold the ratios of all words."""
    database.run_script("big_database_words.sql")
    database.administer("VACUUM (ANALYZE)")
    user_id = user_of(BIGGEST_CLIENT)
    ours = database.reading(user_id)
    owner = OwnersSearch(database.owner, user_id, client(BIGGEST_CLIENT))
    variants: dict[str, Callable[[], Sample]] = {}
    for often, words in WORDS.items():
        if _found(ours, words) != _found(owner, words):
            raise CannotRun(f"the client and the owner found different results of {words}")
        variants[f"ours, {often}"] = _sampler(ours, words)
        variants[f"owner, {often}"] = _sampler(owner, words)
    samples = interleave(ROUNDS, variants, warm_up=3)

    def compared(often: str, **details: Any) -> Row:
        return compare(
            name,
            samples[f"ours, {often}"],
            samples[f"owner, {often}"],
            f"owner without row security, with GIN (words in {often})",
            clock="wall",
            **details,
        )

    rows = {often: compared(often) for often in WORDS}
    worst = max(WORDS, key=lambda often: rows[often].ratio or 0)
    return compared(
        worst,
        ratio_by_word={often: round(row.ratio or 0, 3) for often, row in rows.items()},
        ours_ms_by_word={often: round(row.ours or 0, 3) for often, row in rows.items()},
        owner_ms_by_word={often: round(row.reference or 0, 3) for often, row in rows.items()},
    )


def _found(tx: Executor, words: str) -> list[tuple[object, object]]:
    return [(row["execution_id"], row["batch_index"]) for row in _search(tx, words)]


def _search(tx: Executor, words: str) -> list[connection.Row]:
    filters = {**dict.fromkeys((*FILTERS, *PERIOD)), "q": words}
    return library.list_results(tx, ResultPage(PAGE, retryable_codes(), filters=filters))


def _sampler(tx: Executor, words: str) -> Callable[[], Sample]:
    return lambda: timed(lambda: _search(tx, words), TIMES)
