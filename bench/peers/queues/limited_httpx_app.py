"""A paced batch with httpx and pyrate-limiter: one process with twenty coroutines, without a queue.

It reads lines `NAME paint NUMBER` from stdin and paints a batch for each. Nothing is durable: a
batch is lost when the process ends.
"""

import asyncio
import sys

import httpx
from limited_model import CONCURRENCY, REQUESTS, SECONDS, wait_of
from painting import HEADERS, URL, ask, image_of
from pyrate_limiter import Limiter, Rate
from pyrate_limiter.extras.httpx_limiter import AsyncRateLimiterTransport

MILLISECONDS = 1000


async def paint(http: httpx.AsyncClient, batch: str, number: int) -> None:
    """Calls the model until it is not refused. Each call waits for the limiter first."""
    while True:
        answer = await http.post(URL, content=ask(number, batch), headers=HEADERS)
        if answer.status_code != 429:
            image_of(answer.raise_for_status().content)
            return
        await asyncio.sleep(wait_of(answer.content))


async def work(http: httpx.AsyncClient, queue: asyncio.Queue[tuple[str, int]]) -> None:
    """Paints the prompts of the queue one after another."""
    while True:
        await paint(http, *await queue.get())


async def serve() -> None:
    """Reads batches until stdin ends."""
    limiter = Limiter(Rate(REQUESTS, SECONDS * MILLISECONDS))
    queue: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
    transport = AsyncRateLimiterTransport(limiter)
    async with (
        httpx.AsyncClient(transport=transport, timeout=60) as http,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(CONCURRENCY):
            group.create_task(work(http, queue))
        while line := await asyncio.to_thread(sys.stdin.readline):
            name, _, count = line.split()
            for number in range(int(count)):
                queue.put_nowait((name, number))


if __name__ == "__main__":
    asyncio.run(serve())
