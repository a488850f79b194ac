"""What lanes bear: rows that are missing or nonsense, callers at the same moment, other roles."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from tests.support.databases import Urls, connected
from tests.support.lanes import BEGAN, CLIENT, Lane

pytestmark = pytest.mark.timeout(120)

A = UUID(int=10)
NUMBERS = [None, -1, 0, float("nan"), float("inf"), -float("inf"), 1e300, 1e-300]
TIMES = [
    None,
    "infinity",
    "-infinity",
    datetime(2999, 1, 1, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=UTC),
]
COUNTS = [None, -1, 0, 2**31 - 1, -(2**31)]
NONSENSE = {
    "limit_per_minute": COUNTS[:3],
    "learned_per_minute": NUMBERS[:7],
    "refused_per_minute": NUMBERS,
    "minute_seconds": NUMBERS,
    "learned_at": TIMES,
    "due_at": TIMES,
    "starts": [None, [], [1], [None] * 60, [2**31 - 1] * 60, [-5] * 60, [[1, 2], [3, 4]]],
    "last_start": [None, -1, 2**63 - 1, -(2**63)],
    "suspicion": COUNTS,
    "doubtful": [None, [], [None], ["infinity"], ["-infinity"] * 200],
    "refusal_seconds": NUMBERS,
    "closed_by": [None, "", "nobody", "provider_limit", "outage"],
    "closed_since": TIMES,
    "closed_until": TIMES,
    "probe_at": TIMES,
    "probe_prompt": [None, "", "x" * 100],
    "failed_prompts": [None, [], [None], ["x"] * 9],
    "failed_at": TIMES,
    "successes": [None, -1, 2**63 - 1, -(2**63)],
    "last_success_at": TIMES,
    "provider": [None, ""],
    "model": [None, ""],
    "client_id": [None],
}
TURNS = {
    "turns": NUMBERS,
    "client_turns": NUMBERS,
    "prompts": [None, [], [None], [1, 2, 3], [[1], [2]]],
    "return_at": [None, [], ["infinity"] * 3, ["-infinity"], [None]],
    "asked_at": TIMES,
    "waits_until": TIMES,
    "waits_since": TIMES,
    "client_id": [None],
}


@pytest.fixture(scope="module")
def connection(database: Urls) -> Iterator[psycopg.Connection]:
    with connected(database.superuser) as connection:
        connection.execute("SET ROLE masstock_worker")
        yield connection


def paced(connection: psycopg.Connection) -> Lane:
    """A lane at 60 calls a minute on which twenty prompts wait."""
    lane = Lane.of_the_platform(connection)
    lane.now = 1000
    lane.call(A, 0, "answered")
    lane.call(A, 0, "refused", quota_value=60, retry_after=1)
    lane.now += 2
    for prompt in range(20):
        lane.enter(A, prompt)
    return lane


def calls_in(lane: Lane, seconds: float) -> tuple[int, int]:
    """Granted and refused calls if the provider allows 60 a minute and names its limit."""
    granted = refused = 0
    admitted: list[float] = []
    until = lane.now + seconds
    while lane.now < until:
        entered = lane.enter(A, granted % 20)
        if not entered.granted:
            assert 0 < entered.wait_seconds <= 300
            lane.now += 0.25
            continue
        granted += 1
        lane.now += 0.05
        admitted = [time for time in admitted if time > lane.now - 60]
        if len(admitted) < 60:
            admitted.append(lane.now)
            lane.leave(A, granted % 20, entered.granted_at, "answered")
        else:
            refused += 1
            lane.leave(
                A,
                granted % 20,
                entered.granted_at,
                "refused",
                quota_value=60,
                retry_after=admitted[0] + 60 - lane.now,
            )
    return granted, refused


@pytest.mark.parametrize("column", NONSENSE)
def test_nonsense_in_a_lane_costs_a_few_refusals(
    connection: psycopg.Connection, column: str
) -> None:
    for value in NONSENSE[column]:
        lane = paced(connection)
        lane.edit(**{column: value})
        granted, refused = calls_in(lane, 12)
        assert granted >= 6, value
        assert refused <= 3, value
        lane.state()


@pytest.mark.parametrize("column", TURNS)
def test_nonsense_in_a_turn_costs_no_call(connection: psycopg.Connection, column: str) -> None:
    for value in TURNS[column]:
        lane = paced(connection)
        lane.enter(uuid4(), 1, uuid4())
        lane.as_owner(
            sql.SQL("UPDATE app_private.lane_turns SET {} = {} WHERE lane_id = {}").format(
                sql.Identifier(column), sql.Literal(value), sql.Literal(lane.id)
            )
        )
        granted, _ = calls_in(lane, 12)
        assert granted >= 9, value
        lane.state()


def test_a_row_of_nulls_is_an_open_lane(connection: psycopg.Connection) -> None:
    lane = paced(connection)
    lane.edit(**dict.fromkeys(NONSENSE))
    assert lane.state().limited_by == "none"
    lane.call(A, 0, "answered")
    assert all(lane.enter(A, prompt).granted for prompt in range(10))


def test_a_missing_row_is_open_and_made_again(connection: psycopg.Connection) -> None:
    lane = paced(connection)
    lane.as_owner(sql.SQL("DELETE FROM app_private.lanes WHERE id = {}").format(lane.id))
    assert lane.state().successes in (0, None)
    assert lane.enter(A, 0).granted
    rows = lane.as_owner(
        sql.SQL("SELECT provider, model, client_id FROM app_private.lanes WHERE id = {}").format(
            lane.id
        )
    )
    assert rows == [("gemini", "model", None)]


@pytest.mark.parametrize(
    "verdict,counts",
    [("answered", False), ("refused", False), ("failed", True), ("unreadable", True)],
)
def test_a_call_can_end_on_a_missing_row(
    connection: psycopg.Connection, verdict: str, counts: bool
) -> None:
    lane = Lane.of_a_client(connection)
    left = lane.leave(A, 0, BEGAN, verdict, seen=7)
    assert (left.counts, left.successes, left.was_probe) == (counts, 0, False)


def test_turns_of_executions_that_ended_are_forgotten(connection: psycopg.Connection) -> None:
    lane = paced(connection)
    for _ in range(30):
        lane.enter(uuid4(), 0)
    lane.now += 10_000
    lane.enter(A, 0)
    lane.enter(A, 1)
    lane.enter(uuid4(), 0)
    rows = lane.as_owner(
        sql.SQL("SELECT count(*) FROM app_private.lane_turns WHERE lane_id = {}").format(lane.id)
    )
    assert rows[0][0] <= 3


def test_no_call_is_granted_twice_at_the_same_moment(
    connection: psycopg.Connection, database: Urls
) -> None:
    """Twelve sessions ask with the real clock for three seconds, at 600 calls a minute."""
    lane = Lane(connection, uuid4())
    lane.connection.execute(
        "SELECT app.enter_lane(%s, 'gemini', 'model', %s, %s, %s, 0)", [lane.id, CLIENT, CLIENT, A]
    )
    lane.edit(limit_per_minute=600)
    begin = threading.Barrier(12)
    granted: list[datetime] = []
    failures: list[BaseException] = []

    def ask(number: int) -> None:
        try:
            with connected(database.worker) as own:
                begin.wait()
                until = datetime.now(UTC).timestamp() + 3
                while datetime.now(UTC).timestamp() < until:
                    row = own.execute(
                        "SELECT granted_at FROM app.enter_lane("
                        "%s, 'gemini', 'model', %s, %s, %s, %s)",
                        [lane.id, CLIENT, CLIENT, A, number],
                    ).fetchone()
                    if row and row[0]:
                        granted.append(row[0])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=[number]) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    # 9.7 a second, and the credit.
    assert 20 <= len(granted) <= 34
    assert len(set(granted)) == len(granted)


def test_concurrent_first_callers_make_one_row(
    connection: psycopg.Connection, database: Urls
) -> None:
    lane = Lane(connection, uuid4())
    begin = threading.Barrier(8)
    granted: list[bool] = []

    def ask(number: int) -> None:
        with connected(database.worker) as own:
            begin.wait()
            row = own.execute(
                "SELECT granted FROM app.enter_lane(%s, 'gemini', 'model', %s, %s, %s, %s)",
                [lane.id, CLIENT, CLIENT, A, number],
            ).fetchone()
            assert row is not None
            granted.append(row[0])

    threads = [threading.Thread(target=ask, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == 8
    assert any(granted)
    rows = lane.as_owner(
        sql.SQL("SELECT count(*) FROM app_private.lanes WHERE id = {}").format(lane.id)
    )
    assert rows == [(1,)]


# They see lanes as GET /v1/lanes shows them.
ADMINISTRATORS_FUNCTIONS = {"app.list_lanes", "app.fetch_lane", "app.set_lane_limit"}


@pytest.mark.parametrize("role", ["masstock_api", "masstock_admin", "authenticated", "anon"])
def test_other_roles_neither_ask_nor_read_a_lane(database: Urls, role: str) -> None:
    with connected(database.superuser) as connection:
        for (name,) in connection.execute(
            """
            SELECT p.oid::regprocedure::text FROM pg_proc p
            WHERE p.pronamespace IN ('app'::regnamespace, 'app_private'::regnamespace)
              AND p.proname ~ 'lane|turn|learn|lower_pace|count_start|accepted|first_gap|probe'
            """
        ).fetchall():
            allowed = connection.execute(
                "SELECT has_function_privilege(%s, %s, 'EXECUTE')", [role, name]
            ).fetchone()
            of_administrators = name.partition("(")[0] in ADMINISTRATORS_FUNCTIONS
            assert allowed == (role == "masstock_admin" and of_administrators,), name
        for table in ("lanes", "lane_turns"):
            allowed = connection.execute(
                "SELECT has_table_privilege(%s, %s, 'SELECT, INSERT, UPDATE, DELETE')",
                [role, f"app_private.{table}"],
            ).fetchone()
            assert allowed == (False,), table


def test_the_worker_reads_a_lane_by_its_functions_alone(database: Urls) -> None:
    with connected(database.worker) as worker:
        worker.execute("SELECT * FROM app.lane_state(%s)", [uuid4()])
        for table in ("lanes", "lane_turns"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                worker.execute(sql.SQL("SELECT FROM app_private.{}").format(sql.Identifier(table)))


def test_a_lane_holds_nothing_of_a_key(connection: psycopg.Connection) -> None:
    lane = paced(connection)
    columns = lane.as_owner(
        sql.SQL(
            "SELECT attname::text FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped"
            " AND attrelid = 'app_private.lanes'::regclass"
        )
    )
    assert not [name for (name,) in columns if "key" in name or "hash" in name]
