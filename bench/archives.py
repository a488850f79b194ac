"""One part of an archive: images in S3 become a ZIP file in S3.

The reference is one process that copies the same bytes with boto3: it reads each image, and
`upload_fileobj` stores them as one object. S3 is moto in a process of its own. Each process is new,
so that its peak memory is that of the work.
"""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import boto3

from bench.measure import Row, Sample, compare
from bench.processes import measured
from local.aws.resources import REGION
from local.processes import children
from local.processes.services import Service
from local.settings import ROOT

IMAGE_BYTES = 1_500_000
IMAGES, FEW, MANY = 1000, 200, 2000
ROUNDS = 3
BUCKET = "images"
COPY = Path(__file__).parent / "peers/copy_images.py"
BUILD = Path(__file__).parent / "peers/build_archive.py"


def run(names: list[str], *, full: bool) -> Iterator[Row]:
    """The row `archive`."""
    with tempfile.TemporaryDirectory() as directory, _store(Path(directory)) as url:
        _fill(url, MANY)
        ours, reference = [], []
        peaks: dict[str, float] = {}
        for _ in range(ROUNDS):
            sample, peaks["ours"] = _measured(BUILD, url, IMAGES)
            ours.append(sample)
            sample, peaks["boto3"] = _measured(COPY, url, IMAGES)
            reference.append(sample)
        for number in (FEW, MANY):
            _, peaks[f"ours, {number:,} images"] = _measured(BUILD, url, number)
        yield compare(
            names[0],
            ours,
            reference,
            "the same bytes with boto3",
            clock="wall",
            images=IMAGES,
            peak_mb=peaks,
        )


@contextlib.contextmanager
def _store(directory: Path) -> Iterator[str]:
    configuration = {
        "directory": str(directory / "s3"),
        "calls": str(directory / "calls.jsonl"),
        "lambda_url": "http://127.0.0.1:9",
        "state_machines": [],
        "secrets": {},
        "buckets": {BUCKET: False},
        "rules": [],
    }
    port = children.free_port()
    service = Service(
        "local.aws",
        [str(port)],
        port=port,
        root=ROOT,
        log=directory / "aws.log",
        stdin=json.dumps(configuration),
    )
    service.start()
    try:
        service.wait_until_ready()
        yield service.url
    finally:
        service.stop()


def _fill(url: str, images: int) -> None:
    s3 = boto3.client("s3", endpoint_url=url, region_name=REGION, **_KEYS)
    for number in range(images):
        s3.put_object(Bucket=BUCKET, Key=f"{number}.png", Body=os.urandom(IMAGE_BYTES))


_KEYS = {"aws_access_key_id": "bench", "aws_secret_access_key": "bench"}


def _measured(script: Path, url: str, images: int) -> tuple[Sample, float]:
    """Wall and CPU of a process, and its peak memory in megabytes."""
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL_S3": url,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
    }
    return measured([sys.executable, script, BUCKET, str(images)], environment)
