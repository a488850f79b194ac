"""The commands of `python -m local`: start, stop and delete the stack from outside."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, UUID, uuid5

from local import database
from local.calls import example_calls
from local.errors import StackError
from local.keys import USERS, Keys
from local.processes.files import lock_holder
from local.processes.health import wait_for_health
from local.settings import CONTENTS, ROOT, Settings
from local.wiring import SEALING_SECRET

READY_FD = "MASSTOCK_READY_FD"
START_SECONDS = 180
STOP_SECONDS = 60
REAP_SECONDS = 3


def up(settings: Settings) -> dict[str, Any]:
    """Start the stack unless it runs; return stack.json when /health answers 200."""
    stack = _running_stack(settings)
    if stack is None:
        try:
            _start(settings)
            return json.loads(settings.stack_file.read_text())
        except StackError:
            # Another `up` may have started the stack at the same time.
            stack = _running_stack(settings)
            if stack is None:
                raise
    port = urlsplit(stack["base_url"]).port or 80
    if settings.port not in (None, port):
        raise StackError(
            f"The stack runs on port {port} already; run `make down` first to use another one."
        )
    # The supervisor may be starting a dead process again.
    wait_for_health(port, settings.logs)
    return stack


def running(settings: Settings) -> bool:
    """True if a stack runs or starts."""
    return lock_holder(settings.lock_file) is not None


def _running_stack(settings: Settings) -> dict[str, Any] | None:
    """Return stack.json of the stack that runs, or None; wait for a stack that starts."""
    deadline = time.monotonic() + START_SECONDS
    while (pid := lock_holder(settings.lock_file)) is not None:
        with contextlib.suppress(FileNotFoundError):
            stack = json.loads(settings.stack_file.read_text())
            # A killed stack leaves its stack.json behind.
            if stack["pid"] == pid:
                return stack
        if time.monotonic() > deadline:
            raise StackError(f"The stack did not start in time; see {settings.logs}/supervisor.log")
        time.sleep(0.1)
    return None


def _start(settings: Settings) -> None:
    settings.logs.mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe()
    with (settings.logs / "supervisor.log").open("ab") as log, os.fdopen(reading) as outcome:
        process = subprocess.Popen(
            [sys.executable, "-m", "local", "supervise"],
            cwd=ROOT,
            env={**os.environ, READY_FD: str(writing)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[writing],
            start_new_session=True,
        )
        os.close(writing)
        try:
            line = outcome.readline()
        except BaseException:
            # Ctrl-C does not reach the supervisor, which has its own session.
            process.terminate()
            process.wait(STOP_SECONDS)
            raise
    report = json.loads(line) if line else {"error": f"The supervisor died; see {log.name}"}
    if "error" in report:
        process.wait(STOP_SECONDS)
        raise StackError(report["error"])


def reseal(settings: Settings, *, add_key: bool) -> int:
    """Seal the API keys of a running stack with its newest sealing key; return the exit status."""
    stack = _running_stack(settings)
    if stack is None:
        raise StackError("No stack is running; start one with `make up`.")
    # These imports are slow, and few commands need them.
    from local.aws.clients import client
    from sql.tools import reseal as resealing

    manager = client("secretsmanager", stack["s3_endpoint"])
    sealing_keys = manager.get_secret_value(SecretId=SEALING_SECRET)["SecretString"]
    if add_key:
        sealing_keys = resealing.with_new_key(sealing_keys)
    # On disk before the first API key is sealed with the new key.
    Keys(settings.directory / "keys").keep_sealing_keys(sealing_keys)
    if add_key:
        manager.put_secret_value(SecretId=SEALING_SECRET, SecretString=sealing_keys)
    return resealing.report(*resealing.reseal(stack["database_url"], sealing_keys))


def down(settings: Settings) -> bool:
    """Stop the stack and keep its data; return True if one was running."""
    pid = lock_holder(settings.lock_file)
    if pid is not None:
        _send(pid, signal.SIGTERM)
        if not _becomes_true(lambda: not running(settings), STOP_SECONDS):
            _send(pid, signal.SIGKILL)
            _becomes_true(lambda: not running(settings), STOP_SECONDS)
        # The init process must reap the supervisor. In some containers it reaps late or never.
        _becomes_true(lambda: _is_gone(pid), REAP_SECONDS)
    # PostgreSQL may still be ending after a SIGKILL of every other process.
    settings.postgres().end_leftover()
    settings.stack_file.unlink(missing_ok=True)
    return pid is not None


def _send(pid: int, number: signal.Signals) -> None:
    if pid == 0:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _is_gone(pid: int) -> bool:
    # 0: the supervisor has not written its pid yet.
    return pid == 0 or not Path(f"/proc/{pid}").exists()


def _becomes_true(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def clean(settings: Settings) -> None:
    """Stop the stack and delete its data; other files in LOCAL_DIR stay."""
    down(settings)
    settings.postgres().destroy()
    for name in CONTENTS:
        path = settings.directory / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    # Fails if the directory holds other files or does not exist.
    with contextlib.suppress(OSError):
        settings.directory.rmdir()


def token(settings: Settings, user: str) -> str:
    """Return a bearer token for `admin`, `client_a`, `client_b`, a user id or an e-mail. That of an
    invited person claims the invitation."""
    user_id: str | None = USERS.get(user, user)
    claims: dict[str, Any] = {}
    if "@" in user:
        if not settings.stack_file.exists():
            raise StackError("An e-mail address needs a running stack; run `make up` first.")
        stack = json.loads(settings.stack_file.read_text())
        user_id, is_invited = database.find_user(stack["database_url"], user) or (None, False)
        if is_invited:
            # As an issuer, the same id for the same person.
            user_id = str(uuid5(NAMESPACE_URL, f"mailto:{user.lower()}"))
            claims = {"email": user, "email_verified": True}
    if user_id is None or not _is_uuid(user_id):
        raise StackError(
            f"There is no user {user!r}. Use {', '.join(USERS)}, an e-mail address or a user id."
        )
    return Keys(settings.directory / "keys").mint(user_id, **claims)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def describe(settings: Settings, stack: dict[str, Any]) -> str:
    """Return the text that `up` prints: addresses, and calls to try."""
    workflow = database.first_workflow(stack["database_url"]) or "<workflow id>"
    elsewhere = (
        ""
        if settings.directory == ROOT / ".local"
        else f"LOCAL_DIR={shlex.quote(str(settings.directory))} "
    )
    a, b = (
        f'"Authorization: Bearer $({elsewhere}make -s token USER={user})"'
        for user in ("client_a", "client_b")
    )
    return f"""\
MasStock is up: {stack["base_url"]}
  console     {stack["console_url"]} (open it in a browser)
  API docs    {stack["base_url"]}/docs
  logs        {settings.logs}
  everything  {settings.stack_file}

# Submit as client A, wait for the end, fetch the image; client B gets a 404.
{example_calls(stack["base_url"], workflow, "any-key-1", a, b)}"""
