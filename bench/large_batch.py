"""A batch of 10,000 prompts on the whole stack: `python -m bench.large_batch [PROMPTS]`.

The stand-in model answers at once, so the time is that of the stack. The memory is that of all
processes of the stack.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bench import stack
from bench.processes import shared_memory_mb

CONCURRENCY = 8
SAMPLE_SECONDS = 1


def main(prompts: int) -> None:
    """Prints the time of a batch and the memory of the stack: new, warm and at its peak."""
    with stack.running("large_batch", concurrency=CONCURRENCY) as scene:
        supervisor = scene.access["pid"]
        new = shared_memory_mb(supervisor)
        scene.warm(CONCURRENCY)
        warm = shared_memory_mb(supervisor)
        scene.tell_model(seconds=0)
        with _sampled(supervisor) as samples:
            seconds = scene.paint(prompts)
    print(
        f"{prompts:,} prompts: {seconds:.1f} s, {seconds / prompts * 1000:.1f} ms each; "
        f"memory: new {new:,.0f} MB, warm {warm:,.0f} MB, peak {max(samples):,.0f} MB"
    )


@contextmanager
def _sampled(ancestor: int) -> Iterator[list[float]]:
    """Samples of the memory while the block runs."""
    samples = [shared_memory_mb(ancestor)]
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            samples.append(shared_memory_mb(ancestor))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
