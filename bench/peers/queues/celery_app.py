"""A batch on Celery: a chord of tasks with an aggregate.

`celery -A celery_app worker` runs the worker. `python celery_app.py` reads lines `NAME TASK NUMBER`
from stdin. For each it submits a batch and writes the seconds until the aggregate's result arrived.
"""

import os
import sys
import time

import urllib3
from celery import Celery, chord
from painting import HEADERS, IMAGE, URL, ask, image_of, place_of

app = Celery("celery_app", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    task_send_sent_event=False,
    task_track_started=False,
    task_acks_late=False,
    broker_pool_limit=32,
    redis_max_connections=100,
    broker_connection_retry_on_startup=True,
    result_expires=600,
)
http = urllib3.PoolManager(maxsize=32)


@app.task
def paint(batch: str, number: int) -> int:
    """Calls the model and stores the image."""
    answer = http.request("POST", URL, body=ask(number), headers=HEADERS, timeout=60)
    image = image_of(answer.data)
    kept = http.request("PUT", place_of(batch, number), body=image, headers=IMAGE)
    if kept.status != 200:
        raise RuntimeError(kept.status)
    return 1


@app.task
def nothing(batch: str, number: int) -> int:
    """A task without work, to measure the queue alone."""
    return 1


@app.task
def count(results: list[int]) -> int:
    """The aggregate: adds up the results."""
    return sum(results)


def submit(batch: str, task: str, number: int) -> float:
    """Seconds of a whole batch."""
    began = time.perf_counter()
    one = {"paint": paint, "nothing": nothing}[task]
    result = chord(one.s(batch, position) for position in range(number))(count.s())
    painted = result.get(timeout=600)
    seconds = time.perf_counter() - began
    if painted != number:
        sys.exit(f"{painted} of {number} were painted")
    return seconds


if __name__ == "__main__":
    for line in sys.stdin:
        batch, task, number = line.split()
        print(submit(batch, task, int(number)), flush=True)
