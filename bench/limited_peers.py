"""Runs the peers that are told the model's limit. They run at the same time, each with a stand-in
model of its own, because they wait nearly all of the time."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from bench import model_control, queues, redis
from bench.measure import CannotRun
from bench.model_control import Limit
from bench.pace_figures import Run
from bench.queues import Peer, Queue

# The time of one image.
MODEL_SECONDS = 1.0
POLL_SECONDS = 0.5
START_SECONDS = 30
# A peer has so many times the time that the limit needs. What is missing then is lost.
PATIENCE = 3

type Runs = dict[str, Run]


def paint(limit: Limit, batches: Mapping[str, int]) -> tuple[Runs, dict[str, str]]:
    """The run of each peer under this limit, and for each peer that cannot run here the reason.
    `batches` has the number of prompts by name, in the order of submission."""
    peers, missing = queues.find(queues.LIMITED_PEERS)
    try:
        with redis.running() as redis_url, ThreadPoolExecutor(len(peers) or 1) as threads:
            server, _, _ = redis_url.rpartition("/")
            started = {
                name: threads.submit(_paint, name, peer, f"{server}/{number}", limit, batches)
                for number, (name, peer) in enumerate(peers.items())
            }
            return {name: future.result() for name, future in started.items()}, missing
    except CannotRun as error:
        raise CannotRun(f"the peers: {error}") from error


def texts_of(batches: Mapping[str, int]) -> dict[str, list[str]]:
    """The prompts of batches, as the programs in bench/peers write them."""
    return {
        batch: [f"prompt number {position} of {batch}" for position in range(number)]
        for batch, number in batches.items()
    }


def _paint(name: str, peer: Peer, redis_url: str, limit: Limit, batches: Mapping[str, int]) -> Run:
    prompts = texts_of(batches)
    with model_control.running(name) as model_url:
        variables = {
            "REDIS_URL": redis_url,
            "MODEL_URL": model_url,
            "LIMIT_REQUESTS": str(limit.requests),
            "LIMIT_SECONDS": str(limit.seconds),
        }
        model_control.take(model_url, MODEL_SECONDS)
        with queues.running(f"limited-{name}", peer, variables) as queue:
            _warm_up(queue, model_url)
            # Until the first call has left the peer's own window.
            time.sleep(limit.seconds)
            model_control.control(model_url, limits=[limit.as_member()])
            began = time.time()
            for batch, number in batches.items():
                queue.submit(batch, "paint", number)
            submitted = time.time()
            ideal = sum(batches.values()) / limit.rate
            run = Run(prompts, began, submitted, [])
            while run.lost and time.time() < began + PATIENCE * ideal:
                queue.check()
                time.sleep(POLL_SECONDS)
                calls = model_control.calls_since(model_url, began)
                run = Run(prompts, began, submitted, calls)
            return run


def _warm_up(queue: Queue, model_url: str) -> None:
    """Waits until the peer has painted one prompt."""
    began = time.time()
    queue.submit("warm-up", "paint", 1)
    while not model_control.calls_since(model_url, began):
        queue.check()
        if time.time() > began + START_SECONDS:
            raise CannotRun("a limited peer did not start")
        time.sleep(POLL_SECONDS)
