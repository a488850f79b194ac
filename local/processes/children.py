"""Starting and ending processes so that none outlives the stack."""

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

HOST = "127.0.0.1"
LEASH = Path(__file__).with_name("leash.py")

# A child's death signal is tied to the thread that forked it, not to the process. This one
# thread lives as long as the process does.
_forker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="forker")

# Below Linux' and macOS' range for outgoing connections, which could otherwise take a port
# between our look and the child's bind.
_PORTS = range(10240, 32768)
_given_ports: set[int] = set()
_ports_lock = threading.Lock()


class StackError(Exception):
    """Something the person at the keyboard can act on; its text is the one line they see."""


def on_leash(
    command: Sequence[str],
    *,
    parent: int,
    death_signal: signal.Signals = signal.SIGKILL,
    account: tuple[int, int] | None = None,
) -> list[str]:
    """`command`, wrapped so that it receives `death_signal` when `parent` dies (0: whoever)."""
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
    """Start `command` in its own process group, on our leash, writing to the end of `log`."""
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
    """Send `sign` and wait `patience` seconds; then, or for SIGKILL, kill the process group.

    Only while we have not reaped the process: after that its number may be somebody else's. What
    it started is on its own leash and goes with it.
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
    """Whether a server could listen on `port` now."""
    with socket.socket() as probe:
        # As servers do: connections of a server just stopped must not keep its port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port(preferred: int | None = None) -> int:
    """A port nobody listens on, never the same twice; `preferred` if that is free."""
    with _ports_lock:
        for port in [preferred or 0, *random.sample(_PORTS, 1000)]:
            if port and port not in _given_ports and is_free(port):
                _given_ports.add(port)
                return port
    raise StackError("No free TCP port between 10240 and 32767.")


def release_port(port: int) -> None:
    """Let `free_port` give this one out again."""
    with _ports_lock:
        _given_ports.discard(port)


def wait_for_listener(port: int, process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether `process` came to accept connections on `port` in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return True
        time.sleep(0.005)
    return False
