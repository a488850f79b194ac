"""A paced batch on huey: a task under `rate_limit`, which is retried after each refusal.

`huey_consumer limited_huey_app.huey` runs the worker. `python limited_huey_app.py` reads lines
`NAME paint NUMBER` from stdin and submits a batch for each.
"""

import os
import sys

import urllib3
from huey import RedisHuey
from huey.exceptions import RetryTask
from limited_model import CONCURRENCY, REQUESTS, SECONDS, wait_of
from painting import HEADERS, URL, ask, image_of

huey = RedisHuey("limited", url=os.environ["REDIS_URL"], results=False)
http = urllib3.PoolManager(maxsize=CONCURRENCY)


@huey.task()
@huey.rate_limit("model", REQUESTS, per=SECONDS)
def paint(batch: str, number: int) -> None:
    """Calls the model; a refused task goes back to the schedule until the named time."""
    answer = http.request("POST", URL, body=ask(number, batch), headers=HEADERS, retries=False)
    if answer.status == 429:
        raise RetryTask(delay=wait_of(answer.data))
    image_of(answer.data)


if __name__ == "__main__":
    # huey names a task by its module, and the worker does not know the module `__main__`.
    from limited_huey_app import paint as enqueue

    for line in sys.stdin:
        name, _, count = line.split()
        for position in range(int(count)):
            enqueue(name, position)
