#!/usr/bin/env bash
# Guess: moto's S3 refuses an upload whose bytes do not match the checksum in the request, as S3
#   does (400 BadDigest).
# So: It stores the object, for a wrong SHA-256 as well as for a wrong Content-MD5.
# Matters: A test against moto cannot show that a damaged upload is refused. It needs a store that
#   checks, or a test of the request itself.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'moto[s3,stepfunctions]==5.2.5' 'boto3==1.44.8' 'botocore==1.44.8'

venv/bin/python - <<'EOF'
import base64
import sys

import boto3
import moto

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"moto {moto.__version__}, boto3 {boto3.__version__}")
moto.mock_aws().start()
client = boto3.client("s3", region_name="us-east-1")
client.create_bucket(Bucket="images")


def run(operation, **params):
    try:
        getattr(client, operation)(Bucket="images", **params)
        return "accepted"
    except client.exceptions.ClientError as error:
        return error.response["Error"]["Code"]


wrong = base64.b64encode(bytes(32)).decode()
check("PutObject with a wrong SHA-256", run("put_object", Key="1", Body=b"image", ChecksumSHA256=wrong), "accepted")
md5 = base64.b64encode(bytes(16)).decode()
check("PutObject with a wrong Content-MD5", run("put_object", Key="2", Body=b"image", ContentMD5=md5), "accepted")

sys.exit(bool(failed))
EOF
