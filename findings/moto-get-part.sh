#!/usr/bin/env bash
# Guess: moto's S3 knows the parts of an object that was uploaded in parts: GetObject with PartNumber
#   returns that part, as S3 does and as moto's HeadObject says.
# So: HeadObject returns the size of the part and the number of parts. GetObject ignores PartNumber
#   and returns the whole object, without a range and without an error.
# Matters: A download that reads the parts at the same time is checked with HeadObject, and gets the
#   whole file once per part. A test with one part is green.
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


PART = 5 * 1024 * 1024
upload = client.create_multipart_upload(Bucket="images", Key="archive")["UploadId"]
parts = []
for number, body in ((1, b"a" * PART), (2, b"the end")):
    stored = client.upload_part(Bucket="images", Key="archive", UploadId=upload, PartNumber=number, Body=body)
    parts.append({"PartNumber": number, "ETag": stored["ETag"]})
client.complete_multipart_upload(
    Bucket="images", Key="archive", UploadId=upload, MultipartUpload={"Parts": parts}
)


def size(operation):
    found = operation(Bucket="images", Key="archive", PartNumber=2)
    return found["ContentLength"], found.get("PartsCount")


check("HeadObject of the second part, of 7 bytes: bytes and parts", size(client.head_object), (7, 2))
check("GetObject of the second part", size(client.get_object), (PART + 7, None))

sys.exit(bool(failed))
EOF
