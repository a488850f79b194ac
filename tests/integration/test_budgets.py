"""The spend ledger and the monthly budget, tested in the database."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from masstock.catalogue.image_models import Prices
from masstock.database.queries import claims, clients, executions
from masstock.database.tenants import TenantTransaction
from masstock.errors import NotFound
from masstock.schemas.engine import ExecutionRun
from tests.support.claims import claim_in_turn
from tests.support.databases import Callers, Urls, connected
from tests.support.demo_data import ACME, ADMIN, JANE_OF_GLOBEX, JOHN_OF_ACME
from tests.support.engine import EACH, Engine, submit, used


@pytest.fixture
def budget(fresh_database: Urls) -> int:
    """A monthly budget for ten prompts."""
    limit = 10 * EACH
    with connected(fresh_database.superuser) as connection:
        connection.execute(
            "UPDATE public.clients SET monthly_budget_microusd = %s WHERE id = %s", [limit, ACME]
        )
    return limit


def reopen(tx: TenantTransaction, execution_id: UUID, each: int | None = EACH) -> ExecutionRun:
    prices: Prices | None = None if each is None else {"other_size": each}
    return executions.reopen_failed(tx, execution_id, None, deadline_seconds=60, prices=prices)


@pytest.fixture
def engine(fresh_database: Urls):
    engine = Engine(fresh_database.worker)
    yield engine
    engine.close()


def test_concurrent_submissions_together_stay_within_the_budget(
    fresh_database: Urls, budget: int
) -> None:
    def attempt(_: int) -> str:
        try:
            submit(fresh_database.superuser, 3)
        except psycopg.Error as error:
            return error.sqlstate or "lost"
        return "accepted"

    with ThreadPoolExecutor(12) as pool:
        outcomes = Counter(pool.map(attempt, range(12)))
    assert outcomes == {"accepted": 3, "MS402": 9}
    assert used(fresh_database.superuser) == 9 * EACH <= budget


def test_images_are_charged_their_cost_and_the_end_releases_the_rest(
    fresh_database: Urls, budget: int, engine: Engine
) -> None:
    execution_id = submit(fresh_database.superuser, 10)
    assert used(fresh_database.superuser) == budget
    engine.start(execution_id)
    assert engine.paint(engine.claim(execution_id, 0), 700)
    assert used(fresh_database.superuser) == budget - 300
    assert engine.paint(engine.claim(execution_id, 1), 1500)
    assert used(fresh_database.superuser) == budget - 300 + 500
    with connected(fresh_database.superuser) as connection:
        connection.execute(
            "UPDATE public.workflow_batch_results SET status = 'failed' WHERE status = 'processing'"
        )
    ended = engine.end(execution_id)
    assert ended["output_data"]["cost_microusd"] == 2200
    assert used(fresh_database.superuser) == 2200


def test_an_attempt_is_charged_once_even_if_another_completes_its_row(
    fresh_database: Urls, engine: Engine
) -> None:
    execution_id = submit(fresh_database.superuser, 1)
    engine.start(execution_id)
    first = engine.claim(execution_id, 0, lease=-1)
    second = engine.claim(execution_id, 0)
    # The second attempt finds the image of the first one and completes the row with it.
    assert engine.paint(second, 900, attempt=first.attempt)
    assert not engine.paint(first, 900)
    assert used(fresh_database.superuser) == 900


def test_an_overtaken_attempt_that_paid_is_charged_too(
    fresh_database: Urls, engine: Engine
) -> None:
    execution_id = submit(fresh_database.superuser, 1)
    engine.start(execution_id)
    first = engine.claim(execution_id, 0, lease=-1)
    second = engine.claim(execution_id, 0)
    assert engine.paint(second, 900)
    assert not engine.paint(first, 800)
    assert used(fresh_database.superuser) == 1700


def test_deleting_an_execution_releases_no_budget(
    fresh_database: Urls, budget: int, engine: Engine, fresh_callers: Callers
) -> None:
    execution_id = submit(fresh_database.superuser, 2)
    engine.start(execution_id)
    for index in range(2):
        engine.paint(engine.claim(execution_id, index), EACH)
    engine.end(execution_id)
    with fresh_callers.writing(JOHN_OF_ACME) as tx:
        assert executions.delete_execution(tx, execution_id)
    assert used(fresh_database.superuser) == 2 * EACH


def test_a_retry_reserves_for_its_prompts_and_must_fit_the_budget(
    fresh_database: Urls, budget: int, engine: Engine, fresh_callers: Callers
) -> None:
    execution_id = submit(fresh_database.superuser, 4)
    engine.start(execution_id)
    engine.paint(engine.claim(execution_id, 0), EACH)
    with connected(fresh_database.superuser) as connection:
        connection.execute(
            "UPDATE public.workflow_batch_results SET status = 'failed', error_code = 'no_image'"
            " WHERE execution_id = %s AND status = 'processing'",
            [execution_id],
        )
    engine.end(execution_id)
    assert used(fresh_database.superuser) == EACH
    other = submit(fresh_database.superuser, 7)
    with pytest.raises(psycopg.Error) as refused, fresh_callers.writing(JOHN_OF_ACME) as tx:
        reopen(tx, execution_id)
    assert refused.value.sqlstate == "MS402"
    with connected(fresh_database.superuser) as connection:
        connection.execute("DELETE FROM public.workflow_executions WHERE id = %s", [other])
    with fresh_callers.writing(JOHN_OF_ACME) as tx:
        assert reopen(tx, execution_id).run == 1
    assert used(fresh_database.superuser) == 4 * EACH


def fail_rest(url: str, execution_id: UUID) -> None:
    with connected(url) as connection:
        connection.execute(
            "UPDATE public.workflow_batch_results SET status = 'failed', error_code = 'no_image'"
            " WHERE execution_id = %s AND status = 'processing'",
            [execution_id],
        )


def test_a_retry_reserves_todays_price(
    fresh_database: Urls, budget: int, engine: Engine, fresh_callers: Callers
) -> None:
    execution_id = submit(fresh_database.superuser, 4)
    engine.start(execution_id)
    engine.paint(engine.claim(execution_id, 0), EACH)
    fail_rest(fresh_database.superuser, execution_id)
    engine.end(execution_id)
    # 3 prompts at 4 times the price do not fit into the 9 that are left, and at twice it do.
    with pytest.raises(psycopg.Error) as refused, fresh_callers.writing(JOHN_OF_ACME) as tx:
        reopen(tx, execution_id, 4 * EACH)
    assert refused.value.sqlstate == "MS402"
    with pytest.raises(psycopg.Error) as refused, fresh_callers.writing(JOHN_OF_ACME) as tx:
        reopen(tx, execution_id, None)
    assert refused.value.sqlstate == "MS402"
    with fresh_callers.writing(JOHN_OF_ACME) as tx:
        reopen(tx, execution_id, 2 * EACH)
    assert used(fresh_database.superuser) == EACH + 3 * 2 * EACH
    # A claim turns its share of the reservation into its cost.
    engine.start(execution_id, run=1)
    claim = engine.claim(execution_id, 1)
    assert claim.reserved_microusd == 2 * EACH
    engine.paint(claim, 2 * EACH)
    assert used(fresh_database.superuser) == EACH + 3 * 2 * EACH
    fail_rest(fresh_database.superuser, execution_id)
    engine.end(execution_id, run=1)
    assert used(fresh_database.superuser) == 3 * EACH


def test_functions_of_the_previous_release_can_still_retry(
    fresh_database: Urls, engine: Engine, fresh_callers: Callers
) -> None:
    execution_id = submit(fresh_database.superuser, 4)
    engine.start(execution_id)
    fail_rest(fresh_database.superuser, execution_id)
    engine.end(execution_id)
    with fresh_callers.writing(JOHN_OF_ACME) as tx:
        [row] = tx.fetch_all("SELECT app.reopen_failed(%(id)s, NULL, 60) AS run", id=execution_id)
    assert row["run"] == 1
    assert used(fresh_database.superuser) == 4 * EACH


def test_the_duration_after_a_retry_is_the_working_time_of_the_runs(
    fresh_database: Urls, engine: Engine, fresh_callers: Callers
) -> None:
    execution_id = submit(fresh_database.superuser, 2)
    engine.start(execution_id)
    pass_time(fresh_database, execution_id, 30)
    fail_rest(fresh_database.superuser, execution_id)
    assert engine.end(execution_id)["duration_seconds"] == 30
    # An hour in which nothing runs.
    pass_time(fresh_database, execution_id, 3600)
    with fresh_callers.writing(JOHN_OF_ACME) as tx:
        reopen(tx, execution_id)
    engine.start(execution_id, run=1)
    pass_time(fresh_database, execution_id, 10)
    # A resumed run goes on with the same work.
    advanced = executions.advance_run(engine, ExecutionRun(execution_id, 1))
    assert advanced is not None
    engine.start(execution_id, run=2)
    pass_time(fresh_database, execution_id, 5)
    fail_rest(fresh_database.superuser, execution_id)
    assert engine.end(execution_id, run=2)["duration_seconds"] == 30 + 10 + 5
    pass_time(fresh_database, execution_id, 3600)
    with fresh_callers.writing(JOHN_OF_ACME) as tx:
        reopen(tx, execution_id)
    # A run that never starts: it waits for its deadline since the retry.
    pass_time(fresh_database, execution_id, 60)
    assert engine.end(execution_id, run=3)["duration_seconds"] == 45 + 60


def pass_time(urls: Urls, execution_id: UUID, seconds: int) -> None:
    """Moves the times of an execution into the past."""
    with connected(urls.superuser) as connection:
        names = connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public'"
            " AND table_name = 'workflow_executions' AND data_type LIKE 'timestamp%%'"
        ).fetchall()
        for (name,) in names:
            connection.execute(
                sql.SQL(
                    "UPDATE public.workflow_executions SET {0} = {0} - make_interval(secs => %s)"
                    " WHERE id = %s"
                ).format(sql.Identifier(name)),
                [seconds, execution_id],
            )


@pytest.mark.parametrize(
    ("charged", "reserved"),
    [(-1, 0), (10**12 + 1, 0), (0, 1), (2**63 - 1, 0), (0, -(2**63))],
    ids=str,
)
def test_a_worker_appends_no_negative_charge_and_no_reservation(
    fresh_database: Urls, charged: int, reserved: int
) -> None:
    with connected(fresh_database.worker) as worker, pytest.raises(psycopg.Error) as refused:
        append(worker, charged, reserved)
    assert refused.value.sqlstate in ("42501", "23514")
    assert used(fresh_database.superuser) == 0


@pytest.mark.parametrize("charged", [-1, 10**12 + 1])
def test_not_even_the_owner_stores_a_charge_that_makes_no_sense(
    fresh_database: Urls, charged: int
) -> None:
    with connected(fresh_database.superuser) as owner, pytest.raises(psycopg.Error) as refused:
        append(owner, charged, 0)
    assert refused.value.sqlstate == "23514"


def append(connection: psycopg.Connection, charged: int, reserved: int) -> None:
    connection.execute(
        "INSERT INTO public.spend_ledger (client_id, execution_id, month, charged_microusd,"
        " reserved_microusd) VALUES (%s, %s, '2026-11-01', %s, %s)",
        [ACME, uuid4(), charged, reserved],
    )


def test_claims_without_an_outcome_count_as_failures(fresh_database: Urls, engine: Engine) -> None:
    execution_id = submit(fresh_database.superuser, 1)
    engine.start(execution_id)
    failures = [engine.claim(execution_id, 0, lease=-1).failures for _ in range(3)]
    assert failures == [0, 1, 2]
    # An outcome ends the claim, so the next claim does not count it as lost.
    released = engine.claim(execution_id, 0)
    assert released.failures == 3
    claims.release_prompt(engine, released, counts_as="throttle")
    claims.release_prompt(engine, engine.claim(execution_id, 0), counts_as=None)
    assert engine.claim(execution_id, 0).failures == 3


def test_the_database_refuses_claims_after_too_many_without_an_outcome(
    fresh_database: Urls, engine: Engine
) -> None:
    execution_id = submit(fresh_database.superuser, 1)
    engine.start(execution_id)
    for _ in range(claims.MAX_FAILURES + 1):
        engine.claim(execution_id, 0, lease=-1)
    assert claim_in_turn(engine, execution_id, 0, 60) is None


def test_a_lost_image_is_charged_once_and_keeps_its_reservation(
    fresh_database: Urls, budget: int, engine: Engine
) -> None:
    execution_id = submit(fresh_database.superuser, 1)
    engine.start(execution_id)
    claim = engine.claim(execution_id, 0)
    for _ in range(2):
        claims.charge_lost_image(engine, claim, claim.attempt, 700)
    claims.charge_lost_image(engine, claim, claim.attempt, None)
    assert used(fresh_database.superuser) == EACH + 700
    fail_rest(fresh_database.superuser, execution_id)
    engine.end(execution_id)
    assert used(fresh_database.superuser) == 700


def test_an_unknown_price_is_refused_only_if_there_is_a_budget(
    fresh_database: Urls,
) -> None:
    submit(fresh_database.superuser, 1, estimate=None)
    with connected(fresh_database.superuser) as connection:
        connection.execute("UPDATE public.clients SET monthly_budget_microusd = 5")
    with pytest.raises(psycopg.Error) as refused:
        submit(fresh_database.superuser, 1, estimate=None)
    assert refused.value.sqlstate == "MS402"


def test_last_months_spending_does_not_reduce_this_months_budget(
    fresh_database: Urls, budget: int
) -> None:
    with connected(fresh_database.superuser) as connection:
        connection.execute(
            "INSERT INTO public.spend_ledger (client_id, execution_id, month, charged_microusd)"
            " VALUES (%s, gen_random_uuid(), date_trunc('month', now() AT TIME ZONE 'UTC')"
            " - interval '1 month', %s)",
            [ACME, budget],
        )
    submit(fresh_database.superuser, 10)


def test_a_client_sees_only_its_own_budget(
    fresh_database: Urls, budget: int, fresh_callers: Callers
) -> None:
    submit(fresh_database.superuser, 4)
    for reader in (JOHN_OF_ACME, ADMIN):
        assert clients.fetch_budget(fresh_callers.reading(reader), ACME) == {
            "monthly_budget_microusd": budget,
            "spent_microusd": 0,
            "reserved_microusd": 4 * EACH,
        }
    with pytest.raises(NotFound):
        clients.fetch_budget(fresh_callers.reading(JANE_OF_GLOBEX), ACME)
