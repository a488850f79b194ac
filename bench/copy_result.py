"""Copies a result of so many bytes, as the function economy does, and prints the peak of its memory
in MB: `python -m bench.copy_result 1000000000`. S3 takes the chunks and forgets them."""

import json
import os
import resource
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

LINE_BYTES = 2_800_000
PIECE_BYTES = 1024 * 1024
PROMPTS_LIMIT = 10_000


def pieces(size: int) -> Iterator[bytes]:
    """A result, in the pieces in which it arrives."""
    data = "A" * LINE_BYTES
    for number in range(max(1, size // LINE_BYTES)):
        part = {"inlineData": {"mimeType": "image/png", "data": data}}
        answer = {"candidates": [{"content": {"parts": [part]}}]}
        line = json.dumps({"key": str(number), "response": answer}).encode() + b"\n"
        yield from (line[at : at + PIECE_BYTES] for at in range(0, len(line), PIECE_BYTES))


class Storage:
    """S3 without a memory."""

    def create_multipart_upload(self, **_: Any) -> dict[str, str]:
        return {"UploadId": "an-upload"}

    def upload_part(self, **_: Any) -> dict[str, str]:
        return {"ETag": "a-part"}

    def complete_multipart_upload(self, **_: Any) -> None:
        """Keeps nothing."""


def main(size: int) -> None:
    """Copies and prints."""
    os.environ |= {"POWERTOOLS_LOG_LEVEL": "CRITICAL", "AWS_DEFAULT_REGION": "us-east-1"}
    from masstock.database.queries import economy_jobs
    from masstock.services import multipart
    from masstock_generate.economy import copy
    from masstock_generate.providers import gemini_lines

    copied: dict[int, tuple[int, int]] = {}

    class Provider:
        key_of = staticmethod(gemini_lines.key_of)

        def download(self, api_key: str, file: str) -> Any:
            class Download:
                def __enter__(self) -> Iterator[bytes]:
                    return pieces(size)

                def __exit__(self, *_: object) -> None:
                    """Nothing is open."""

            return Download()

    def keep(worker: Any, job: Any, lines: dict[int, tuple[int, int]]) -> bool:
        copied.update(lines)
        return True

    multipart.s3 = Storage
    economy_jobs.list_chunk = lambda *_: [{"batch_index": n} for n in range(PROMPTS_LIMIT)]
    economy_jobs.keep_copied_job = keep
    job = SimpleNamespace(
        id=uuid4(), client_id=uuid4(), execution_id=uuid4(), tries=0, output_file="f", prompts=1
    )
    run: Any = SimpleNamespace(
        provider_of=lambda _: Provider(),
        worker=None,
        api_key="k",
        settings=SimpleNamespace(uploads_bucket="uploads"),
        keep=lambda _: None,
        since=datetime.now(UTC),
    )
    copy._copy(run, job)
    assert len(copied) == max(1, size // LINE_BYTES)
    print(_peak_megabytes())


def _peak_megabytes() -> float:
    # Not ru_maxrss, which a child inherits from its parent's peak before exec.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(int(sys.argv[1]))
