"""Calls a function as Lambda's runtime does, without any other module of this project.

`python call.py MODULE EVENT` imports the module and calls its handler with the event. `python
call.py MODULE` only imports it.

With `STAY=1` it then reads lines `POSITION TIMES`. It calls the handler TIMES times with the event
at POSITION and writes the mean seconds of a call, wall and CPU. If TIMES is 0, it calls the handler
once and writes its answer.
"""

import json
import os
import sys
import time
from importlib import import_module
from typing import Any


class Context:
    """The fields of Lambda's context object that the functions read."""

    function_name = "function"
    function_version = "1"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:function"
    aws_request_id = "52fdfc07-2182-454f-963f-5f0f9a621d72"

    def get_remaining_time_in_millis(self) -> int:
        """Two minutes."""
        return 120_000


def call(event: Any) -> Any:
    """Calls the handler once; exits with an error if it fails."""
    answer = handler(event, Context())
    if answer.get("statusCode", 200) not in (200, 302):
        sys.exit(f"{sys.argv[1]} answered {answer}")
    return answer


# Lambda puts its own packages last on the path.
sys.path += filter(None, [os.environ.get("RUNTIME_PACKAGES")])
# The function's log goes to /dev/null, because stdout carries the answers.
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

handler = import_module(sys.argv[1]).lambda_handler
events = [json.loads(text) for text in sys.argv[2:]]
if not os.environ.get("STAY"):
    for event in events:
        call(event)
    # A cold start ends with the answer: skip the shutdown of the interpreter.
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
