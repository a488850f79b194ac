"""The table submissions.yaml over HTTP: each member of a submission, a clone and a retry, for an
administrator, client A, client B and nobody."""

import base64
import io
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from PIL import Image

from tests.e2e.conftest import WORKFLOW, Stack
from tests.support.demo_data import ACME

HERE = Path(__file__).parent
ROWS: list[dict[str, Any]] = yaml.safe_load((HERE / "submissions.yaml").read_text())[1:]
SCHEMAS = json.loads((HERE.parents[1] / "docs/openapi.json").read_text())["components"]["schemas"]
CALLERS = ("anonymous", "client_b", "client_a", "admin")
LISTS = {"prompts", "rows", "prompts_key"}
SOURCES: dict[str, dict[str, Any]] = {
    "ended": {
        "prompts": [
            "table earlier",
            {"prompt": "table several", "custom_id": "S", "images": 2, "seed": 4},
            "blocked",
        ]
    },
    "failed": {"prompts": ["blocked"]},
    "paused": {"prompts": ["table q", "table r"], "canary": {"images": 1}},
}


def picture() -> str:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


PNG = picture()


def is_dry(row: dict[str, Any]) -> bool:
    return row.get("do") not in ("retry", "resume")


class Submitter:
    """Sends the table's bodies."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        stack.rule({"match": "^blocked$", "behave": "prompt_blocked"})
        # For each caller that can change an execution, one of its own.
        self._sources = {
            (of, who): self._submitted(body)
            for of, body in SOURCES.items()
            for who in (("client_a",) if of == "ended" else ("client_a", "admin"))
        }
        for (of, _), execution_id in self._sources.items():
            self._until_it_rests(execution_id, of == "paused")
        self._file = self._uploaded("client_a", {"type": "text/plain", "text": "table file of A"})
        # Before client A has the images that the table asks for.
        self.told = {
            (row["case"], who): self.send(row, who, dry=True)
            for row in ROWS
            if is_dry(row)
            for who in CALLERS
        }
        # All at once, before the first test waits for one.
        self.submitted = {
            row["case"]: self.send(row, "client_a").json()["id"]
            for row in ROWS
            if row["client_a"] == 200
        }

    def _submitted(self, members: dict[str, Any]) -> str:
        body = {"workflow_id": WORKFLOW, "api_key": self.stack.api_key} | members
        answer = self.stack.call("client_a", "POST", "/v1/executions", json=body)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def _until_it_rests(self, execution_id: str, is_pausing: bool) -> None:
        if not is_pausing:
            self.stack.wait(execution_id, 90)
            return
        end = time.monotonic() + 90
        path = f"/v1/executions/{execution_id}"
        while self.stack.call("client_a", "GET", path).json()["paused_at"] is None:
            assert time.monotonic() < end
            time.sleep(0.2)

    def _uploaded(self, who: str, file: Mapping[str, str]) -> str:
        body = {"kind": "prompts", "content_type": file["type"]}
        if who == "admin":
            body["client_id"] = str(ACME)
        answer = self.stack.call(who, "POST", "/v1/uploads", json=body)
        if who == "anonymous":
            return "none"
        form = answer.json()
        requests.post(
            form["url"],
            data=form["fields"],
            files={"file": file["text"].encode()},
            timeout=30,
        ).raise_for_status()
        return form["key"]

    def source(self, row: dict[str, Any], who: str) -> str:
        """The execution that the row is done to. One that a caller changes is the caller's."""
        return self._sources.get((row["of"], who)) or self._sources[row["of"], "client_a"]

    def send(self, row: dict[str, Any], who: str, *, dry: bool = False) -> requests.Response:
        path = "/v1/executions"
        body: dict[str, Any] = json.loads(
            json.dumps(row.get("send", {})).replace('"png"', f'"{PNG}"')
        )
        if "do" in row:
            path += f"/{self.source(row, who)}/{row['do']}"
        else:
            body = {"workflow_id": WORKFLOW, "api_key": self.stack.api_key} | body
            if row.get("of") == "file":
                body["prompts_key"] = self._file
            if "file" in row:
                body["prompts_key"] = self._uploaded(who, row["file"])
            if not LISTS & set(body):
                body["prompts"] = [f"table: {row['case']}"]
            if who == "admin":
                body.setdefault("client_id", str(ACME))
        return self.stack.call(
            who,
            "POST",
            path,
            json=None if row.get("do") == "resume" else body,
            params={"dry_run": "true"} if dry else None,
        )


@pytest.fixture(scope="module")
def submitter(stack: Stack) -> Iterator[Submitter]:
    yield Submitter(stack)
    stack.rule()


def has(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("row", ROWS, ids=[row["case"] for row in ROWS])
def test_every_caller_gets_what_the_table_says(
    stack: Stack, submitter: Submitter, row: dict[str, Any]
) -> None:
    for who in CALLERS:
        told = submitter.told.get((row["case"], who))
        answer = submitter.send(row, who) if told is None else told
        assert answer.status_code == row[who], f"{who}: {answer.text}"
        if answer.status_code == 422:
            assert [mistake["pointer"] for mistake in answer.json()["errors"]] == [row["pointer"]]
        elif answer.ok and "dry" in row:
            expected = row["dry"]
            if set(expected) <= set(CALLERS):
                has(answer.json(), expected[who])
            elif who == "client_a":
                has(answer.json(), expected)
    if row["client_a"] not in (200, 202):
        return
    execution_id = submitter.submitted.get(row["case"]) or submitter.source(row, "client_a")
    has(stack.wait(execution_id, 120), row.get("shows", {}))
    expected = row.get("results", [])
    results = stack.results(execution_id)
    assert len(results) == len(expected) or not expected
    for result, part in zip(results, expected, strict=False):
        has(result, part)


def test_the_table_has_every_member() -> None:
    def members(schema: str) -> set[str]:
        return set(SCHEMAS[schema]["properties"])

    submissions = [row for row in ROWS if "do" not in row]
    sent = {name for row in submissions for name in row.get("send", {})}
    assert sent | {"prompts_key"} >= members("ExecutionCreate")
    prompts = [p for row in submissions for p in row.get("send", {}).get("prompts", [])]
    assert {name for prompt in prompts if isinstance(prompt, dict) for name in prompt} >= members(
        "PromptWithId"
    )
    for do, schema in (("clone", "ExecutionClone"), ("retry", "ExecutionRetry")):
        sent |= {name for row in ROWS if row.get("do") == do for name in row["send"]}
        assert sent | {"prompts_key"} >= members(schema)
    for row in ROWS:
        assert set(CALLERS) <= set(row)
