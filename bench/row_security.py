"""The cost of row security with a thousand clients. Also pages, reports, fan-outs and searches,
which a long history must not slow down."""

from collections.abc import Callable, Iterator

from bench.big_database import FULL, QUICK, BigDatabase, big_database
from bench.fan_outs import measure_insert
from bench.library_search import measure_library_search
from bench.measure import Row
from bench.reports import measure_reports
from bench.tenant_reads import measure_deep_page, measure_question

MEASURES: dict[str, Callable[[BigDatabase, str], Row]] = {
    "rls_list": measure_question,
    "rls_one": measure_question,
    "rls_results": measure_question,
    "rls_progress": measure_question,
    "deep_page": measure_deep_page,
    "analytics": measure_reports,
    "rls_insert": measure_insert,
    # It changes the database, so it is the last.
    "library_search": measure_library_search,
}


def run(names: list[str], *, full: bool) -> Iterator[Row]:
    """The named rows, on one new database."""
    with big_database(FULL if full else QUICK) as database:
        for name in names:
            yield MEASURES[name](database, name)
