"""The jobs of Gemini's Batch API. A thread paints each job by the rules, one line at a time."""

import json
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from local.image_model.batches import Batches
from local.image_model.errors import GoogleError, Json, invalid_argument, unavailable
from local.image_model.files import File, Files, timestamp, token

METADATA = "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch"
OUTPUT = "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatchOutput"
LIVE = ("PENDING", "RUNNING")
# A project may have so many live jobs.
MOST_LIVE = 100
PAGE_SIZE = 100
type PaintLine = Callable[[str, Json, str], Json]
"""Paints the request of a line, for a model and a key: {"response": …} or {"error": …}."""


@dataclass(slots=True)
class Job:
    """One job. `lines` counts its requests, `painted` those that got an answer with a response."""

    name: str
    display_name: str
    model: str
    key_sha256: str
    input: File
    control: Batches
    created: datetime
    state: str = "PENDING"
    lines: int = 0
    painted: int = 0
    failed: int = 0
    output: File | None = None
    error: Json | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)

    def described(self) -> Json:
        """The operation as the API shows it."""
        metadata: Json = {
            "@type": METADATA,
            "model": f"models/{self.model}",
            "displayName": self.display_name,
            "createTime": timestamp(self.created),
            "updateTime": timestamp(datetime.now(UTC)),
            "inputConfig": {"fileName": self.input.name},
            "batchStats": self._stats(),
            "state": f"BATCH_STATE_{self.state}",
            "name": self.name,
        }
        operation: Json = {"name": self.name, "metadata": metadata}
        if self.state in LIVE:
            return operation
        operation["done"] = True
        if self.error:
            operation["error"] = self.error
        if self.output:
            output = {"responsesFile": self.output.name}
            if self.control.output_under != "response":
                metadata["output"] = output
            if self.control.output_under != "metadata":
                operation["response"] = {"@type": OUTPUT, **output}
        return operation

    def _stats(self) -> Json:
        pending = self.lines - self.painted - self.failed
        counts = {
            "requestCount": self.lines,
            "pendingRequestCount": pending if self.state in LIVE else 0,
            "successfulRequestCount": self.painted,
            "failedRequestCount": self.failed,
        }
        # Google leaves out zeros and sends int64 as text.
        return {name: str(count) for name, count in counts.items() if count}

    def listed(self) -> Json:
        """The job as /_jobs shows it."""
        return {
            "name": self.name,
            "display_name": self.display_name,
            "model": self.model,
            "api_key_sha256": self.key_sha256,
            "state": self.state,
            "lines": self.lines,
            "painted": self.painted,
            "created": self.created.timestamp(),
            "input_file": self.input.name,
            "output_file": self.output and self.output.name,
        }


class Jobs:
    """Every job since the start. Safe for concurrent threads."""

    def __init__(self, files: Files, paint: PaintLine) -> None:
        self._files, self._paint = files, paint
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._control = Batches()

    def replace(self, control: Batches) -> None:
        """Replace the control of the jobs that are created from now on."""
        with self._lock:
            self._control = control

    def spend(self, count: str) -> bool:
        """Count down a count of the control. False if it is used up."""
        with self._lock:
            left = getattr(self._control, count)
            setattr(self._control, count, max(0, left - 1))
            return left > 0

    def create(self, model: str, body: bytes, key_sha256: str) -> Job:
        """Begin a job; GoogleError 400 for a body that Gemini refuses, 429 without room for it."""
        batch = _object(_object(_parsed(body)).get("batch"))
        source = _object(batch.get("inputConfig", batch.get("input_config")))
        file_name = source.get("fileName", source.get("file_name"))
        if not isinstance(file_name, str):
            raise invalid_argument("* BatchGenerateContentRequest.batch.input_config: no file_name")
        file = self._files.find(file_name, key_sha256)
        display_name = batch.get("displayName", batch.get("display_name", ""))
        with self._lock:
            live = [job for job in self._jobs.values() if job.state in LIVE]
            if sum(job.key_sha256 == key_sha256 for job in live) >= MOST_LIVE:
                raise full()
            job = Job(
                f"batches/{token(36)}",
                str(display_name),
                model,
                key_sha256,
                file,
                replace(self._control),
                datetime.now(UTC),
            )
            self._jobs[job.name] = job
        threading.Thread(target=self._run, args=[job], daemon=True).start()
        return job

    def find(self, name: str, key_sha256: str) -> Job:
        """A job; GoogleError 404 for an unknown name or another key."""
        with self._lock:
            job = self._jobs.get(name)
        if job is None or job.key_sha256 != key_sha256:
            raise GoogleError(404, "NOT_FOUND", "Requested entity was not found.")
        return job

    def cancel(self, name: str, key_sha256: str) -> None:
        """Ask a job to stop. It ends with what it has painted."""
        self.find(name, key_sha256).cancelled.set()

    def delete(self, name: str, key_sha256: str) -> None:
        """Forget a job, and stop it."""
        self.cancel(name, key_sha256)
        with self._lock:
            del self._jobs[name]

    def page(self, key_sha256: str, page_size: str, page_token: str) -> Json:
        """The jobs of a key, newest first."""
        with self._lock:
            jobs = [job for job in self._jobs.values() if job.key_sha256 == key_sha256][::-1]
            empty = self._control.empty_pages
        size = min(int(page_size), 1000) if page_size.isdecimal() and int(page_size) else PAGE_SIZE
        # The token is the start of the page. Empty pages come before the first job.
        start = int(page_token) if page_token.lstrip("-").isdecimal() else -empty
        if start < 0:
            return {"nextPageToken": str(start + 1)}
        page: Json = {"operations": [job.described() for job in jobs[start : start + size]]}
        if start + size < len(jobs):
            page["nextPageToken"] = str(start + size)
        return page

    def listed(self) -> list[Json]:
        """All jobs, oldest first."""
        with self._lock:
            return [job.listed() for job in self._jobs.values()]

    # --- painting --------------------------------------------------------------------------------

    def _run(self, job: Job) -> None:
        control = job.control
        with job.input.path.open("rb") as lines:
            job.lines = sum(1 for line in lines if line.strip())
        job.state = "RUNNING"
        job.cancelled.wait(control.delay_s)
        if control.state == "stuck":
            job.cancelled.wait()
        if control.state in ("FAILED", "EXPIRED"):
            if control.state == "FAILED":
                job.error = {"code": 13, "message": "The batch failed: an internal error."}
            job.state = control.state
            return
        # A job that ends as cancelled by itself has half of its results.
        wanted = job.lines // 2 if control.state == "CANCELLED" else job.lines
        file, target = self._files.generated(job.key_sha256)
        written: list[tuple[int, int]] = []
        with target:
            for line in self._answers(job, wanted):
                start = target.tell()
                target.write(line + b"\n")
                written.append((start, target.tell() - start))
        if control.order == "shuffled":
            _shuffle(file, written)
        job.output = file
        is_whole = job.painted + job.failed == job.lines
        job.state = "SUCCEEDED" if is_whole and control.state == "SUCCEEDED" else "CANCELLED"

    def _answers(self, job: Job, wanted: int) -> Iterator[bytes]:
        control = job.control
        with job.input.path.open("rb") as lines:
            asked = (line for line in lines if line.strip())
            for number, line in enumerate(asked):
                if number >= wanted or job.cancelled.is_set():
                    break
                answer = self._answer(job, line, fails=number < control.error_lines)
                if "response" in answer:
                    job.painted += 1
                else:
                    job.failed += 1
                if number < control.drop_keys:
                    answer.pop("key", None)
                yield _bytes_of(answer)
                if number < control.double_keys:
                    yield _bytes_of(answer)
        for _ in range(control.foreign_keys):
            error = {"code": 13, "message": "An internal error has occurred."}
            yield _bytes_of({"key": token(8), "error": error})

    def _answer(self, job: Job, line: bytes, *, fails: bool) -> Json:
        asked = _object(_parsed(line))
        key = {"key": asked["key"]} if "key" in asked else {}
        if fails:
            return {**key, "error": unavailable(job.model).body["error"]}
        request = _object(asked.get("request"))
        return {**key, **self._paint(job.model, request, job.key_sha256)}


def full() -> GoogleError:
    """The answer to a create above the quota of jobs or of enqueued tokens."""
    return GoogleError(
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details.",
    )


def _shuffle(file: File, written: list[tuple[int, int]]) -> None:
    """Rewrite a result with its lines in another order, one line in memory at a time."""
    random.shuffle(written)
    sorted_path = file.path.with_suffix(".shuffled")
    with file.path.open("rb") as source, sorted_path.open("wb") as target:
        for start, length in written:
            source.seek(start)
            target.write(source.read(length))
    sorted_path.replace(file.path)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid_argument(f"Invalid JSON payload received. {error}") from None


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _bytes_of(answer: Json) -> bytes:
    return json.dumps(answer).encode()
