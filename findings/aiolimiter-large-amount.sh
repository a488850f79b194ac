#!/usr/bin/env bash
# Guess: aiolimiter serves those who wait in the order in which they came, also if one asks for a
#   larger amount.
# So: A task that asks for all ten of ten gets them after each of the fifteen tasks that came later
#   and asked for one. Each small amount takes the place that the large one waits for.
# Matters: A limiter of images or tokens a minute lets the large requests wait for as long as small
#   ones keep coming. They wait without a limit and without an error.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'aiolimiter==1.3.0'

venv/bin/python - <<'EOF'
import asyncio
import sys
from importlib.metadata import version

from aiolimiter import AsyncLimiter

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"aiolimiter {version('aiolimiter')}")


async def order(amount):
    limiter = AsyncLimiter(10, 1)
    await limiter.acquire(10)
    passed = []

    async def one(name, amount):
        await limiter.acquire(amount)
        passed.append(name)

    first = asyncio.create_task(one("first", amount))
    await asyncio.sleep(0)
    await asyncio.gather(first, *(one(name, 1) for name in range(15)))
    return passed


check("The place of the first of 16 tasks that ask for one", asyncio.run(order(1)).index("first"), 0)
check("Its place if it asks for ten", asyncio.run(order(10)).index("first"), 15)

sys.exit(bool(failed))
EOF
