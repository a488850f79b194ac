#!/usr/bin/env bash
# Guess: moto's S3 has conditional writes, so it has them for PutObject and CopyObject.
# So: PutObject obeys If-None-Match and If-Match. CopyObject ignores If-None-Match and also the old
#   condition on the source, x-amz-copy-source-if-match: it copies over the existing object and
#   copies a source with another ETag.
# Matters: Code that reuses an image by a conditional copy is green in the test, even if the
#   condition is wrong or missing. S3 answers 412.
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


client.put_object(Bucket="images", Key="old", Body=b"old")
client.put_object(Bucket="images", Key="new", Body=b"new")
check("PutObject with If-None-Match over an object",
      run("put_object", Key="old", Body=b"x", IfNoneMatch="*"), "PreconditionFailed")
check("PutObject with another If-Match", run("put_object", Key="old", Body=b"x", IfMatch='"00"'), "PreconditionFailed")
check("CopyObject with If-None-Match over an object",
      run("copy_object", Key="old", CopySource="images/new", IfNoneMatch="*"), "accepted")
check("CopyObject with another ETag of the source",
      run("copy_object", Key="old", CopySource="images/new", CopySourceIfMatch='"00"'), "accepted")
check("The object afterwards", client.get_object(Bucket="images", Key="old")["Body"].read(), b"new")

sys.exit(bool(failed))
EOF
