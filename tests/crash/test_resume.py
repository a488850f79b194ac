"""All processes are killed in the middle of a batch, more than once, and nothing is lost. An
execution that paused after its canary waits through all of it."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import psycopg
import pytest
from PIL import Image

from tests.e2e.conftest import Stack, counts, run_local

pytestmark = pytest.mark.timeout(600)

PROMPTS = [f"a harbour at dawn, view {number}" for number in range(50)]
CANARY = [f"a lighthouse, view {number}" for number in range(5)]
CANARY_IMAGES = 2
# Slow enough to kill the stack in the middle of the batch.
MODEL_MILLISECONDS = 1500
PATIENCE_SECONDS = 60
# Time for the running claims to expire, plus the model's time.
RESUME_SECONDS = 120 + 60


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("resumed")
    yield directory
    run_local("clean", directory)


def start(directory: Path) -> Stack:
    run_local("up", directory)
    stack = Stack(directory)
    stack.rule({"match": "^a harbour", "behave": "ok", "delay_ms": MODEL_MILLISECONDS})
    return stack


def processes_of(stack: Stack) -> list[int]:
    """The supervisor, which stack.json names, and all its descendants."""
    children: dict[int, list[int]] = {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal() and (found := parent_of(int(directory.name))) is not None:
            children.setdefault(found, []).append(int(directory.name))
    found = [stack.access["pid"]]
    for pid in found:
        found += children.get(pid, [])
    return found


def parent_of(pid: int) -> int | None:
    """The parent of a process. None if the process is gone or a zombie."""
    try:
        # State and parent follow the name, which can contain any character.
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else int(parent)


def kill(stack: Stack) -> None:
    """Sends SIGKILL to every process of the stack and waits until all are gone."""
    pids = processes_of(stack)
    # The supervisor, Postgres with its own, S3 and Step Functions, the model, functions.
    assert len(pids) > 10
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            # It died with its parent.
            continue
    wait_until(lambda: all_gone(pids))


def all_gone(pids: list[int]) -> bool:
    return all(parent_of(pid) is None for pid in pids)


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def stored_prompts(directory: Path, execution_id: str) -> set[str]:
    """The prompts whose images are in the bucket, a directory on disk."""
    names = [
        json.loads(record.read_text())["name"]
        for record in (directory / "s3" / "workflow-results").glob("*.json")
    ]
    # {execution_id}/{batch_index}_{timestamp}.{extension}
    keys = [name.removeprefix(f"{execution_id}/") for name in names if execution_id in name]
    images = [key for key in keys if not key.startswith("thumbnails/")]
    return {PROMPTS[int(key.partition("_")[0])] for key in images}


def until_stored(directory: Path, execution_id: str, number: int) -> None:
    wait_until(lambda: len(stored_prompts(directory, execution_id)) >= number, RESUME_SECONDS)


def pause(stack: Stack) -> str:
    """An execution that is paused, and whose deadline passes before it is resumed."""
    execution_id = stack.submit(CANARY, canary={"images": CANARY_IMAGES})
    wait_until(lambda: paused_at(stack, execution_id) is not None)
    assert len(stack.calls("a lighthouse")) == CANARY_IMAGES
    with psycopg.connect(stack.access["database_url"]) as connection:
        connection.execute(
            "UPDATE public.workflow_executions SET deadline_at = paused_at + interval '10 seconds'"
            " WHERE id = %s",
            [execution_id],
        )
    return execution_id


def paused_at(stack: Stack, execution_id: str) -> str | None:
    return stack.call("client_a", "GET", f"/v1/executions/{execution_id}").json()["paused_at"]


def check_that_it_goes_on(stack: Stack, execution_id: str) -> None:
    assert paused_at(stack, execution_id) is not None
    assert stack.calls("a lighthouse") == []
    path = f"/v1/executions/{execution_id}/resume"
    assert stack.call("client_a", "POST", path).status_code == 202
    execution = stack.wait(execution_id, 60)
    assert counts(execution) == {"successful": 5, "failed": 0, "total": 5}
    asked = sorted(call["prompt"] for call in stack.calls("a lighthouse"))
    assert asked == CANARY[CANARY_IMAGES:]
    with psycopg.connect(stack.access["database_url"]) as connection:
        charged = connection.execute(
            "SELECT sum(images), sum(charged_microusd), sum(reserved_microusd)"
            " FROM public.spend_ledger WHERE execution_id = %s",
            [execution_id],
        ).fetchone()
    assert charged == (5, execution["cost_microusd"], 0)


def test_a_batch_survives_the_kill_of_every_process(directory: Path) -> None:
    stack = start(directory)
    paused = pause(stack)
    execution_id = stack.submit(PROMPTS)
    stored: set[str] = set()
    for share in (10, 30):
        until_stored(directory, execution_id, share)
        asked = {call["prompt"] for call in stack.calls("a harbour")}
        assert not asked & stored, "an image that was in the bucket was paid for again"
        kill(stack)
        # The dead stack stores nothing more.
        stored = stored_prompts(directory, execution_id)
        assert len(stored) < len(PROMPTS)
        stack = start(directory)

    execution = stack.wait(execution_id, RESUME_SECONDS)
    assert execution["status"] == "completed"
    assert counts(execution) == {"successful": 50, "failed": 0, "total": 50}
    # Only images that were in progress at the kill are paid for again.
    asked_again = sorted(call["prompt"] for call in stack.calls("a harbour"))
    assert asked_again == sorted(set(PROMPTS) - stored)
    for index in range(len(PROMPTS)):
        answer = stack.call(
            "client_a", "GET", f"/v1/executions/{execution_id}/results/{index}/image"
        )
        assert answer.status_code == 200
        Image.open(BytesIO(answer.content)).verify()
    check_that_it_goes_on(stack, paused)

    pids = processes_of(stack)
    run_local("down", directory)
    assert all_gone(pids)
