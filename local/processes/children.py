"""Starts and ends child processes, so that none survives the stack, and finds free ports."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local.errors import StackError

HOST = "127.0.0.1"
LEASH = Path(__file__).with_name("leash.py")

# Linux sends the death signal when the thread that forked the child ends, even if the process goes
# on. So this thread forks all children. It lives as long as the process.
_forker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="forker")

# Linux and macOS use higher ports for outgoing connections. Such a connection could otherwise take
# a port after `free_port` returned it and before the child binds it.
_PORTS = range(10240, 32768)
_given_ports: set[int] = set()
_ports_lock = threading.Lock()


def on_leash(
    command: Sequence[str],
    *,
    parent: int,
    death_signal: signal.Signals = signal.SIGKILL,
    account: tuple[int, int] | None = None,
) -> list[str]:
    """Wrap `command` so that it gets `death_signal` when its parent process dies.

    `parent` is the pid of the parent. If this process is already dead, the command does not start.
    0 omits this check. `account` is the uid and gid to run as.
    """
    identity = "-" if account is None else f"{account[0]}:{account[1]}"
    leash = [sys.executable, "-I", "-S", str(LEASH), str(parent), str(int(death_signal)), identity]
    return [*leash, *command]


def spawn(
    command: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
    account: tuple[int, int] | None = None,
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start `command` on a leash in its own process group. Its output is appended to `log`."""
    leashed = on_leash(command, parent=os.getpid(), death_signal=death_signal, account=account)
    with log.open("ab") as output:
        return _forker.submit(
            subprocess.Popen,
            leashed,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            process_group=0,
        ).result()


def end(process: subprocess.Popen[bytes], sign: signal.Signals, patience: float) -> None:
    """Send `sign` and wait up to `patience` seconds. Kill the process group if it still runs.

    For SIGKILL, kill the process group at once.

    A reaped process gets no signal, because its pid may belong to another process. Processes that
    the child started are on their own leash and end with it.
    """
    if process.poll() is not None:
        return
    if sign != signal.SIGKILL:
        process.send_signal(sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def is_free(port: int) -> bool:
    """True if a server could listen on `port` now."""
    with socket.socket() as probe:
        # Servers set this too: closed connections of an ended server must not block its port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port(preferred: int | None = None) -> int:
    """Return a free port that was not returned before; `preferred` if it is free."""
    with _ports_lock:
        for port in [preferred or 0, *random.sample(_PORTS, 1000)]:
            if port and port not in _given_ports and is_free(port):
                _given_ports.add(port)
                return port
    raise StackError("There is no free TCP port between 10240 and 32767.")


def release_port(port: int) -> None:
    """Let `free_port` return this port again."""
    with _ports_lock:
        _given_ports.discard(port)


def wait_for_listener(port: int, process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait until `process` accepts connections on `port`; False if it ends or is too late."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return True
        time.sleep(0.005)
    return False
