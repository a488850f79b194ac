"""The rules of a lane, one by one, on a real database with a simulated clock."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, JOHN_OF_ACME, WORKFLOW
from tests.support.lanes import BEGAN, Lane

pytestmark = pytest.mark.timeout(120)

A, B, C = (UUID(int=number) for number in (10, 11, 12))


@pytest.fixture(scope="module")
def connection(database: Urls) -> Iterator[psycopg.Connection]:
    with connected(database.superuser) as connection:
        connection.execute("SET ROLE masstock_worker")
        yield connection


@pytest.fixture
def lane(connection: psycopg.Connection) -> Lane:
    return Lane.of_a_client(connection)


@pytest.fixture
def open_lane(lane: Lane) -> Lane:
    """A lane that had a success and knows no limit."""
    lane.call(A, 0, "answered")
    return lane


@pytest.fixture
def paced_lane(open_lane: Lane) -> Lane:
    """A lane whose provider named 60 calls a minute."""
    open_lane.call(A, 0, "refused", quota_value=60, retry_after=1)
    open_lane.now += 2
    open_lane.call(A, 0, "answered")
    return open_lane


def starts(lane: Lane, seconds: float, execution: UUID = A) -> int:
    """The number of granted calls if somebody asks twenty times a second."""
    granted = 0
    until = lane.now + seconds
    while lane.now < until:
        granted += lane.enter(execution, granted % 20).granted
        lane.now += 0.05
    return granted


# --- open lanes -----------------------------------------------------------------------------------


def test_an_open_lane_grants_every_call_at_once(open_lane: Lane) -> None:
    for prompt in range(100):
        entered = open_lane.enter(A, prompt)
        assert (entered.granted, entered.wait_seconds) == (True, 0)
    assert open_lane.state().limited_by == "none"


def test_an_open_lane_writes_no_turns(open_lane: Lane) -> None:
    execution = uuid4()
    for prompt in range(3):
        open_lane.enter(execution, prompt)
    assert open_lane.as_owner(
        sql.SQL("SELECT count(*) FROM app_private.lane_turns WHERE execution_id = {}").format(
            execution
        )
    ) == [(0,)]


def test_a_new_lane_ramps_up_until_its_first_success(lane: Lane) -> None:
    first = lane.enter(A, 0)
    assert first.granted
    second = lane.enter(A, 1)
    assert not second.granted
    assert (second.limited_by, second.gives_up) == ("none", False)
    assert 0 < second.wait_seconds <= 0.2
    lane.leave(A, 0, first.granted_at, "answered")
    assert all(lane.enter(A, prompt).granted for prompt in range(1, 21))


def test_single_refusals_close_no_open_lane(open_lane: Lane) -> None:
    """Three of ten calls are refused, without a limit behind them."""
    for prompt in range(60):
        open_lane.now += 0.5
        open_lane.call(A, prompt, "refused" if prompt % 10 in (1, 4, 5) else "answered")
    assert open_lane.state().learned_per_minute is None


def test_refusals_in_a_row_show_a_limit_of_what_was_accepted(open_lane: Lane) -> None:
    for prompt in range(29):
        assert open_lane.enter(A, prompt).granted
    open_lane.now += 1
    for prompt in range(10):
        open_lane.now += 1
        open_lane.call(A, prompt, "refused")
    state = open_lane.state()
    # 29 and the one of the fixture.
    assert (state.learned_per_minute, state.limited_by) == (30, "provider_limit")
    assert not open_lane.enter(A, 10).granted


# --- what refusals say ----------------------------------------------------------------------------


def test_a_named_limit_is_kept_with_a_margin(paced_lane: Lane) -> None:
    assert paced_lane.state().learned_per_minute == 60
    assert paced_lane.state().calls_per_minute == pytest.approx(58.2)
    # The credit is two slots.
    assert starts(paced_lane, 60) in range(57, 62)


def test_an_administrators_limit_wins(paced_lane: Lane) -> None:
    paced_lane.edit(limit_per_minute=20)
    assert paced_lane.state().calls_per_minute == pytest.approx(19.4)
    assert starts(paced_lane, 60) in range(18, 23)
    paced_lane.edit(limit_per_minute=600)
    assert starts(paced_lane, 10) > 80


def test_a_minute_can_be_shortened(lane: Lane) -> None:
    lane.minute_seconds = 20
    lane.call(A, 0, "answered")
    lane.call(A, 0, "refused", quota_value=60, retry_after=1)
    lane.now += 2
    assert starts(lane, 20) in range(56, 62)


def test_nobody_calls_before_the_time_that_the_provider_named(open_lane: Lane) -> None:
    left = open_lane.call(A, 0, "refused", retry_after=40)
    assert left.wait_seconds == pytest.approx(40)
    opens_at = open_lane.state().opens_at
    assert opens_at == open_lane.clock() + timedelta(seconds=40)
    assert starts(open_lane, 39.9) == 0
    open_lane.now += 0.2
    assert open_lane.enter(A, 0).granted


def test_a_long_delay_is_asked_about_every_five_minutes(open_lane: Lane) -> None:
    assert open_lane.call(A, 0, "refused", retry_after=3000).wait_seconds == 300
    assert open_lane.enter(A, 1).wait_seconds <= 300
    open_lane.now += 301
    assert open_lane.enter(A, 0).granted


def test_refusals_of_calls_that_began_before_the_lesson_teach_nothing(open_lane: Lane) -> None:
    calls = [open_lane.enter(A, prompt) for prompt in range(20)]
    open_lane.now += 0.05
    open_lane.leave(A, 0, calls[0].granted_at, "refused", quota_value=60, retry_after=10)
    before = open_lane.state()
    for prompt, call in enumerate(calls[1:], 1):
        open_lane.now += 0.01
        open_lane.leave(A, prompt, call.granted_at, "refused", quota_value=5, retry_after=20)
    after = open_lane.state()
    assert (after.learned_per_minute, after.opens_at) == (
        before.learned_per_minute,
        before.opens_at,
    )


def test_a_bare_refusal_closes_a_paced_lane_until_a_probe_is_accepted(paced_lane: Lane) -> None:
    paced_lane.now += 5
    paced_lane.call(A, 1, "refused")
    assert paced_lane.state().limited_by == "provider_limit"
    assert paced_lane.state().closed_since == paced_lane.clock()
    assert starts(paced_lane, 1) == 0
    paced_lane.now += 0.2
    probe = paced_lane.enter(A, 2)
    assert probe.granted
    assert not paced_lane.enter(A, 3).granted
    paced_lane.now += 0.05
    paced_lane.leave(A, 2, probe.granted_at, "answered")
    assert paced_lane.state().closed_since is None


def test_a_probe_that_is_not_refused_in_time_counts_as_accepted(paced_lane: Lane) -> None:
    """Its invocation may be dead, and an image takes long."""
    paced_lane.now += 5
    paced_lane.call(A, 1, "refused")
    paced_lane.now += 1.2
    assert paced_lane.enter(A, 2).granted
    paced_lane.now += 5
    assert paced_lane.enter(A, 3).granted
    assert paced_lane.state().closed_since is None


def test_pauses_between_probes_grow(paced_lane: Lane) -> None:
    paced_lane.now += 5
    paced_lane.call(A, 1, "refused")
    pauses = []
    for prompt in range(8):
        refused = paced_lane.now
        while not paced_lane.enter(A, prompt).granted:
            paced_lane.now += 0.1
        pauses.append(round(paced_lane.now - refused, 3))
        granted_at = paced_lane.clock()
        paced_lane.now += 0.05
        paced_lane.leave(A, prompt, granted_at, "refused")
    assert pauses == sorted(pauses)
    assert pauses[0] < 1.2
    assert 10 < pauses[-1] < 40


def test_many_single_refusals_lower_a_pace_by_fifteen_percent_at_most(paced_lane: Lane) -> None:
    """One of six calls is refused for ten minutes."""
    for prompt in range(400):
        while not paced_lane.enter(A, prompt).granted:
            paced_lane.now += 0.25
        granted_at = paced_lane.clock()
        paced_lane.now += 0.05
        verdict = "refused" if prompt % 6 == 5 else "answered"
        paced_lane.leave(A, prompt, granted_at, verdict)
    assert 51 <= (paced_lane.state().learned_per_minute or 0) <= 60


def test_a_limit_that_rose_is_found_after_five_minutes(paced_lane: Lane) -> None:
    def accepted(seconds: float) -> int:
        count, until = 0, paced_lane.now + seconds
        while paced_lane.now < until:
            entered = paced_lane.enter(A, count % 20)
            if entered.granted:
                count += 1
                paced_lane.leave(A, count % 20, entered.granted_at, "answered")
            paced_lane.now += 0.25
        return count

    assert accepted(240) in range(225, 240)
    assert accepted(480) > 600


# --- who pays -------------------------------------------------------------------------------------


def test_a_refusal_counts_only_if_three_others_succeeded_since_the_last(open_lane: Lane) -> None:
    left = open_lane.call(B, 7, "refused")
    assert (left.counts, left.successes) == (False, 1)
    for prompt in range(2):
        open_lane.call(A, prompt, "answered")
    open_lane.now += 1
    assert not open_lane.call(B, 7, "refused", seen=left.successes).counts
    open_lane.call(A, 3, "answered")
    open_lane.now += 1
    assert open_lane.call(B, 7, "refused", seen=left.successes).counts


def test_an_unreadable_answer_counts_and_teaches_nothing(open_lane: Lane) -> None:
    for prompt in range(10):
        assert open_lane.call(A, prompt, "unreadable").counts
    assert open_lane.state().limited_by == "none"


def test_a_prompt_that_fails_alone_is_no_outage(open_lane: Lane) -> None:
    for _ in range(5):
        open_lane.now += 1
        assert open_lane.call(A, 0, "failed").counts
    open_lane.now += 1
    assert open_lane.call(A, 1, "failed").counts
    assert open_lane.state().limited_by == "none"


def test_a_success_between_failures_shows_that_there_is_no_outage(open_lane: Lane) -> None:
    for prompt in range(6):
        assert open_lane.call(A, prompt, "failed").counts
        open_lane.call(A, 10 + prompt, "answered")
    assert open_lane.state().limited_by == "none"


def outage(lane: Lane) -> None:
    for prompt in range(3):
        lane.call(A, prompt, "failed")
    assert lane.state().limited_by == "outage"


def test_the_third_prompt_that_fails_shows_an_outage_which_costs_nobody(open_lane: Lane) -> None:
    calls = [open_lane.enter(A, prompt) for prompt in range(20)]
    open_lane.now += 0.05
    counts = [
        open_lane.leave(A, prompt, call.granted_at, "failed").counts
        for prompt, call in enumerate(calls)
    ]
    assert counts == [True, True, *[False] * 18]
    denied = open_lane.enter(A, 21)
    assert (denied.granted, denied.limited_by) == (False, "outage")
    assert denied.wait_seconds >= 5


def test_an_outage_has_one_probe_at_a_time_and_growing_pauses(open_lane: Lane) -> None:
    outage(open_lane)
    probes = []
    began = open_lane.now
    while open_lane.now < began + 1500:
        for prompt in range(3):
            entered = open_lane.enter(A, prompt)
            if entered.granted:
                probes.append(round(open_lane.now, 3))
                left = open_lane.leave(A, prompt, entered.granted_at, "failed")
                assert (left.counts, left.was_probe) == (False, True)
            else:
                assert 0 < entered.wait_seconds <= 300
        open_lane.now += 2.5
    pauses = [later - earlier for earlier, later in pairwise(probes)]
    assert len(probes) <= 12
    assert pauses == sorted(pauses)
    assert pauses[-1] <= 305


def test_probes_rotate_among_prompts(open_lane: Lane) -> None:
    outage(open_lane)
    last, other = 2, 1
    for _ in range(4):
        open_lane.now += 300
        assert not open_lane.enter(A, last).granted
        entered = open_lane.enter(A, other)
        assert entered.granted
        open_lane.leave(A, other, entered.granted_at, "failed")
        last, other = other, last


def test_a_prompt_that_is_alone_probes_again(open_lane: Lane) -> None:
    outage(open_lane)
    for _ in range(3):
        open_lane.now += 300
        entered = open_lane.enter(A, 9)
        if not entered.granted:
            open_lane.now += entered.wait_seconds
            entered = open_lane.enter(A, 9)
        assert entered.granted
        open_lane.leave(A, 9, entered.granted_at, "failed")


def test_a_probe_whose_invocation_died_does_not_close_the_lane_for_ever(open_lane: Lane) -> None:
    outage(open_lane)
    open_lane.now += 6
    assert open_lane.enter(A, 5).granted
    open_lane.now += 200
    assert not open_lane.enter(A, 6).granted
    open_lane.now += 41
    assert open_lane.enter(A, 6).granted


def test_an_unreadable_answer_frees_the_probe(open_lane: Lane) -> None:
    outage(open_lane)
    open_lane.now += 6
    probe = open_lane.enter(A, 5)
    open_lane.now += 60
    assert open_lane.leave(A, 5, probe.granted_at, "unreadable").counts
    open_lane.now += 1.1
    assert open_lane.enter(A, 6).granted


def test_a_success_of_a_probe_ends_an_outage(open_lane: Lane) -> None:
    outage(open_lane)
    open_lane.now += 6
    open_lane.call(A, 5, "answered")
    assert all(open_lane.enter(A, prompt).granted for prompt in range(20))


def test_a_success_from_before_an_outage_does_not_end_it(open_lane: Lane) -> None:
    slow = open_lane.enter(B, 0)
    open_lane.now += 1
    outage(open_lane)
    open_lane.now += 1
    open_lane.leave(B, 0, slow.granted_at, "answered")
    assert open_lane.state().limited_by == "outage"


def test_a_lane_without_success_for_thirty_minutes_gives_up(open_lane: Lane) -> None:
    open_lane.call(A, 0, "refused", retry_after=200)
    waited = []
    while open_lane.now < 3600:
        entered = open_lane.enter(A, 1)
        waited.append(open_lane.now)
        if entered.gives_up:
            break
        if entered.granted:
            open_lane.now += 0.05
            open_lane.leave(A, 1, entered.granted_at, "refused", retry_after=200)
        open_lane.now += 60
    assert 1800 <= waited[-1] <= 1990
    # An execution that comes later may try for itself.
    assert not open_lane.enter(B, 0).gives_up


def test_nobody_gives_up_before_the_time_that_the_provider_named(open_lane: Lane) -> None:
    probes = 0
    open_lane.call(A, 0, "refused", retry_after=36_000)
    while not (entered := open_lane.enter(A, 1)).gives_up:
        if entered.granted:
            probes += 1
            open_lane.now += 0.05
            # Named again at each refusal. Only the first counts.
            open_lane.leave(A, 1, entered.granted_at, "refused", retry_after=36_000)
            opens_at = open_lane.state().opens_at
            assert opens_at
            assert opens_at >= BEGAN + timedelta(seconds=36_000)
        open_lane.now += min(entered.wait_seconds or 1, 300)
    assert 36_000 + 1800 <= open_lane.now <= 36_000 + 1800 + 330
    assert probes <= 37_800 / 300 + 1


def test_a_delay_of_hours_teaches_no_pace(open_lane: Lane) -> None:
    for prompt in range(100):
        open_lane.call(A, prompt, "answered")
    open_lane.call(A, 100, "refused", retry_after=36_000)
    open_lane.now += 301
    probe = open_lane.enter(A, 101)
    assert probe.granted
    open_lane.now += 1
    open_lane.leave(A, 101, probe.granted_at, "answered")
    assert open_lane.state().learned_per_minute is None
    assert all(open_lane.enter(A, prompt).granted for prompt in range(102, 122))


def test_a_lane_that_stood_idle_does_not_give_up(open_lane: Lane) -> None:
    open_lane.call(A, 0, "refused", retry_after=30)
    open_lane.enter(A, 0)
    open_lane.now += 100_000
    entered = open_lane.enter(A, 0)
    assert (entered.granted, entered.gives_up) == (True, False)


# --- fairness -------------------------------------------------------------------------------------


def shares(lane: Lane, executions: dict[UUID, UUID], seconds: float) -> dict[UUID, int]:
    """The granted calls if twenty prompts of each execution return when they are told to."""
    returns = [(lane.now, execution, n) for execution in executions for n in range(20)]
    granted = dict.fromkeys(executions, 0)
    until = lane.now + seconds
    while True:
        returns.sort()
        lane.now, execution, prompt = returns.pop(0)
        if lane.now > until:
            return granted
        entered = lane.enter(execution, prompt, executions[execution])
        granted[execution] += entered.granted
        returns.append((lane.now + max(entered.wait_seconds, 0.01), execution, prompt))


def test_executions_of_a_client_get_equal_shares(paced_lane: Lane) -> None:
    client = UUID(int=1)
    granted = shares(paced_lane, {A: client, B: client, C: client}, 120)
    assert max(granted.values()) - min(granted.values()) <= 2
    assert sum(granted.values()) in range(114, 120)


def test_clients_of_the_platforms_lane_get_equal_shares(connection: psycopg.Connection) -> None:
    lane = Lane.of_the_platform(connection)
    lane.call(A, 0, "answered")
    lane.call(A, 0, "refused", quota_value=60, retry_after=1)
    lane.now += 2
    one, other = UUID(int=1), UUID(int=2)
    granted = shares(lane, {A: one, B: one, C: other}, 120)
    assert abs(granted[A] + granted[B] - granted[C]) <= 3
    assert abs(granted[A] - granted[B]) <= 3


def test_a_share_that_nobody_uses_is_not_lost(paced_lane: Lane) -> None:
    client = UUID(int=1)
    shares(paced_lane, {A: client, B: client}, 30)
    # B is cancelled: its prompts do not return.
    granted = shares(paced_lane, {A: client}, 60)
    assert granted[A] >= 55


def test_a_newcomer_does_not_wait_for_the_others_turns(paced_lane: Lane) -> None:
    client = UUID(int=1)
    shares(paced_lane, {A: client}, 120)
    granted = shares(paced_lane, {A: client, B: client}, 20)
    assert granted[B] >= 9


def test_the_calls_of_an_open_lane_are_turns_when_it_is_limited(open_lane: Lane) -> None:
    """An execution that was submitted first took most of the opening burst."""
    first, second = in_flight(open_lane, 12), in_flight(open_lane, 3)
    open_lane.call(A, 0, "refused", quota_value=60, retry_after=1)
    open_lane.now += 2
    open_lane.call(A, 0, "answered")
    client = UUID(int=1)
    granted = shares(open_lane, {first: client, second: client}, 20)
    assert abs(12 + granted[first] - (3 + granted[second])) <= 2
    assert granted[first] > 0


def in_flight(lane: Lane, prompts: int) -> UUID:
    """An execution with so many claimed prompts."""
    [(execution,)] = lane.as_owner(
        sql.SQL(
            "INSERT INTO public.workflow_executions (workflow_id, client_id, user_id, input_data)"
            " VALUES ({}, {}, {}, '{{}}') RETURNING id"
        ).format(WORKFLOW, ACME, JOHN_OF_ACME)
    )
    lane.as_owner(
        sql.SQL(
            "INSERT INTO public.workflow_batch_results"
            " (execution_id, client_id, batch_index, prompt_text, attempts, claimed_until)"
            " SELECT {}, {}, n, 'a fox', 1, {} FROM generate_series(1, {}) AS n"
        ).format(execution, ACME, lane.clock() + timedelta(minutes=4), prompts)
    )
    return execution


def test_waiting_prompts_return_one_after_another(paced_lane: Lane) -> None:
    paced_lane.enter(A, 0)
    waits = [paced_lane.enter(A, prompt).wait_seconds for prompt in range(1, 20)]
    assert waits == sorted(waits)
    assert len({round(wait, 2) for wait in waits}) == 19
    assert max(waits) <= 20
    # The same prompt keeps its place if it comes early.
    paced_lane.now += 0.05
    again = paced_lane.enter(A, 10).wait_seconds
    assert again == pytest.approx(waits[9] - 0.05, abs=0.01)


def test_waits_of_a_very_slow_lane_are_bounded(paced_lane: Lane) -> None:
    paced_lane.edit(limit_per_minute=1)
    paced_lane.enter(A, 0)
    waits = [paced_lane.enter(A, prompt).wait_seconds for prompt in range(1, 30)]
    assert max(waits) == 60


def test_the_state_tells_how_many_executions_wait(paced_lane: Lane) -> None:
    for execution in (A, B, A, B):
        for prompt in range(3):
            paced_lane.enter(execution, prompt)
    state = paced_lane.state()
    assert (state.waiting_executions, state.limited_by) == (2, "provider_limit")
    paced_lane.now += 60
    state = paced_lane.state()
    assert (state.waiting_executions, state.limited_by) == (0, "none")
    assert state.last_success_at is not None
    assert paced_lane.clock() - state.last_success_at > timedelta(seconds=59)
