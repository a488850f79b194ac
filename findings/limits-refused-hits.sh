#!/usr/bin/env bash
# Guess: A limiter that refuses a hit takes nothing for it.
# So: In `limits`, the fixed window counts a refused hit: after a refused hit of cost 6, the window
#   of 5 has no room for a hit of cost 1. The moving window and the sliding counter take nothing.
# Matters: A batch that asks for too many images at once locks the small requests of the same key
#   out until the window ends.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'limits==5.8.0'

venv/bin/python - <<'EOF'
import sys

import limits
from limits import storage, strategies

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"limits {limits.__version__}")
five = limits.parse("5/hour")


def after_refusal(strategy):
    limiter = strategy(storage.MemoryStorage())
    refused = limiter.hit(five, "key", cost=6)
    return refused, limiter.hit(five, "key", cost=1)


print("Each line: a hit of cost 6 in an empty window of 5, then a hit of cost 1.")
check("Fixed window", after_refusal(strategies.FixedWindowRateLimiter), (False, False))
check("Moving window", after_refusal(strategies.MovingWindowRateLimiter), (False, True))
check("Sliding window counter", after_refusal(strategies.SlidingWindowCounterRateLimiter), (False, True))

sys.exit(bool(failed))
EOF
