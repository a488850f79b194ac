"""Image providers: their interface, and a registry by name.

To add a provider, add a module here, a line to PROVIDERS and its models to masstock.catalogue. A
new outcome also needs a class in masstock.errors and a row in docs/errors.md.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from masstock.catalogue.image_models import Usage


@dataclass(frozen=True, slots=True)
class PaintRequest:
    """One image to paint. `references` are images as (content, MIME type). `timeout_seconds` is
    for the whole call, from connecting to the last byte."""

    api_key: str
    model: str
    prompt: str
    references: Sequence[tuple[bytes, str]]
    aspect_ratio: str | None
    image_size: str | None
    timeout_seconds: float
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Painting:
    """An image as the provider sent it. `usage` is None if the provider reports no tokens, or
    numbers that make no sense. `model` is the one that answered, None if the answer does not say.
    `images_in_answer` counts the images that are not drafts."""

    content: bytes
    usage: Usage | None
    model: str | None
    images_in_answer: int


class Provider(Protocol):
    """Functions of a provider's module."""

    def paint(self, request: PaintRequest) -> Painting:
        """Calls the model once, without retries. The state machine repeats failed calls. If there
        is no image, raises the Outcome that names the reason."""
        ...


@dataclass(frozen=True, slots=True)
class ProviderFile:
    """A file that the provider keeps for a limited time."""

    name: str
    uri: str


@dataclass(frozen=True, slots=True)
class LineRequest:
    """One image to paint in a job. `references` are files of the provider with their MIME types."""

    key: str
    prompt: str
    references: Sequence[tuple[ProviderFile, str]]
    aspect_ratio: str | None
    image_size: str | None
    seed: int | None


@dataclass(frozen=True, slots=True)
class ProviderJob:
    """A job as the provider describes it. `state` is the provider's word. `has_ended`: it works no
    more. `painted` counts its finished lines. `output_file` is None if there is no result, and then
    `words` can say why."""

    name: str
    state: str
    has_ended: bool
    painted: int
    output_file: str | None
    words: str | None


class BatchProvider(Protocol):
    """Functions of the module of a provider's batch interface. Each sends one request without
    retries and raises an Outcome if the provider refuses it or does not answer. Each takes the API
    key of the call."""

    def line_of(self, request: LineRequest) -> bytes:
        """The line of a job's input, without its end."""
        ...

    def upload(self, api_key: str, content: bytes, mime_type: str, name: str) -> ProviderFile:
        """Stores a file. `find_files` finds it by `name`."""
        ...

    def create(self, api_key: str, model: str, input_file: str, name: str) -> ProviderJob:
        """Creates a job. Raises CreateUnanswered if the job may or may not exist."""
        ...

    def find(self, api_key: str, name: str) -> ProviderJob | None:
        """The job that was created with this name."""
        ...

    def look(self, api_key: str, job_name: str) -> ProviderJob | None:
        """The job, or None if there is none."""
        ...

    def cancel(self, api_key: str, job_name: str) -> None:
        """Asks for the end of a job. It ends later."""
        ...

    def download(self, api_key: str, file: str) -> AbstractContextManager[Iterator[bytes]]:
        """The content of a result. Raises ResultGone if the provider has it no more."""
        ...

    def find_files(self, api_key: str, name: str) -> list[str]:
        """The provider's names of the files that were stored with this name. Of an account with
        thousands of files, some may be missing."""
        ...

    def delete(self, api_key: str, names: Iterable[str]) -> None:
        """Deletes files. Names that do not exist are skipped."""
        ...

    def key_of(self, line: bytes) -> tuple[str, bool] | None:
        """The key of a result's line, and whether the line holds an answer. None if the line is not
        readable."""
        ...

    def read_line(self, line: bytes) -> Painting:
        """The image of a result's line. Raises the Outcome of a line without one."""
        ...


class CreateUnanswered(Exception):
    """The answer to the creation of a job was lost. The job may exist."""


class ResultGone(Exception):
    """The provider does not have the result of a job any more."""


# The module of each provider. The names of providers are those of masstock.catalogue.
PROVIDERS: Mapping[str, str] = {
    "gemini": "masstock_generate.providers.gemini",
}


# The module of each provider's batch interface. A provider without one paints no economy tier.
BATCH_PROVIDERS: Mapping[str, str] = {
    "gemini": "masstock_generate.providers.gemini_batches",
}


def provider(name: str) -> Provider:
    """The provider of that name. Imports its module at the first call. Raises KeyError."""
    return cast(Provider, import_module(PROVIDERS[name]))


def batch_provider(name: str) -> BatchProvider:
    """The batch interface of the provider of that name. Imports its module at the first call.
    Raises KeyError."""
    return cast(BatchProvider, import_module(BATCH_PROVIDERS[name]))
