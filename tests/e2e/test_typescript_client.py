"""Types that openapi-typescript generates fit the document's own examples, and the front end of
docs/frontend.md type-checks with them, paints, waits, retries and downloads."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ROOT, WORKFLOW, Stack
from tests.support import node

REQUESTS: dict[str, dict[str, Any]] = json.loads((ROOT / "examples/requests.json").read_text())
RESPONSES: dict[str, Any] = json.loads((ROOT / "examples/responses.json").read_text())
STRICT = (
    *("--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess", "--noEmit"),
    *(
        "--target",
        "es2024",
        "--module",
        "preserve",
        "--moduleResolution",
        "bundler",
        "--allowImportingTsExtensions",
    ),
    *("--lib", "es2024,dom,dom.iterable", "--types", "node"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the generated types and the front end."""
    folder = tmp_path_factory.mktemp("typescript")
    (folder / "package.json").write_text('{"type": "module"}')
    for source in (ROOT / "examples/frontend").glob("*.ts"):
        shutil.copy(source, folder)
    node.tool(folder, "openapi-typescript", ROOT / "docs/openapi.json", "-o", "schema.d.ts")
    return folder


def examples() -> list[tuple[str, Any]]:
    """Each example of the document, with the name of its schema."""
    bodies = [(name, body) for name, each in REQUESTS.items() for body in each.values()]
    return [*bodies, *RESPONSES.items()]


def test_types_fit_the_front_end_and_every_example(folder: Path) -> None:
    lines = [
        f'export const e{number}: components["schemas"]["{name}"] = {json.dumps(example)};'
        for number, (name, example) in enumerate(examples())
    ]
    head = 'import type { components } from "./schema";'
    (folder / "examples.ts").write_text("\n".join([head, *lines]))
    shutil.copy(node.SOURCES / "paint.ts", folder)
    sources = sorted(path.name for path in folder.glob("*.ts"))
    assert len(sources) == 5
    assert node.tool(folder, "tsc", *STRICT, *sources) == ""


def test_the_front_end_paints_waits_retries_and_downloads(stack: Stack, folder: Path) -> None:
    stack.rule({"match": "^once blocked$", "behave": "content_blocked", "times": 1})
    submission = {
        "workflow_id": WORKFLOW,
        "prompts": ["a lamp", "once blocked"],
        "api_key": stack.api_key,
    }
    call = {
        "baseUrl": stack.access["base_url"],
        "token": stack.access["tokens"]["client_a"],
        "submission": submission,
    }
    told = json.loads(node.run(folder, "paint.ts", text=json.dumps(call)))
    assert told["seen"] == "completed"
    assert [(output["successful"], output["failed"]) for output in told["outputs"]] == [
        (1, 1),
        (2, 0),
    ]
    assert [image["prompt"] for image in told["images"]] == submission["prompts"]
    for image in told["images"]:
        assert image["type"].startswith("image/")
        assert image["bytes"] > 1000
    assert (told["problem"]["status"], told["problem"]["code"]) == (404, "not_found")


def test_the_page_shows_the_example_as_it_is() -> None:
    page = (ROOT / "docs/frontend.md").read_text()
    text = (ROOT / "examples/frontend/masstock.ts").read_text()
    assert len(text.splitlines()) <= 60
    assert f"```ts\n{(ROOT / 'examples/frontend/supabase.ts').read_text()}```" in page
    assert "(../examples/frontend/masstock.ts)" in page
