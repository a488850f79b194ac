"""Warm execution environments of each function, one for each concurrent invoke."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from local.aws.execution_environment import (
    PAYLOAD_LIMIT,
    ExecutionEnvironment,
    InvokeResult,
    service_error,
)
from local.aws.resources import LambdaFunction

logger = logging.getLogger(__name__)

LOOK_AFTER_SECONDS = 0.5
# The qualifier that AutoPublishAlias gives the functions in template.yaml.
ALIAS = ":live"
IDLE_SECONDS = 300
# Cold starts of one function at the same time. More would only take CPU from the warm environments,
# which serve the waiting invokes meanwhile.
STARTS_AT_ONCE = max(1, (os.cpu_count() or 1) // 2)
# A new environment replaces one that dies during its init, for so long.
REPLACE_SECONDS = 20


class PayloadTooLarge(Exception):
    """The event is over Lambda's limit of 6 MB."""


class TooManyRequests(Exception):
    """As many invokes as CONCURRENT_EXECUTIONS allows run at the moment."""


class PoolClosed(Exception):
    """The pool is closed, because the stack stops."""


class ConcurrencyLimit:
    """The account's limit of concurrent invokes, shared by all functions. None is no limit."""

    def __init__(self, most: int | None = None) -> None:
        self._slots = None if most is None else threading.Semaphore(most)

    @contextlib.contextmanager
    def slot(self, patience: float = 0) -> Iterator[None]:
        """Hold one of the slots; TooManyRequests if none is free for `patience` seconds."""
        if self._slots is None:
            yield
            return
        if not self._slots.acquire(timeout=patience):
            raise TooManyRequests
        try:
            yield
        finally:
            self._slots.release()


class FunctionPool:
    """The environments of one function.

    An invoke takes the first environment that is free: a warm one, or a new one that has finished
    its init. Without a `limit`, invokes beyond `capacity` wait.
    """

    def __init__(
        self,
        function: LambdaFunction,
        variables: Mapping[str, str],
        log: Path,
        capacity: int,
        limit: ConcurrencyLimit | None = None,
    ) -> None:
        self.function = function
        self._variables = variables
        self._log = log
        self._capacity = capacity
        self._limit = limit or ConcurrencyLimit()
        self._slots = threading.Semaphore(capacity)
        self._changed = threading.Condition()
        self._all: set[ExecutionEnvironment] = set()
        self._idle: list[ExecutionEnvironment] = []
        self._waiting = 0
        self._starting = 0
        # Errors of environments that cannot start. Each is the result of one waiting invoke.
        self._failures: list[InvokeResult] = []
        self._generation = 0
        self._closed = False

    def invoke(self, event: bytes, patience: float = 0) -> InvokeResult:
        """Run the handler on `event` (JSON).

        Waits `patience` seconds for a slot of the account's limit. Raises PayloadTooLarge,
        TooManyRequests and PoolClosed.
        """
        if len(event) > PAYLOAD_LIMIT:
            raise PayloadTooLarge
        with self._limit.slot(patience), self._slots:
            # Every idle environment may have died. Each attempt removes one.
            for _ in range(self._capacity):
                result = self._run(event)
                if result.began:
                    break
                logger.warning(
                    "%s: an environment died; the invoke is repeated", self.function.name
                )
            return result

    def _run(self, event: bytes) -> InvokeResult:
        environment = self._take()
        if isinstance(environment, InvokeResult):
            return environment
        reusable = False
        try:
            result = environment.invoke(event)
            reusable = result.reusable
            return result
        finally:
            # The state after a crash or a timeout is unknown.
            self._give_back(environment, reusable)

    def _take(self) -> ExecutionEnvironment | InvokeResult:
        """Return a warm environment, or the error of one that could not start."""
        with self._changed:
            self._waiting += 1
            try:
                while True:
                    if self._closed:
                        raise PoolClosed
                    if self._idle:
                        # The one used last, so that the others reach their idle limit and end.
                        return self._idle.pop()
                    if self._failures:
                        return self._failures.pop()
                    if self._starting < min(self._waiting, STARTS_AT_ONCE):
                        self._start_one()
                    self._changed.wait(LOOK_AFTER_SECONDS)
            finally:
                self._waiting -= 1

    def warm_up(self) -> None:
        """Start one environment without an invoke, as Lambda does for a new function."""
        with self._changed:
            self._start_one()

    def wait_for_starts(self, seconds: float) -> None:
        """Return when no environment is starting, or after `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: self._starting == 0, seconds)

    def _start_one(self) -> None:
        self._starting += 1
        threading.Thread(target=self._start, name="cold-start", daemon=True).start()

    def _start(self) -> None:
        try:
            environment, result = self._initialized()
        except PoolClosed:
            return
        except Exception as error:
            logger.exception("%s: no environment can start", self.function.name)
            environment, result = None, service_error(error)
        finally:
            with self._changed:
                self._starting -= 1
                self._changed.notify_all()
        if result.failed:
            with self._changed:
                if len(self._failures) < self._waiting:
                    self._failures.append(replace(result, began=True))
                self._changed.notify_all()
        if environment is not None:
            self._give_back(environment, result.reusable)

    def _initialized(self) -> tuple[ExecutionEnvironment, InvokeResult]:
        deadline = time.monotonic() + REPLACE_SECONDS
        while True:
            with self._changed:
                if self._closed:
                    raise PoolClosed
                environment = ExecutionEnvironment(
                    self.function, self._variables, self._log, self._generation
                )
                self._all.add(environment)
            result = environment.initialize()
            if result.began or time.monotonic() > deadline:
                return environment, result
            self._give_back(environment, reusable=False)

    def _give_back(self, environment: ExecutionEnvironment, reusable: bool) -> None:
        with self._changed:
            keep = reusable and environment.generation == self._generation and not self._closed
            if keep:
                environment.idle_since = time.monotonic()
                self._idle.append(environment)
            else:
                self._all.discard(environment)
            self._changed.notify_all()
        if not keep:
            environment.destroy()

    def retire(self) -> None:
        """Let running invokes finish; later invokes get a new environment."""
        with self._changed:
            self._generation += 1
        self._drop_idle(lambda _: True)

    def forget_idle(self, seconds: float) -> None:
        """End environments that died or had no invoke in the last `seconds`."""
        since = time.monotonic() - seconds
        self._drop_idle(lambda environment: environment.idle_since < since or not environment.alive)

    def _drop_idle(self, chosen: Callable[[ExecutionEnvironment], bool]) -> None:
        with self._changed:
            dropped = [environment for environment in self._idle if chosen(environment)]
            self._idle = [e for e in self._idle if e not in dropped]
            self._all.difference_update(dropped)
        for environment in dropped:
            environment.destroy()

    def close(self) -> None:
        """End every environment, busy ones too."""
        with self._changed:
            self._closed = True
            doomed = list(self._all)
            self._idle.clear()
            self._changed.notify_all()
        for environment in doomed:
            environment.destroy()


class Pools:
    """The pools of all functions. An edited source file is used from the next invoke on."""

    def __init__(
        self,
        functions: Iterable[LambdaFunction],
        variables: Mapping[str, Mapping[str, str]],
        logs: Path,
        capacity: int,
        limit: ConcurrencyLimit | None = None,
    ) -> None:
        self._by_id = {
            function.logical_id: FunctionPool(
                function,
                variables[function.logical_id],
                logs / f"{function.log_name}.log",
                capacity,
                limit,
            )
            for function in functions
        }
        self._by_any_name = {
            name: pool
            for pool in self._by_id.values()
            for name in (pool.function.logical_id, pool.function.name, pool.function.arn)
        }
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="source-watcher", daemon=True)

    def start(self) -> None:
        """Start the thread that watches source files and idle environments."""
        self._watcher.start()

    def warm_up(self) -> None:
        """Start one environment of each function."""
        for pool in self._by_id.values():
            pool.warm_up()

    def wait_for_starts(self, seconds: float) -> None:
        """Return when no environment is starting, or after `seconds`."""
        deadline = time.monotonic() + seconds
        for pool in self._by_id.values():
            pool.wait_for_starts(max(0, deadline - time.monotonic()))

    def find(self, name: str) -> FunctionPool | None:
        """Return the pool of a logical id, function name or ARN, or None. An alias is ignored."""
        return self._by_any_name.get(name.removesuffix(ALIAS))

    def __getitem__(self, logical_id: str) -> FunctionPool:
        return self._by_id[logical_id]

    def close(self) -> None:
        """End every environment."""
        self._stopping.set()
        for pool in self._by_id.values():
            pool.close()

    def _watch(self) -> None:
        pools = list(self._by_id.values())
        seen = [source_state(pool.function) for pool in pools]
        while not self._stopping.wait(LOOK_AFTER_SECONDS):
            for position, pool in enumerate(pools):
                now = source_state(pool.function)
                if now != seen[position]:
                    seen[position] = now
                    pool.retire()
                pool.forget_idle(IDLE_SECONDS)


def source_state(function: LambdaFunction) -> dict[str, int]:
    """Return the modification time of each file in the function's code and layers."""
    state = {}
    for directory in [function.code, *function.layers]:
        for path in directory.rglob("*"):
            if path.suffix == ".pyc" or path.name == "__pycache__":
                continue
            with contextlib.suppress(FileNotFoundError):
                state[str(path)] = path.stat().st_mtime_ns
    return state
