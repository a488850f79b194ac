"""A provider's limit and its outages on a running stack: no prompt is lost, and the lane says why
it waits. A minute of the lanes has six seconds here."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import requests

from tests.e2e.conftest import Stack, counts, own_stack

MINUTE = 6
PER_MINUTE = 10
LIMIT = {"requests": PER_MINUTE, "seconds": MINUTE, "kind": "sliding_window"}


@pytest.fixture(scope="module")
def paced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("lanes") / "stack"
    with own_stack(directory, PACE_MINUTE_SECONDS=str(MINUTE)) as stack:
        yield stack


def control(stack: Stack, **lists: Any) -> None:
    """Replaces the controls of the stand-in model, for submissions with a new key."""
    stack.change_key()
    body = {"rules": [], "limits": [], "outages": [], **lists}
    answer = requests.post(stack.access["model_url"] + "/_control", json=body, timeout=10)
    assert answer.status_code == 200, answer.text


def behaviours(stack: Stack, beginning: str) -> Counter[str]:
    return Counter(call["behave"] for call in stack.calls(beginning))


def pace(stack: Stack, execution_id: str) -> dict[str, Any]:
    return stack.call("client_a", "GET", f"/v1/executions/{execution_id}").json()["pace"]


def lane_of(stack: Stack) -> dict[str, Any]:
    """The lane that was made last."""
    return stack.call("admin", "GET", "/v1/lanes").json()["items"][0]


def change_lanes(stack: Stack, statement: str) -> None:
    with psycopg.connect(stack.access["database_url"], autocommit=True) as connection:
        connection.execute(statement)  # pyright: ignore[reportArgumentType, reportCallIssue]


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "hints",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"retry_info": True},
        pytest.param({"quota_value": True}, marks=pytest.mark.slow),
    ],
)
def test_a_limit_costs_no_prompt(paced: Stack, hints: dict[str, bool]) -> None:
    name = f"limited {''.join(hints)}"
    control(paced, limits=[{**LIMIT, **hints}])
    execution_id = paced.submit([f"{name} {number}" for number in range(30)])
    assert counts(paced.wait(execution_id, 150)) == {"successful": 30, "failed": 0, "total": 30}
    seen = behaviours(paced, name)
    assert seen["ok"] == 30
    # Twenty prompts of the execution can call at once before the first refusal comes back.
    assert seen["limited"] <= 30


@pytest.mark.timeout(120)
def test_an_outage_costs_no_prompt_and_few_calls(paced: Stack) -> None:
    control(paced, outages=[{"in_s": 0, "for_s": 12, "status": 503}])
    execution_id = paced.submit([f"outage {number}" for number in range(20)])
    seen: set[str] = set()
    while pace(paced, execution_id)["limited_by"] == "none" and len(seen) < 200:
        time.sleep(0.1)
        seen.add(str(len(seen)))
    waiting = pace(paced, execution_id)
    assert waiting["limited_by"] == "outage"
    assert waiting["opens_at"] is not None
    assert lane_of(paced)["limited_by"] == "outage"
    assert counts(paced.wait(execution_id, 90)) == {"successful": 20, "failed": 0, "total": 20}
    assert behaviours(paced, "outage ")["outage"] <= 20 + 15


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_executions_of_one_key_share_its_lane(paced: Stack) -> None:
    control(paced, limits=[{**LIMIT, "retry_info": True}])
    ids = [paced.submit([f"shared {each} {number}" for number in range(15)]) for each in range(3)]
    for execution_id in ids:
        ended = counts(paced.wait(execution_id, 150))
        assert ended == {"successful": 15, "failed": 0, "total": 15}
    calls = [call["prompt"].split()[1] for call in paced.calls("shared ") if call["behave"] == "ok"]
    # Of the first two thirds, no execution has less than half of its share.
    assert min(Counter(calls[:30]).values()) >= 5


DAMAGES = {
    "lane deleted": "DELETE FROM app_private.lanes",
    "turns deleted": "DELETE FROM app_private.lane_turns",
    "pace damaged": (
        "UPDATE app_private.lanes SET learned_per_minute = 'NaN', due_at = 'infinity',"
        " starts = NULL, closed_by = NULL, successes = -5"
    ),
    "closed for ever": (
        "UPDATE app_private.lanes SET closed_by = 'outage', closed_until = 'infinity',"
        " closed_since = NULL, probe_at = 'infinity'"
    ),
    "turns damaged": (
        "UPDATE app_private.lane_turns SET turns = 'Infinity', prompts = NULL, asked_at = NULL"
    ),
}


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", DAMAGES)
def test_a_row_that_is_deleted_or_damaged_costs_no_prompt(paced: Stack, name: str) -> None:
    control(paced, limits=[{**LIMIT, "retry_info": True}])
    execution_id = paced.submit([f"{name} {number}" for number in range(20)])
    stop = threading.Event()

    def damage() -> None:
        while not stop.wait(2):
            change_lanes(paced, DAMAGES[name])

    damaging = threading.Thread(target=damage)
    damaging.start()
    try:
        time.sleep(5)
        stop.set()
        ended = paced.wait(execution_id, 150)
    finally:
        stop.set()
        damaging.join()
    assert counts(ended) == {"successful": 20, "failed": 0, "total": 20}
    assert behaviours(paced, name)["ok"] == 20


@pytest.mark.timeout(120)
def test_an_administrator_sets_a_known_limit(paced: Stack) -> None:
    control(paced)
    first = paced.submit(["known limit first"])
    paced.wait(first, 60)
    path = f"/v1/lanes/{lane_of(paced)['id']}"
    changed = paced.call("admin", "PATCH", path, json={"limit_per_minute": 20})
    assert changed.status_code == 200, changed.text
    began = time.monotonic()
    execution_id = paced.submit([f"known limit {number}" for number in range(20)])
    assert counts(paced.wait(execution_id, 60))["successful"] == 20
    assert time.monotonic() - began > 0.8 * MINUTE
    opened = paced.call("admin", "PATCH", path, json={"limit_per_minute": None})
    assert opened.json()["limit_per_minute"] is None


@pytest.mark.timeout(60)
def test_no_key_and_no_hash_of_one_is_in_the_lanes_or_the_logs(paced: Stack) -> None:
    control(paced)
    key = "a-key-that-nobody-may-read-0123456789"
    paced.wait(paced.submit(["secret lane"], api_key=key), 50)
    [call] = paced.calls("secret lane")
    answer = paced.call("admin", "GET", "/v1/lanes")
    with psycopg.connect(paced.access["database_url"]) as connection:
        rows = connection.execute(
            "SELECT to_jsonb(l) FROM app_private.lanes l UNION ALL"
            " SELECT to_jsonb(t) FROM app_private.lane_turns t"
        ).fetchall()
    logs = "".join(path.read_text() for path in (paced.directory / "logs").glob("*.log"))
    for text in (answer.text, json.dumps(rows), logs):
        assert key not in text
        assert call["api_key_sha256"] not in text
        assert call["api_key_sha256"][:32] not in text.replace("-", "")
