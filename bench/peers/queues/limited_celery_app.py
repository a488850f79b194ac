"""A paced batch on Celery: a task with `rate_limit`, which is retried after each refusal.

`celery -A limited_celery_app worker` runs the worker. `python limited_celery_app.py` reads lines
`NAME paint NUMBER` from stdin and submits a batch for each.
"""

import os
import sys
from typing import Any

import urllib3
from celery import Celery
from limited_model import CONCURRENCY, REQUESTS, SECONDS, wait_of
from painting import HEADERS, URL, ask, image_of

app = Celery("limited_celery_app", broker=os.environ["REDIS_URL"])
app.conf.update(
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)
http = urllib3.PoolManager(maxsize=CONCURRENCY)


@app.task(bind=True, rate_limit=f"{REQUESTS * 60 / SECONDS:g}/m", max_retries=None)
def paint(self: Any, batch: str, number: int) -> None:
    """Calls the model; a refused task goes back to the queue until the named time."""
    answer = http.request("POST", URL, body=ask(number, batch), headers=HEADERS, retries=False)
    if answer.status == 429:
        raise self.retry(countdown=wait_of(answer.data))
    image_of(answer.data)


if __name__ == "__main__":
    for line in sys.stdin:
        name, _, count = line.split()
        for position in range(int(count)):
            paint.delay(name, position)
