#!/usr/bin/env bash
# Guess: generate_presigned_url('put_object', Params={…, 'IfNoneMatch': '*'}) gives a URL that
#   cannot overwrite an object.
# So: In us-east-1 the default URL carries signature version 2, which signs no such header: the URL
#   is the same with and without the condition, and no error is raised. In other regions, or with
#   signature_version='s3v4', the header is signed.
# Matters: An upload form that relies on the condition protects objects in a test in Frankfurt and
#   overwrites them in Virginia.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'boto3==1.44.8' 'botocore==1.44.8'

venv/bin/python - <<'EOF'
import sys
from urllib.parse import parse_qs, urlsplit

import boto3
from botocore.config import Config

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"boto3 {boto3.__version__}")


def url(region, version, **params):
    client = boto3.client("s3", region_name=region, aws_access_key_id="id", aws_secret_access_key="key",
                          config=Config(signature_version=version) if version else None)
    return client.generate_presigned_url("put_object", Params={"Bucket": "images", "Key": "1.png", **params})


def query(address):
    return parse_qs(urlsplit(address).query)


def signed(region, version=None):
    plain, conditional = (query(url(region, version, **p)) for p in ({}, {"IfNoneMatch": "*"}))
    return {"parameters": sorted(conditional), "changes with the condition": sorted(plain) != sorted(conditional)
            or plain.get("X-Amz-SignedHeaders") != conditional.get("X-Amz-SignedHeaders")}


V4 = ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-Signature", "X-Amz-SignedHeaders"]
check("us-east-1 as it comes", signed("us-east-1"),
      {"parameters": ["AWSAccessKeyId", "Expires", "Signature"], "changes with the condition": False})
check("us-east-1 with s3v4", signed("us-east-1", "s3v4"), {"parameters": V4, "changes with the condition": True})
check("eu-central-1 as it comes", signed("eu-central-1"), {"parameters": V4, "changes with the condition": True})

sys.exit(bool(failed))
EOF
