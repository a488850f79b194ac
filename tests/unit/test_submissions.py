"""Uploaded lists of prompts: reading stops at the limit, and mistakes have a line number."""

import json
import time
import tracemalloc
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest

from masstock.errors import ValidationFailed
from masstock.limits import PROMPTS_LIMIT
from masstock.schemas.prompts import PromptWithId
from masstock.schemas.requests import ExecutionCreate
from masstock.schemas.workflow_config import WorkflowConfig
from masstock.services.storage import MAX_PROMPTS_BYTES, Uploads
from masstock_api.checks import find_mistakes
from masstock_api.prompt_lists.places import PromptList
from masstock_api.prompt_lists.reading import IN_BODY, read_prompts
from masstock_api.strict_json import MAX_MISTAKES

CLIENT = UUID(int=1)
SUBMISSION = ExecutionCreate.model_validate(
    {
        "workflow_id": str(uuid4()),
        "prompts_key": f"{CLIENT}/prompts/{uuid4()}.jsonl",
        "api_key": "x" * 8,
    }
)


class Uploaded(Uploads):
    """An uploaded list in place of S3."""

    def __init__(self, content: bytes) -> None:
        super().__init__("uploads")
        self._content = content

    def read_prompts(self, key: str) -> bytes:
        return self._content


def read(content: bytes) -> Sequence[str | PromptWithId]:
    return read_prompts(SUBMISSION, CLIENT, Uploaded(content)).prompts


def mistakes(content: bytes) -> list[str]:
    with pytest.raises(ValidationFailed) as refused:
        read(content)
    assert {mistake.pointer for mistake in refused.value.errors} == {"/prompts_key"}
    return [mistake.detail for mistake in refused.value.errors]


def test_blank_lines_are_skipped_and_both_forms_read() -> None:
    content = b'\n  \r\n"one"\r\n\n \t {"prompt": "two", "custom_id": "2"} \n\n"three"'
    one, two, three = read(content)
    assert (one, three) == ("one", "three")
    assert isinstance(two, PromptWithId)
    assert (two.prompt, two.custom_id) == ("two", "2")


def test_mistakes_are_reported_with_their_line() -> None:
    first, second, third = mistakes(b'\n{\n"fine"\n \n\n  5\n"fine"\n[')
    assert first == "Line 2 is not JSON."
    assert second.startswith("Line 6: ")
    assert third == "Line 8 is not JSON."


@pytest.mark.parametrize(
    "text",
    ["\u200b", "\ufeff", "\u2060", "\u00ad", "\u3164", "\u2800", "\ufe0f", " \u200d ", "\u202e"],
    ids=ascii,
)
def test_a_prompt_without_a_visible_character_is_refused(text: str) -> None:
    """It would be painted and paid."""
    [mistake] = mistakes(json.dumps(text).encode())
    assert mistake.startswith("Line 1: ")
    assert read(json.dumps(f"{text}x").encode()) == [f"{text}x".strip()]


@pytest.mark.parametrize("content", [b"", b"\n", b" \n\t\r\n"])
def test_an_empty_list_is_refused(content: bytes) -> None:
    assert mistakes(content) == ["The list is empty."]


def test_only_the_first_mistakes_are_reported() -> None:
    assert len(mistakes(b"?\n" * 10_000)) == MAX_MISTAKES


def test_a_list_at_the_limit_is_read_to_its_end() -> None:
    prompts = [f"prompt {number}" for number in range(PROMPTS_LIMIT)]
    assert read("\n".join(map(json.dumps, prompts)).encode()) == prompts


def test_the_longest_prompt_fits_into_a_line() -> None:
    assert read(json.dumps("\N{FOX FACE}" * 10_000).encode()) == ["\N{FOX FACE}" * 10_000]


def test_a_list_over_the_limit_is_refused_without_reading_the_rest() -> None:
    prompts = read(b'"x"\n' * (MAX_PROMPTS_BYTES // 4))
    assert len(prompts) == PROMPTS_LIMIT + 1
    config = WorkflowConfig(workflow_type="nano_banana", model="m", max_prompts=PROMPTS_LIMIT)
    found = find_mistakes(
        SUBMISSION,
        PromptList(prompts, IN_BODY),
        config,
        has_platform_key=True,
        allow_private_webhooks=False,
    )
    assert found == [
        ("/prompts", "This workflow takes at most 10000 prompts; there are more than 10000.")
    ]


@pytest.mark.parametrize(
    "line",
    [b"\n", b" ", b'"x"\n', b"[],", b"[]\n", b"?\n"],
    ids=["blank lines", "one blank line", "prompts", "one line", "no prompts", "no JSON"],
)
def test_the_largest_upload_needs_little_time_and_memory(line: bytes) -> None:
    content = line * (MAX_PROMPTS_BYTES // len(line))
    began = time.process_time()
    tracemalloc.start()
    try:
        read(content)
    except ValidationFailed:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert time.process_time() - began < 5
    assert peak < 16 * 1024 * 1024
