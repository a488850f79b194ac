"""A text that does not match a pattern is refused in words, not with the pattern."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import StringConstraints, TypeAdapter, ValidationError

from masstock.schemas import fields
from masstock.schemas.patterns import VISIBLE, WORDS, reason_of
from masstock.schemas.workflow_config import ModelName

OPENAPI = Path(__file__).parents[2] / "docs/openapi.json"
REFUSED: list[tuple[Any, str, str]] = [
    (fields.Name, "\u200b", "visible character"),
    (fields.Prompt, "a\0cat", "U+0000"),
    (fields.Email, "jane@localhost", "e-mail address"),
    (fields.ApiKey, "passé-composé", "ASCII"),
    (fields.ApiKey, "a key, then a space ", "space"),
    (fields.WebhookUrl, "ftp://example.com", "https://"),
    (fields.AspectRatio, "16:0", "16:9"),
    (ModelName, "models/gemini", "letters"),
]


def reason(kind: Any, value: str) -> str:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(kind).validate_python(value)
    [mistake] = refused.value.errors()
    return reason_of(mistake)


@pytest.mark.parametrize(("kind", "value", "told"), REFUSED)
def test_a_mistake_says_what_to_send(kind: Any, value: str, told: str) -> None:
    words = reason(kind, value)
    assert told in words
    assert "^" not in words


def test_another_mistake_keeps_its_own_words() -> None:
    assert reason(fields.ApiKey, "short") == "String should have at least 8 characters"
    assert "[a-z]" in reason(Annotated[str, StringConstraints(pattern="[a-z]")], "1")


def patterns_in(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from patterns_in(part)


def test_every_pattern_of_a_request_has_words() -> None:
    schemas = json.loads(OPENAPI.read_text())["components"]["schemas"]
    found = set(patterns_in(schemas))
    assert VISIBLE in found
    assert found == set(WORDS)
