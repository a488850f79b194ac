"""A batch on arq, which has no fan-in of its own: every job that ends counts down, and the last one
enqueues the aggregate.

`arq arq_app.Worker` works; `python arq_app.py` submits as celery_app does.
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
# arq looks for jobs by polling, twice a second unless told.
POLL_SECONDS = 0.02


async def connect(ctx: dict[str, Any]) -> None:
    """One session for all jobs."""
    ctx["http"] = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64))


async def disconnect(ctx: dict[str, Any]) -> None:
    """The session's end."""
    await ctx["http"].close()


async def paint(ctx: dict[str, Any], batch: str, number: int) -> None:
    """Asks the model and keeps the image."""
    http = ctx["http"]
    async with http.post(URL, data=ask(number), headers=HEADERS) as answer:
        image = image_of(await answer.read())
    async with http.put(place_of(batch, number), data=image, headers=IMAGE) as kept:
        kept.raise_for_status()
    await count_down(ctx, batch)


async def nothing(ctx: dict[str, Any], batch: str, number: int) -> None:
    """What the queue costs alone."""
    await count_down(ctx, batch)


async def count_down(ctx: dict[str, Any], batch: str) -> None:
    """The last job of a batch lets its aggregate go."""
    if await ctx["redis"].decr(f"left:{batch}") == 0:
        await ctx["redis"].enqueue_job("count", batch)


async def count(ctx: dict[str, Any], batch: str) -> None:
    """The aggregate; tells who waits for it."""
    await ctx["redis"].rpush(f"ended:{batch}", 1)


class Worker:
    """What `arq` reads."""

    functions = (paint, nothing, count)
    redis_settings = SETTINGS
    on_startup = connect
    on_shutdown = disconnect
    max_jobs = 20
    poll_delay = POLL_SECONDS
    keep_result = 0
    job_timeout = 120


async def serve() -> None:
    """See the module."""
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
