"""Warm execution environments of each function, one for each concurrent invoke."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from local.aws.execution_environment import PAYLOAD_LIMIT, ExecutionEnvironment, InvokeResult
from local.aws.resources import LambdaFunction

LOOK_AT_SOURCES_SECONDS = 0.5
IDLE_SECONDS = 300


class PayloadTooLarge(Exception):
    """The event is over Lambda's limit of 6 MB."""


class PoolClosed(Exception):
    """The pool is closed, because the stack stops."""


class FunctionPool:
    """The environments of one function. Invokes beyond `capacity` wait for a free environment."""

    def __init__(
        self, function: LambdaFunction, variables: Mapping[str, str], log: Path, capacity: int
    ) -> None:
        self.function = function
        self._variables = variables
        self._log = log
        self._slots = threading.Semaphore(capacity)
        self._lock = threading.Lock()
        self._all: set[ExecutionEnvironment] = set()
        self._idle: list[ExecutionEnvironment] = []
        self._generation = 0
        self._closed = False

    def invoke(self, event: bytes) -> InvokeResult:
        """Run the handler on `event` (JSON). Raises PayloadTooLarge and PoolClosed."""
        if len(event) > PAYLOAD_LIMIT:
            raise PayloadTooLarge
        with self._slots, self._environment() as environment:
            result = environment.invoke(event)
            if not result.reusable:
                # The state after a crash or a timeout is unknown.
                environment.generation = -1
            return result

    @contextlib.contextmanager
    def _environment(self) -> Iterator[ExecutionEnvironment]:
        environment = self._take()
        try:
            yield environment
        except BaseException:
            environment.generation = -1
            raise
        finally:
            self._give_back(environment)

    def _take(self) -> ExecutionEnvironment:
        with self._lock:
            while self._idle:
                # Takes the environment that was used last. The others can then reach their idle
                # limit and end.
                environment = self._idle.pop()
                if environment.alive:
                    return environment
                self._all.discard(environment)
                environment.destroy()
            if self._closed:
                raise PoolClosed
            generation = self._generation
        environment = ExecutionEnvironment(self.function, self._variables, self._log, generation)
        with self._lock:
            self._all.add(environment)
        return environment

    def _give_back(self, environment: ExecutionEnvironment) -> None:
        with self._lock:
            keep = environment.generation == self._generation and not self._closed
            if keep:
                environment.idle_since = time.monotonic()
                self._idle.append(environment)
            else:
                self._all.discard(environment)
        if not keep:
            environment.destroy()

    def retire(self) -> None:
        """Let running invokes finish; later invokes get a new environment."""
        with self._lock:
            self._generation += 1
        self._drop_idle(lambda _: True)

    def forget_idle(self, seconds: float) -> None:
        """End environments without an invoke in the last `seconds`."""
        since = time.monotonic() - seconds
        self._drop_idle(lambda environment: environment.idle_since < since)

    def _drop_idle(self, chosen: Callable[[ExecutionEnvironment], bool]) -> None:
        with self._lock:
            dropped = [environment for environment in self._idle if chosen(environment)]
            self._idle = [e for e in self._idle if e not in dropped]
            self._all.difference_update(dropped)
        for environment in dropped:
            environment.destroy()

    def close(self) -> None:
        """End every environment, busy ones too."""
        with self._lock:
            self._closed = True
            doomed = list(self._all)
            self._idle.clear()
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
    ) -> None:
        self._by_id = {
            function.logical_id: FunctionPool(
                function,
                variables[function.logical_id],
                logs / f"{function.log_name}.log",
                capacity,
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

    def find(self, name: str) -> FunctionPool | None:
        """Return the pool of a logical id, function name or ARN, or None."""
        return self._by_any_name.get(name)

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
        while not self._stopping.wait(LOOK_AT_SOURCES_SECONDS):
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
