"""A provider's batch interface in memory: it paints pictures that tell their prompts."""

import base64
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from masstock.errors import Outcome
from masstock_generate.providers import (
    CreateUnanswered,
    Painting,
    PaintRequest,
    ProviderFile,
    ProviderJob,
    ResultGone,
    gemini_lines,
)
from tests.support import fake_provider

USAGE = {
    "promptTokenCount": 7,
    "candidatesTokenCount": 1290,
    "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}],
}
MODEL = "gemini-2.5-flash-image"
PIECE = 1000


class Died(BaseException):
    """The process was killed here. No handler of the product catches it."""


def picture_of(prompt: str) -> bytes:
    """The picture of a prompt."""
    return fake_provider.paint(PaintRequest("", MODEL, prompt, [], None, None, 1)).content


@dataclass
class Job:
    """A job of the provider."""

    name: str
    display_name: str
    input_file: str
    state: str = "BATCH_STATE_RUNNING"
    output_file: str | None = None
    painted: list[str] = field(default_factory=list)


@dataclass
class FakeBatches:
    """See masstock_generate.providers.BatchProvider. `refusals` holds the Outcomes that the next
    calls of a function raise. `dies_at` is the number of the call that kills the process: before
    the provider hears of it, or after if `dies_after`."""

    files: dict[str, bytes] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    direct: list[str] = field(default_factory=list)
    refusals: dict[str, list[Exception]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    dies_at: int | None = None
    dies_after: bool = False
    ends_as: str = "BATCH_STATE_SUCCEEDED"
    ends_when_cancelled: bool = True
    # Changes the lines of a result: {key: line}.
    edit: Any = None

    def __post_init__(self) -> None:
        self._names = count()
        self._names_of: dict[str, str] = {}

    # --- as the engine's provider ----------------------------------------------------------------

    line_of = staticmethod(gemini_lines.line_of)
    key_of = staticmethod(gemini_lines.key_of)
    read_line = staticmethod(gemini_lines.read_line)

    def paint(self, request: PaintRequest) -> Painting:
        self.direct.append(request.prompt)
        return fake_provider.paint(request)

    def upload(self, api_key: str, content: bytes, mime_type: str, name: str) -> ProviderFile:
        with self._call("upload"):
            file = f"files/{next(self._names)}"
            self.files[file] = content
            self._names_of[file] = name
        return ProviderFile(file, f"https://provider.example/{file}")

    def create(self, api_key: str, model: str, input_file: str, name: str) -> ProviderJob:
        with self._call("create"):
            self.jobs.append(Job(f"batches/{next(self._names)}", name, input_file))
        for refusal in self.refusals.get("answer of create", []):
            self.refusals["answer of create"].remove(refusal)
            raise CreateUnanswered
        return self._described(self.jobs[-1])

    def find(self, api_key: str, name: str) -> ProviderJob | None:
        with self._call("find"):
            found = [job for job in self.jobs if job.display_name == name]
        return self._described(found[0]) if found else None

    def look(self, api_key: str, job_name: str) -> ProviderJob | None:
        with self._call("look"):
            found = [job for job in self.jobs if job.name == job_name]
        return self._described(found[0]) if found else None

    def cancel(self, api_key: str, job_name: str) -> None:
        with self._call("cancel"):
            if self.ends_when_cancelled:
                self.end(job_name, "BATCH_STATE_CANCELLED")

    @contextmanager
    def download(self, api_key: str, file: str) -> Iterator[Iterator[bytes]]:
        with self._call("download"):
            if file not in self.files:
                raise ResultGone
        content = self.files[file]
        yield (content[at : at + PIECE] for at in range(0, len(content), PIECE))

    def find_files(self, api_key: str, name: str) -> list[str]:
        with self._call("find_files"):
            return [file for file in self.files if self._names_of.get(file) == name]

    def delete(self, api_key: str, names: Iterable[str]) -> None:
        for name in names:
            with self._call("delete"):
                self.files.pop(name, None)

    # --- as the provider itself ------------------------------------------------------------------

    def work(self) -> None:
        """Ends every running job."""
        for job in self.jobs:
            if job.state == "BATCH_STATE_RUNNING":
                self.end(job.name, self.ends_as)

    def end(self, name: str, state: str, limit: int | None = None) -> None:
        """Ends a job in this state, with at most `limit` lines painted."""
        [job] = [job for job in self.jobs if job.name == name]
        if job.state != "BATCH_STATE_RUNNING":
            return
        job.state = state
        if state in ("BATCH_STATE_FAILED", "BATCH_STATE_EXPIRED"):
            return
        lines = {}
        for line in self.files[job.input_file].splitlines()[:limit]:
            ask = json.loads(line)
            *references, text = ask["request"]["contents"][0]["parts"]
            for part in references:
                uri = part["fileData"]["fileUri"]
                assert uri.removeprefix("https://provider.example/") in self.files
            prompt = text["text"]
            job.painted.append(prompt)
            lines[ask["key"]] = self._line(ask["key"], prompt)
        painted = self.edit(lines) if self.edit else list(lines.values())
        job.output_file = f"files/{next(self._names)}"
        self.files[job.output_file] = b"".join(
            json.dumps(line).encode() + b"\n" for line in painted
        )

    @property
    def painted(self) -> list[str]:
        """Every prompt that was painted, by a job or directly: what the provider charges."""
        return [prompt for job in self.jobs for prompt in job.painted] + self.direct

    @staticmethod
    def _line(key: str, prompt: str) -> dict[str, Any]:
        data = base64.b64encode(picture_of(prompt)).decode()
        part = {"inlineData": {"mimeType": "image/png", "data": data}}
        candidate = {"content": {"parts": [part]}, "finishReason": "STOP"}
        answer = {"candidates": [candidate], "usageMetadata": USAGE, "modelVersion": MODEL}
        return {"response": answer, "key": key}

    @staticmethod
    def _described(job: Job) -> ProviderJob:
        ended = job.state != "BATCH_STATE_RUNNING"
        return ProviderJob(
            job.name, job.state, ended, len(job.painted), job.output_file, "the provider's words"
        )

    @contextmanager
    def _call(self, name: str) -> Iterator[None]:
        self.calls.append(name)
        dies = len(self.calls) == self.dies_at
        if dies and not self.dies_after:
            raise Died
        if self.refusals.get(name):
            refusal = self.refusals[name].pop(0)
            assert isinstance(refusal, Outcome | ResultGone)
            raise refusal
        yield
        if dies:
            raise Died
