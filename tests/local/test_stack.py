"""The whole stack starts, keeps running, stops, and never leaves a process behind."""

import contextlib
import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local.settings import ROOT

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="AWS' Lambda emulator is for Linux"),
]

KEYS = {
    "base_url",
    "console_url",
    "database_url",
    "api_database_url",
    "worker_database_url",
    "model_url",
    "s3_endpoint",
    "bucket",
    "tokens",
    "pid",
}


class Stack:
    """A stack in a private directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run one command. Its pipes hang if a child of the stack keeps them open."""
        return subprocess.run(
            [sys.executable, "-m", "local", *arguments],
            cwd=ROOT,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def environment(self, **more: str) -> dict[str, str]:
        """Return this environment without variables that configure the stack, and with `more`."""
        theirs = {"PORT", "CONCURRENCY", "DATABASE_URL", "GEMINI_API_KEY", "SWEEP_SECONDS"}
        kept = {name: value for name, value in os.environ.items() if name not in theirs}
        return {**kept, "LOCAL_DIR": str(self.directory), **more}

    @property
    def description(self) -> dict[str, Any]:
        """The content of stack.json."""
        return json.loads((self.directory / "stack.json").read_text())

    def get(self, path: str, user: str = "admin") -> Any:
        """Return the JSON answer of the API."""
        request = urllib.request.Request(
            self.description["base_url"] + path,
            headers={"Authorization": f"Bearer {self.description['tokens'][user]}"},
        )
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.load(response)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    private = tmp_path_factory.mktemp("stack") / "private"
    private.mkdir(mode=0o700)
    stack = Stack(private / "local")
    up = stack.run("up")
    assert up.returncode == 0, up.stderr
    yield stack
    stack.run("clean")


def family(pid: int) -> set[int]:
    """Return the pids of the process and of every descendant."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            text = path.read_text()
            state, parent = text.rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(path.parent.name)] = int(parent)
    found = {pid} & parents.keys()
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def wait_until_gone(pids: set[int], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while left := {pid for pid in pids if family(pid)}:
        names = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left if family(pid)}
        assert time.monotonic() < deadline, names
        time.sleep(0.05)


def test_up_describes_a_stack_that_answers(stack: Stack) -> None:
    description = stack.description
    assert description.keys() == KEYS
    assert stat.S_IMODE((stack.directory / "stack.json").stat().st_mode) == 0o600
    for name in ("database_url", "api_database_url", "worker_database_url"):
        with psycopg.connect(description[name]) as connection:
            row = connection.execute(
                "SELECT current_user, inet_server_addr() IS NOT NULL"
            ).fetchone()
        assert row is not None
        assert row[1]
        assert name == "database_url" or row[0] == name.replace("_database_url", "").join(
            ("masstock_", "")
        )
    assert stack.get("/v1/me")["role"] == "admin"
    assert stack.get("/v1/me", "client_a")["role"] == "client"


def test_images_of_the_demo_data_can_be_downloaded(stack: Stack) -> None:
    description = stack.description
    with psycopg.connect(description["database_url"]) as connection:
        rows = connection.execute(
            "SELECT execution_id, batch_index FROM public.workflow_batch_results"
            " WHERE status = 'completed'"
        ).fetchall()
    assert rows
    for execution, index in rows:
        path = f"/v1/executions/{execution}/results/{index}/image"
        host = description["base_url"].removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=20)
        bearer = {"Authorization": f"Bearer {description['tokens']['admin']}"}
        connection.request("GET", path, headers=bearer)
        answer = connection.getresponse()
        assert answer.status == 302
        with urllib.request.urlopen(answer.headers["Location"], timeout=20) as image:
            assert image.read(4) == b"\x89PNG"
        connection.close()


def test_up_on_a_running_stack_changes_nothing(stack: Stack) -> None:
    before = stack.description
    again = stack.run("up")
    assert again.returncode == 0
    assert before["base_url"] in again.stdout
    assert stack.description == before


def test_up_on_another_port_names_the_port_of_the_stack(stack: Stack) -> None:
    before = stack.description
    port = int(before["base_url"].rpartition(":")[2])
    elsewhere = stack.run("up", PORT=str(port + 1))
    assert elsewhere.returncode == 1
    assert elsewhere.stderr == (
        f"The stack runs on port {port} already; run `make down` first to use another one.\n"
    )
    assert stack.run("up", PORT=str(port)).returncode == 0
    assert stack.description == before


def test_token_takes_a_name_an_id_or_an_email(stack: Stack) -> None:
    with psycopg.connect(stack.description["database_url"]) as connection:
        row = connection.execute("SELECT id::text, email FROM public.users LIMIT 1").fetchone()
    assert row is not None
    for user in ("client_b", *row):
        token = stack.run("token", "--user", user)
        assert token.returncode == 0
        assert token.stdout.count(".") == 2
    for user in ("nobody@nowhere.example", "nobody", ""):
        unknown = stack.run("token", "--user", user)
        assert (unknown.returncode, unknown.stdout, unknown.stderr.count("\n")) == (1, "", 1)


def test_dead_services_are_started_again(stack: Stack) -> None:
    children = {
        pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in family(stack.description["pid"])
    }
    for pid, command in children.items():
        if b"local.aws" in command:
            os.kill(pid, signal.SIGKILL)
    wait_until_gone({pid for pid, command in children.items() if b"local.aws" in command})
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{stack.description['s3_endpoint']}/_health", timeout=5).close()
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert stack.get("/v1/me")["role"] == "admin"


def test_a_killed_database_is_started_again_on_the_same_port(stack: Stack) -> None:
    [postmaster] = [
        pid
        for pid in family(stack.description["pid"])
        if b"bin/postgres\0-D" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    os.kill(postmaster, signal.SIGKILL)
    again = stack.run("up")
    assert again.returncode == 0, again.stderr
    with psycopg.connect(stack.description["database_url"], connect_timeout=5) as connection:
        connection.execute("SELECT FROM public.users")
    assert stack.get("/v1/me")["role"] == "admin"


def test_a_killed_supervisor_leaves_no_process_and_up_recovers(stack: Stack) -> None:
    before = stack.description
    pids = family(before["pid"])
    assert len(pids) > 5
    os.kill(before["pid"], signal.SIGKILL)
    wait_until_gone(pids)
    again = stack.run("up")
    assert again.returncode == 0, again.stderr
    assert stack.description["pid"] != before["pid"]
    # Old URLs and tokens stay valid.
    assert stack.description["base_url"] == before["base_url"]
    (stack.directory / "stack.json").write_text(
        json.dumps({**stack.description, "tokens": before["tokens"]})
    )
    assert stack.get("/v1/me", "client_b")["role"] == "client"


def test_down_leaves_no_process_and_keeps_the_data(stack: Stack) -> None:
    pids = family(stack.description["pid"])
    down = stack.run("down")
    assert (down.returncode, down.stdout) == (0, "The stack is down.\n")
    wait_until_gone(pids, 2)
    assert not (stack.directory / "stack.json").exists()
    assert (stack.directory / "keys").is_dir()
    assert stack.run("down").stdout == "No stack was running.\n"


def test_an_interrupted_up_leaves_no_process(stack: Stack) -> None:
    lock = stack.directory / "supervisor.lock"
    lock.write_text("")
    with subprocess.Popen(
        [sys.executable, "-m", "local", "up"], cwd=ROOT, env=stack.environment()
    ) as up:
        deadline = time.monotonic() + 30
        while not lock.read_text() or len(family(int(lock.read_text()))) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        pids = family(int(lock.read_text()))
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 130
    wait_until_gone(pids)


def test_concurrent_ups_start_one_stack(stack: Stack) -> None:
    stack.run("down")
    with ThreadPoolExecutor(4) as threads:
        ups = list(threads.map(lambda _: stack.run("up"), range(4)))
    assert [up.stderr for up in ups] == [""] * 4
    assert len({up.stdout for up in ups}) == 1
    assert stack.run("down").returncode == 0


def test_a_closed_pipe_causes_no_error_message(stack: Stack) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "local", "token"],
        cwd=ROOT,
        env=stack.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as token:
        assert token.stdout is not None
        assert token.stderr is not None
        token.stdout.close()
        assert token.stderr.read() == b""
        assert token.wait(30) == 128 + signal.SIGPIPE


def test_a_busy_port_prints_one_line(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up = stack.run("up", PORT=str(port))
    assert up.returncode == 1
    assert up.stderr == f"PORT {port} is in use; choose another one or leave PORT unset.\n"


def test_clean_deletes_the_stacks_files_only(stack: Stack) -> None:
    theirs = stack.directory / "notes.txt"
    theirs.write_text("mine")
    assert stack.run("clean").returncode == 0
    assert list(stack.directory.iterdir()) == [theirs]
    theirs.unlink()
    assert stack.run("clean").returncode == 0
    assert not stack.directory.exists()
