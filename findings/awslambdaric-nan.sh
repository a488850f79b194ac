#!/usr/bin/env bash
# Guess: A function's result that the Lambda runtime client accepts can be the input of the next
#   function.
# So: The client writes not-a-number and infinite values as NaN and Infinity, which is no JSON, and
#   its reader refuses them. The first function succeeds and the second fails before its handler.
# Matters: A mean of no values in a report makes an invoke fail that has no mistake, with
#   Runtime.UnmarshalError and no line of the handler in the log.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'awslambdaric==4.2.2'

venv/bin/python - <<'EOF'
import importlib.metadata as metadata
import sys

from awslambdaric.lambda_runtime_exception import FaultException
from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"awslambdaric {metadata.version('awslambdaric')}")
marshaller = LambdaMarshaller()
result, content_type = marshaller.marshal_response({"mean_seconds": float("nan"), "longest": float("inf")})
check("The answer of the first function", (result, content_type),
      ('{"mean_seconds": NaN, "longest": Infinity}', "application/json"))
try:
    seen = marshaller.unmarshal_request(result)
except FaultException as error:
    seen = error.exception_type
check("The same bytes as the event of the second function", seen, "Runtime.UnmarshalError")

sys.exit(bool(failed))
EOF
