"""The peers: task queues, configured as an experienced user would configure them for these batches.

Each has a worker and a client, which are programs below bench/peers. They read the addresses of
Redis, the model and S3 from environment variables. The limited ones also read the model's limit.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from subprocess import Popen

from bench import environment
from bench.environment import PEERS, SCRATCH
from bench.measure import CannotRun
from local.processes import children
from local.wiring import bypass_proxies

PYTHON_PROGRAMS, BULLMQ = PEERS / "queues", PEERS / "bullmq"
PATIENCE_SECONDS = 300

_names = count()


@dataclass(frozen=True, slots=True)
class Peer:
    """The commands of a queue, and the versions of its packages. Without a worker, the client
    paints."""

    worker: Sequence[str]
    client: Sequence[str]
    versions: Mapping[str, str]


def celery() -> Peer:
    """Celery with processes: the same batch took longer with Celery's threads and with gevent."""
    python = str(environment.python())
    options = ("--pool", "prefork", "--concurrency", "20", "--loglevel", "ERROR")
    # Messages between workers, which a single worker does not need.
    silence = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    worker = [python, "-m", "celery", "--app", "celery_app", "worker", *options, *silence]
    return Peer(worker, [python, "celery_app.py"], {})


def arq() -> Peer:
    """arq with one process and twenty coroutines."""
    python = str(environment.python())
    return Peer([python, "-m", "arq", "arq_app.Worker"], [python, "arq_app.py"], {})


def bullmq(program: str = "batch.mjs") -> Peer:
    """BullMQ, one Node process, twenty concurrent jobs. Installs it if the lock file changed."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        raise CannotRun("BullMQ needs Node and npm")
    lock = BULLMQ / "package-lock.json"
    stamp = BULLMQ / "node_modules" / ".installed"
    if not stamp.exists() or stamp.read_text() != lock.read_text():
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        done = subprocess.run(command, cwd=BULLMQ, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotRun(f"npm ci: {done.stderr.strip()[-500:]}")
        stamp.write_text(lock.read_text())
    packages = json.loads(lock.read_text())["packages"]
    versions = {name: packages[f"node_modules/{name}"]["version"] for name in ("bullmq", "ioredis")}
    command = [node, str(BULLMQ / program)]
    return Peer([*command, "work"], [*command, "submit"], versions)


def limited_bullmq() -> Peer:
    """BullMQ with the worker's `limiter`."""
    return bullmq("limited.mjs")


def limited_celery() -> Peer:
    """Celery with the task's `rate_limit`."""
    python = str(environment.python())
    options = ("--pool", "prefork", "--concurrency", "20", "--loglevel", "ERROR")
    worker = [python, "-m", "celery", "--app", "limited_celery_app", "worker", *options]
    return Peer(worker, [python, "limited_celery_app.py"], {})


def limited_huey() -> Peer:
    """huey with `rate_limit` and twenty threads, which look for tasks every 20 ms."""
    python = str(environment.python())
    options = ("--workers", "20", "--worker-type", "thread", "--delay", "0.02", "--quiet")
    worker = [python, "-m", "huey.bin.huey_consumer", "limited_huey_app.huey", *options]
    return Peer(worker, [python, "limited_huey_app.py"], {})


def limited_httpx() -> Peer:
    """httpx with the transport of pyrate-limiter: a program without a queue."""
    return Peer([], [str(environment.python()), "limited_httpx_app.py"], {})


PEERS_BY_NAME: dict[str, Callable[[], Peer]] = {"celery": celery, "arq": arq, "bullmq": bullmq}
LIMITED_PEERS: dict[str, Callable[[], Peer]] = {
    "bullmq": limited_bullmq,
    "huey": limited_huey,
    "pyrate-limiter": limited_httpx,
    "celery": limited_celery,
}


def find(makers: Mapping[str, Callable[[], Peer]]) -> tuple[dict[str, Peer], dict[str, str]]:
    """The peers that can run here, and for each of the others the reason."""
    found: dict[str, Peer] = {}
    missing: dict[str, str] = {}
    for name, make in makers.items():
        try:
            found[name] = make()
        except CannotRun as error:
            missing[name] = str(error)
    return found, missing


class Queue:
    """The running processes of a peer."""

    def __init__(self, name: str, worker: Popen[bytes] | None, client: Popen[bytes]) -> None:
        self._name = name
        self._worker = worker
        self._client = client

    def submit(self, batch: str, task: str, number: int) -> None:
        """Has the client submit `number` tasks (`paint` or `nothing`)."""
        given = self._client.stdin
        assert given is not None
        given.write(f"{batch} {task} {number}\n".encode())
        given.flush()

    def check(self) -> None:
        """Raises CannotRun if a process of the peer has ended."""
        for process in filter(None, (self._worker, self._client)):
            if process.poll() is not None:
                raise CannotRun(f"{self._name} gave up; see {SCRATCH}/{self._name}.log")

    def run(self, task: str, number: int) -> float:
        """Seconds from the submission of `number` tasks (`paint` or `nothing`) until the client
        reads the result of their aggregate. Raises CannotRun if there is no result in time."""
        told = self._client.stdout
        assert told is not None
        self.submit(f"batch-{os.getpid()}-{next(_names)}", task, number)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not select.select([told], [], [], 1)[0]:
            self.check()
            if time.monotonic() > deadline:
                raise CannotRun(f"{self._name} was too slow; see {SCRATCH}/{self._name}.log")
        line = told.readline()
        if not line:
            raise CannotRun(f"{self._name}'s client ended; see {SCRATCH}/{self._name}.log")
        return float(line)


@contextlib.contextmanager
def running(name: str, peer: Peer, variables: Mapping[str, str]) -> Iterator[Queue]:
    """Starts the peer with these variables (REDIS_URL, MODEL_URL and others)."""
    log = SCRATCH / f"{name}.log"
    given = {**os.environ, **bypass_proxies(), **variables, "PYTHONUNBUFFERED": "1"}
    log.unlink(missing_ok=True)
    with contextlib.ExitStack() as resources:
        worker = None
        if peer.worker:
            worker = children.spawn(peer.worker, log=log, env=given, cwd=PYTHON_PROGRAMS)
            # Kills the whole process group. An orderly end has no use here.
            resources.callback(children.end, worker, signal.SIGKILL, 5)
        complaints = resources.enter_context(log.open("ab"))
        client = resources.enter_context(
            subprocess.Popen(
                children.on_leash(peer.client, parent=os.getpid()),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                env=given,
                cwd=PYTHON_PROGRAMS,
            )
        )
        resources.callback(client.kill)
        yield Queue(name, worker, client)
