"""Lists of prompts from a file to their images: the examples, and what a spreadsheet writes."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import requests
from rich.console import Console

from local.demo import run as demo
from local.demo.prompts import read_prompts
from tests.e2e.conftest import WORKFLOW, Stack, counts, workflow

EXAMPLES = Path(__file__).parents[2] / "examples"


def uploaded(stack: Stack, content: bytes, content_type: str) -> str:
    """The key of the file, uploaded with the form."""
    body = {"kind": "prompts", "content_type": content_type}
    form = stack.call("client_a", "POST", "/v1/uploads", json=body).json()
    requests.post(
        form["url"], data=form["fields"], files={"file": content}, timeout=30
    ).raise_for_status()
    return form["key"]


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("prompts.csv", [f"perfume-{number:03}" for number in range(1, 5)]),
        ("prompts.jsonl", [None, "honey-001", "shoe-007"]),
    ],
)
def test_the_demo_paints_each_example(
    stack: Stack, tmp_path: Path, name: str, ids: list[str | None]
) -> None:
    console = Console(file=io.StringIO(), width=120)
    demo.run(stack.access, read_prompts(EXAMPLES / name), tmp_path, console)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["status"] == "completed"
    assert len(summary["images"]) == len(ids)
    results = stack.results(summary["execution_id"])
    assert [row["custom_id"] for row in results] == ids
    assert not any("{" in row["prompt_text"] for row in results)


def test_the_example_of_a_template_is_painted(stack: Stack) -> None:
    template = json.loads((EXAMPLES / "template.json").read_text())
    body = {"workflow_id": WORKFLOW, "api_key": stack.api_key, **template}
    dry = stack.call("client_a", "POST", "/v1/executions?dry_run=true", json=body).json()
    execution_id = stack.call("client_a", "POST", "/v1/executions", json=body).json()["id"]
    assert counts(stack.wait(execution_id, 60))["successful"] == dry["prompts"] == 4
    painted = [row["prompt_text"] for row in stack.results(execution_id)]
    assert painted == dry["sample_prompts"]


def spreadsheet(rows: int) -> bytes:
    """A table as a spreadsheet with a comma as its decimal sign saves it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    names = ["Nr", "Custom ID", "Prompt", "Colour", "Size", "Aspect ratio", "Seed", "Notes"]
    writer.writerow(names)
    for number in range(rows):
        prompt = f'Spreadsheet {number}: a "{{Colour}}" mug;\nsize {{Size}}'
        ratio = "16:9" if number % 2 else ""
        cells = [number, f"{number:05}", prompt, "red", "NA", ratio, number, "#first\n\nsecond"]
        writer.writerow(cells)
    return b"\xef\xbb\xbf" + text.getvalue().encode()


@pytest.mark.parametrize("rows", [30, pytest.param(500, marks=pytest.mark.slow)])
def test_a_spreadsheet_becomes_images_with_its_ids(stack: Stack, rows: int) -> None:
    body: dict[str, Any] = {
        "workflow_id": workflow(stack, max_prompts=rows),
        "prompts_key": uploaded(stack, spreadsheet(rows), "text/csv"),
        "api_key": stack.api_key,
    }
    answer = stack.call("client_a", "POST", "/v1/executions", json=body)
    assert answer.status_code == 202, answer.text
    execution_id = answer.json()["id"]
    assert counts(stack.wait(execution_id, 200))["successful"] == rows
    results = stack.results(execution_id)
    assert [row["custom_id"] for row in results] == [f"{number:05}" for number in range(rows)]
    assert results[7]["prompt_text"] == 'Spreadsheet 7: a "red" mug;\nsize NA'
    assert [row["seed"] for row in results] == list(range(rows))
    assert all(row["width"] > row["height"] for row in results[1::2])
    assert all(row["width"] == row["height"] for row in results[::2])
