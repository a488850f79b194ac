"""A batch on arq. arq has no fan-in, so every job decrements a counter when it ends, and the last
one enqueues the aggregate.

`arq arq_app.Worker` runs the worker. `python arq_app.py` submits batches as celery_app does.
"""

import asyncio
import os
import sys
import time
from typing import Any

import aiohttp
from arq import create_pool
from arq.connections import RedisSettings
from painting import HEADERS, IMAGE, URL, ask, image_of, place_of

SETTINGS = RedisSettings.from_dsn(os.environ["REDIS_URL"])
# arq polls for jobs, by default twice a second.
POLL_SECONDS = 0.02


async def connect(ctx: dict[str, Any]) -> None:
    """Opens one session for all jobs."""
    ctx["http"] = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64))


async def disconnect(ctx: dict[str, Any]) -> None:
    """Closes the session."""
    await ctx["http"].close()


async def paint(ctx: dict[str, Any], batch: str, number: int) -> None:
    """Calls the model and stores the image."""
    http = ctx["http"]
    async with http.post(URL, data=ask(number), headers=HEADERS) as answer:
        image = image_of(await answer.read())
    async with http.put(place_of(batch, number), data=image, headers=IMAGE) as kept:
        kept.raise_for_status()
    await count_down(ctx, batch)


async def nothing(ctx: dict[str, Any], batch: str, number: int) -> None:
    """A task without work, to measure the queue alone."""
    await count_down(ctx, batch)


async def count_down(ctx: dict[str, Any], batch: str) -> None:
    """Counts an ended job; after the last one of a batch, enqueues the aggregate."""
    if await ctx["redis"].decr(f"left:{batch}") == 0:
        await ctx["redis"].enqueue_job("count", batch)


async def count(ctx: dict[str, Any], batch: str) -> None:
    """The aggregate: wakes the client."""
    await ctx["redis"].rpush(f"ended:{batch}", 1)


class Worker:
    """The worker's settings, which `arq` reads."""

    functions = (paint, nothing, count)
    redis_settings = SETTINGS
    on_startup = connect
    on_shutdown = disconnect
    max_jobs = 20
    poll_delay = POLL_SECONDS
    keep_result = 0
    job_timeout = 120


async def serve() -> None:
    """Submits the batches that stdin names; writes the seconds of each."""
    redis = await create_pool(SETTINGS)
    while line := await asyncio.to_thread(sys.stdin.readline):
        batch, task, number = line.split()
        began = time.perf_counter()
        await redis.set(f"left:{batch}", number)
        await asyncio.gather(
            *(redis.enqueue_job(task, batch, position) for position in range(int(number)))
        )
        if not await redis.blpop(f"ended:{batch}", timeout=300):
            sys.exit("the batch did not end")
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    asyncio.run(serve())
