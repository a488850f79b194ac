"""Calls a function as Lambda's runtime does, in the interpreter of what is measured and without
anything of ours: `python call.py MODULE EVENT` imports it and hands it its first event, `python
call.py MODULE` only imports it.

With `STAY=1` it then reads lines `POSITION TIMES`, hands it the event at POSITION so many times and
answers with the seconds of a call, wall and CPU; for 0 times with what the function answers.
"""

import json
import os
import sys
import time
from importlib import import_module
from typing import Any


class Context:
    """What Lambda says of an invocation, as far as anybody here asks."""

    function_name = "function"
    function_version = "1"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:function"
    aws_request_id = "52fdfc07-2182-454f-963f-5f0f9a621d72"

    def get_remaining_time_in_millis(self) -> int:
        """Enough."""
        return 120_000


def call(event: Any) -> Any:
    """One invocation, which must succeed."""
    answer = handler(event, Context())
    if answer.get("statusCode", 200) not in (200, 302):
        sys.exit(f"{sys.argv[1]} answered {answer}")
    return answer


# Where Lambda has its own packages: behind everything else.
sys.path += filter(None, [os.environ.get("RUNTIME_PACKAGES")])
# What the function logs costs what it costs and disturbs nobody.
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

handler = import_module(sys.argv[1]).lambda_handler
events = [json.loads(text) for text in sys.argv[2:]]
if not os.environ.get("STAY"):
    for event in events:
        call(event)
    # Answered: what taking the interpreter down would cost is no part of a cold start.
    os._exit(0)
for line in sys.stdin:
    position, times = map(int, line.split())
    if not times:
        answers.write(json.dumps(call(events[position])) + "\n")
        continue
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        call(events[position])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    answers.write(json.dumps([wall / times, cpu / times]) + "\n")
