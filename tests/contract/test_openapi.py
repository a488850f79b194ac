"""docs/openapi.json describes the API correctly, and a client can be generated from it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator

from masstock_api.app import OPERATIONS, app
from tools import openapi

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "docs/openapi.json"
DESCRIPTION: dict[str, Any] = json.loads(COMMITTED.read_text())
DESCRIBED = [
    (path, method, operation)
    for path, methods in DESCRIPTION["paths"].items()
    for method, operation in methods.items()
]
# Answered without the database.
BARE = {"get_openapi", "get_docs", "get_docs_asset", "get_console", "get_console_asset"}
IDS = [operation["operationId"] for _, _, operation in DESCRIBED]


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    whole = {**schema, "components": DESCRIPTION["components"]}
    return Draft202012Validator(whole, format_checker=FormatChecker())


def resolved(answer: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in answer:
        return answer
    return DESCRIPTION["components"]["responses"][answer["$ref"].rpartition("/")[2]]


def test_the_document_matches_the_routes_and_schemas() -> None:
    assert COMMITTED.read_text() == openapi.text(), "run `make openapi`"


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(DESCRIPTION).validate()


def test_the_document_describes_exactly_the_routes() -> None:
    registered = {
        (route.method, route.path)
        for route in (*app._static_routes, *app._dynamic_routes)  # pyright: ignore
    }
    described = {
        (method.upper(), path.replace("{", "<").replace("}", ">")) for path, method, _ in DESCRIBED
    }
    assert described == registered
    assert len(OPERATIONS) == len(registered)


@pytest.mark.parametrize(("path", "method", "operation"), DESCRIBED, ids=IDS)
def test_every_answer_has_a_request_id_and_every_problem_the_same_form(
    path: str, method: str, operation: dict[str, Any]
) -> None:
    for status, answer in operation["responses"].items():
        described = resolved(answer)
        kinds = set(described.get("content", {}))
        if int(status) >= 400:
            assert kinds <= {"application/problem+json", "application/json"}
        if int(status) < 400 or "application/problem+json" in kinds:
            assert "X-Request-Id" in described["headers"]


@pytest.mark.parametrize(("path", "method", "operation"), DESCRIBED, ids=IDS)
def test_every_operation_has_the_answers_of_the_gateway(
    path: str, method: str, operation: dict[str, Any]
) -> None:
    for status in ("413", "429", "500", "503", "504"):
        described = resolved(operation["responses"][status])
        gateway = described["content"]["application/json"]
        validator(gateway["schema"]).validate(gateway["example"])
        assert set(gateway["example"]) == {"message"}
        # The gateway sends none of our headers.
        assert not any(header.get("required") for header in described["headers"].values())
        ours = "application/problem+json" in described["content"]
        assert ours == (
            status == "500"
            or (status == "413" and "requestBody" in operation)
            or (status == "503" and operation["operationId"] not in BARE)
        )


def test_every_component_is_used_and_a_contact_is_named() -> None:
    references = set(re.findall(r'"\$ref": "#/components/(\w+/[\w-]+)"', json.dumps(DESCRIPTION)))
    components = DESCRIPTION["components"]
    assert references == {
        f"{kind}/{name}"
        for kind in ("schemas", "responses", "headers")
        for name in components[kind]
    }
    assert set(components) == {"schemas", "responses", "headers", "securitySchemes"}
    assert DESCRIPTION["info"]["contact"]["url"].startswith("https://")


@pytest.mark.parametrize(("path", "method", "operation"), DESCRIBED, ids=IDS)
def test_only_documents_and_health_need_no_token(
    path: str, method: str, operation: dict[str, Any]
) -> None:
    is_open = operation.get("security") == []
    assert is_open == (not path.startswith("/v1/"))
    assert is_open != ("401" in operation["responses"])


@pytest.mark.parametrize("name", DESCRIPTION["components"]["schemas"])
def test_examples_of_resources_match_their_schema(name: str) -> None:
    schema = DESCRIPTION["components"]["schemas"][name]
    for example in schema.get("examples", []):
        validator(schema).validate(example)
        assert set(schema["required"]) <= set(example)


@pytest.mark.parametrize(
    ("path", "method", "operation"),
    [entry for entry in DESCRIBED if "requestBody" in entry[2]],
    ids=[operation["operationId"] for _, _, operation in DESCRIBED if "requestBody" in operation],
)
def test_examples_of_bodies_match_their_schema(
    path: str, method: str, operation: dict[str, Any]
) -> None:
    content = operation["requestBody"]["content"]["application/json"]
    assert content["examples"]
    for example in content["examples"].values():
        validator(content["schema"]).validate(example["value"])


def test_a_client_is_generated_without_a_warning(tmp_path: Path) -> None:
    binaries = Path(sys.executable).parent
    subprocess.run(
        [
            *(binaries / "openapi-python-client", "generate", "--fail-on-warning"),
            *("--path", COMMITTED, "--output-path", tmp_path / "client"),
        ],
        env={**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}"},
        cwd=tmp_path,
        check=True,
        timeout=120,
    )


def test_the_api_does_not_import_the_schemas_of_answers() -> None:
    """The schemas of answers serve this document only. The api does not import them."""
    program = "import api, sys; print('masstock.schemas.responses' in sys.modules)"
    paths = [str(ROOT / "functions/api"), str(ROOT / "layers/common")]
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "False\n"
