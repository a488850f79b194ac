"""`make openapi`: writes the OpenAPI document from the declared operations and the models."""

import inspect
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from masstock import errors
from masstock.schemas import archives, people, reports, requests, responses
from masstock_api.app import OPERATIONS
from masstock_api.operation import Answer, Operation
from masstock_api.parameters import Parameter, a_uuid
from masstock_api.problems import PROBLEM_JSON, STATUS, TYPE_BASE
from masstock_api.request import MAX_IDEMPOTENCY_KEY_LENGTH

ROOT = Path(__file__).resolve().parents[1]
# The deployed file. docs/openapi.json is a link to it.
TARGET = ROOT / "functions/api/masstock_api/openapi.json"
SCHEMAS = "#/components/schemas/"
# Example bodies by model and title, and example answers by model.
REQUESTS: dict[str, dict[str, Any]] = json.loads((ROOT / "examples/requests.json").read_text())
RESPONSES: dict[str, dict[str, Any]] = json.loads((ROOT / "examples/responses.json").read_text())

ABOUT = """\
Turns lists of prompts into images, for many clients.

**Authentication.** Send `Authorization: Bearer <token>` with a token of your identity provider.
The API reads the account's role and status at every request, so a suspension works at once.

**Lists** are ordered newest first (results: by `batch_index`) and come in pages: send `next_cursor`
as `cursor` until it is null. New rows do not shift the following pages.

**Errors** are RFC 9457 `application/problem+json` with a stable `code`. Another client's resource
is `not_found`. If a path does not support the method, the answer is 405 with `Allow`. API Gateway's
own answers (413, 429, 500, 503, 504) are `application/json` with a `message`.

**Safe writes.** Repeat a POST with the same `Idempotency-Key`, and it returns the resource that the
first one created or changed. PATCH and DELETE accept `If-Match`. With `If-None-Match`, an unchanged
resource is answered with 304 and no body.

Every GET path also supports HEAD. Unknown parameters and fields are refused. Every response has
`X-Request-Id`.
"""

PARAMETER_NOTES = {
    "dry_run": "Only check the submission and estimate its cost: nothing is stored or painted.",
    "limit": "The maximum number of rows in a page. A page also ends at 4 MB.",
    "cursor": "`next_cursor` of the previous page.",
    "from_index": "Only rows from this `batch_index` on.",
    "redirect": "With `false` the answer names the URL instead of redirecting to it.",
    "q": "Part of the name or the e-mail address, in upper or lower case.",
    "from": "Created at this time or later; UTC if the text has no offset.",
    "to": "Created before this time; UTC if the text has no offset.",
}

REQUEST_HEADERS: Mapping[str, Mapping[str, Any]] = {
    "Idempotency-Key": {
        "description": "For 24 hours, a request with the same key and body returns the same "
        "resource.",
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_IDEMPOTENCY_KEY_LENGTH,
            "pattern": "^[ -~]+$",
        },
    },
    "If-Match": {
        "description": "ETags: the answer is 412 unless one is the current version.",
        "schema": {"type": "string"},
        "example": "*",
    },
    "If-None-Match": {
        "description": "ETags: the answer is 304 without a body if one is the current version.",
        "schema": {"type": "string"},
        "example": 'W/"0123456789abcdef0123456789abcdef"',
    },
}

RESPONSE_HEADERS: Mapping[str, Mapping[str, Any]] = {
    "X-Request-Id": {"description": "The request's id in the logs.", "schema": {"type": "string"}},
    "ETag": {"description": "The version of the resource.", "schema": {"type": "string"}},
    "Location": {"description": "The address of the resource.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
    "WWW-Authenticate": {"description": "How to authenticate.", "schema": {"type": "string"}},
}
# Values of path parameters in examples.
EXAMPLE_IDS = {
    "user_id": RESPONSES["User"]["id"],
    "client_id": RESPONSES["ClientOrganization"]["id"],
    "workflow_id": RESPONSES["Workflow"]["id"],
    "request_id": RESPONSES["WorkflowRequest"]["id"],
    "execution_id": RESPONSES["Execution"]["id"],
    "ticket_id": RESPONSES["SupportTicket"]["id"],
    "batch_index": RESPONSES["BatchResult"]["batch_index"],
}
PROBLEM_HEADERS = {401: "WWW-Authenticate", 503: "Retry-After"}
CONTACT_URL = TYPE_BASE.partition("/errors")[0]
# API Gateway's own answers, which every operation can get, by status.
GATEWAY_ANSWERS = {
    413: ("Request Entity Too Large", "The body or its event is over the limit of the gateway."),
    429: ("Too Many Requests", "The stage is throttled."),
    500: ("Internal Server Error", "The function failed."),
    503: ("Service Unavailable", "The function cannot be run, or did not answer within 30 s."),
    504: ("Endpoint request timed out", "The function did not answer within 30 s."),
}

TITLES = {302: "The image is at `Location`.", 304: "Not modified.", 204: "Done."}


def build() -> dict[str, Any]:
    """The OpenAPI document."""
    problem_sets: dict[str, tuple[int, list[type[errors.AppError]]]] = {}
    paths: dict[str, dict[str, Any]] = {}
    for name, operation in OPERATIONS.items():
        path = re.sub(r"<(\w+)>", r"{\1}", operation.path)
        described = paths.setdefault(path, {})
        described[operation.method.lower()] = _operation(name, path, operation, problem_sets)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "MasStock",
            "version": project["version"],
            "description": ABOUT,
            "contact": {"name": "MasStock", "url": CONTACT_URL},
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The host of this document."}],
        "security": [{"bearer": []}],
        "tags": _tags(),
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
            "schemas": _schemas(),
            "responses": {
                name: _problem_response(status, kinds)
                for name, (status, kinds) in sorted(problem_sets.items())
            },
            "headers": {
                name: {**header, "required": True} for name, header in RESPONSE_HEADERS.items()
            },
        },
    }


def _tag(operation: Operation) -> str:
    return operation.handler.__module__.rpartition(".")[2].replace("_", "-")


def _tags() -> list[dict[str, str]]:
    modules = {_tag(each): sys.modules[each.handler.__module__] for each in OPERATIONS.values()}
    return [{"name": tag, "description": _prose(module)} for tag, module in modules.items()]


def _prose(documented: Any) -> str:
    return " ".join((inspect.getdoc(documented) or "").split())


# --- one operation -----------------------------------------------------------------------------


def _operation(
    name: str,
    path: str,
    operation: Operation,
    problem_sets: dict[str, tuple[int, list[type[errors.AppError]]]],
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": name,
        "tags": [_tag(operation)],
        "summary": name.replace("_", " ").capitalize(),
        "description": _prose(operation.handler) + " Administrators only." * operation.admins,
    }
    if operation.is_open:
        described["security"] = []
    parameters = [
        *_path_parameters(path, operation),
        *(_query_parameter(key, value) for key, value in operation.query.items()),
        *(
            {"name": key, "in": "header", "required": False, **REQUEST_HEADERS[key]}
            for key in operation.headers
        ),
    ]
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {
                "application/json": {
                    "schema": {"$ref": SCHEMAS + operation.body},
                    "examples": {
                        title: {"value": example}
                        for title, example in REQUESTS[operation.body].items()
                    },
                }
            },
        }
    described["responses"] = {
        str(status): _answer(list(answers))
        for status, answers in groupby(operation.answers, lambda answer: answer.status)
    }
    problems = problems_of(operation)
    for status in sorted({*problems, *GATEWAY_ANSWERS}):
        kinds = problems.get(status, [])
        set_name = "_or_".join(kind.code for kind in kinds) or f"gateway_{status}"
        problem_sets[set_name] = (status, kinds)
        described["responses"][str(status)] = {"$ref": f"#/components/responses/{set_name}"}
    return described


def _path_parameters(path: str, operation: Operation) -> Iterable[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", path):
        schema = operation.path_parameters.get(name, a_uuid).schema
        parameter = {"name": name, "in": "path", "required": True, "schema": schema}
        if name in EXAMPLE_IDS:
            parameter["example"] = EXAMPLE_IDS[name]
        yield parameter


def _query_parameter(name: str, parameter: Parameter) -> dict[str, Any]:
    described: dict[str, Any] = {"name": name, "in": "query", "required": False}
    described["description"] = parameter.note or PARAMETER_NOTES.get(
        name, f"Only rows with this `{name}`."
    )
    return {**described, "schema": parameter.schema}


def _answer(answers: list[Answer]) -> dict[str, Any]:
    [status] = {answer.status for answer in answers}
    names = dict.fromkeys(name for answer in answers for name in answer.headers)
    described: dict[str, Any] = {
        "description": TITLES.get(status, "Done."),
        "headers": _headers("X-Request-Id", *names),
    }
    content: dict[str, Any] = {}
    for answer in answers:
        if answer.model is not None:
            described["description"] = _prose(_response_model(answer.model))
            schema = {"$ref": SCHEMAS + _schema_name(answer.model)}
            content["application/json"] = {"schema": schema}
        elif answer.media_type is not None:
            described["description"] = "The document."
            kind = "object" if answer.media_type == "application/json" else "string"
            content[answer.media_type] = {"schema": {"type": kind}}
    if content:
        described["content"] = content
    return described


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


# --- problems ------------------------------------------------------------------------------------


def problems_of(operation: Operation) -> dict[int, list[type[errors.AppError]]]:
    """The errors of an operation by status: those that it declares, and those that follow."""
    kinds = {errors.ValidationFailed, errors.InternalError, *operation.problems}
    if not operation.bare:
        kinds.add(errors.DatabaseUnavailable)
    if not operation.is_open:
        kinds |= {
            errors.Unauthenticated,
            errors.AccountInactive,
            errors.NotProvisioned,
            errors.IdentityProviderUnavailable,
        }
    if operation.admins:
        kinds.add(errors.Forbidden)
    if operation.body is not None:
        kinds |= {errors.MalformedJson, errors.BodyTooLarge, errors.UnsupportedMediaType}
    ordered = [kind for kind in STATUS if kind in kinds]
    ordered.sort(key=lambda kind: STATUS[kind])
    return {status: list(group) for status, group in groupby(ordered, lambda kind: STATUS[kind])}


def _problem_response(status: int, kinds: list[type[errors.AppError]]) -> dict[str, Any]:
    """The answers with one status: our problems, and the answer of the gateway if it has one."""
    headers = ["X-Request-Id", *([PROBLEM_HEADERS[status]] if status in PROBLEM_HEADERS else [])]
    if errors.NotReady in kinds:
        headers.append("Retry-After")
    lines = [f"- `{kind.code}`: {_prose(kind)}" for kind in kinds]
    described: dict[str, Any] = {"headers": _headers(*headers), "content": {}}
    if kinds:
        described["content"][PROBLEM_JSON] = {
            "schema": {"$ref": SCHEMAS + responses.Problem.__name__},
            "examples": {kind.code: {"value": _problem_example(kind)} for kind in kinds},
        }
    if status in GATEWAY_ANSWERS:
        message, meaning = GATEWAY_ANSWERS[status]
        lines.append(f"- `application/json`, from API Gateway: {meaning}")
        # The gateway sends none of our headers.
        described["headers"] = {name: RESPONSE_HEADERS[name] for name in headers if kinds}
        described["content"]["application/json"] = {
            "schema": {"$ref": SCHEMAS + responses.GatewayMessage.__name__},
            "example": {"message": message},
        }
    return {"description": "\n".join(lines), **described}


def _problem_example(kind: type[errors.AppError]) -> dict[str, Any]:
    example = {
        "type": TYPE_BASE + kind.code,
        "title": _prose(kind),
        "status": STATUS[kind],
        "detail": _prose(kind),
        "instance": "/v1/executions",
        "code": kind.code,
        "request_id": "0b9fc2a4-6b3b-4c0e-9d3c-0a8e7c3b1f52",
    }
    if kind is errors.ValidationFailed:
        example["errors"] = [{"pointer": "/prompts", "detail": "Field required"}]
    return example


# --- schemas -------------------------------------------------------------------------------------


def _schemas() -> dict[str, Any]:
    models: list[type[BaseModel]] = [responses.Problem, responses.GatewayMessage]
    for operation in OPERATIONS.values():
        models += [_response_model(each.model) for each in operation.answers if each.model]
        models += [_request_model(operation.body)] if operation.body else []
    _, definitions = models_json_schema(
        [(model, "validation") for model in dict.fromkeys(models)],
        ref_template=SCHEMAS + "{model}",
    )
    text = json.dumps(definitions["$defs"])
    # pydantic writes `Page_User_` for Page[User].
    text = re.sub(r"\b(Page|Report)_(\w+?)_(?=\")", r"\2\1", text)
    schemas: dict[str, Any] = json.loads(text)
    for name, schema in schemas.items():
        _tidy(schema)
        schema.pop("title", None)
        if name in RESPONSES:
            schema["examples"] = [RESPONSES[name]]
        schemas[name] = schema
    return dict(sorted(schemas.items()))


def _schema_name(model: str) -> str:
    """The model's name in `_schemas`."""
    return re.sub(r"^(Page|Report)\[(\w+)\]$", r"\2\1", model)


def _request_model(name: str) -> type[requests.RequestBody]:
    return getattr(requests, name)


def _response_model(name: str) -> type[responses.Resource]:
    """`User`, or `Page[User]`."""
    container, _, item = name.rstrip("]").partition("[")
    model = _model_named(container)
    return model[_model_named(item)] if item else model


def _model_named(name: str) -> Any:
    modules = (responses, archives, people, reports)
    return next(getattr(module, name) for module in modules if hasattr(module, name))


def _tidy(schema: Any) -> None:
    """Removes the titles that pydantic adds, and describes defaults in words: generated clients in
    Python would send them, and those in TypeScript would require them
    (findings/openapi-python-defaults.sh)."""
    if isinstance(schema, list):
        for part in schema:
            _tidy(part)
    elif isinstance(schema, dict):
        for named in schema.get("properties", {}).values():
            named.pop("title", None)
            default = named.pop("default", None)
            if default is not None and "default" not in named.get("description", ""):
                words = f"`{default}`" if isinstance(default, str) else json.dumps(default)
                said = [named["description"]] if "description" in named else []
                named["description"] = " ".join([*said, f"By default {words}."])
        for part in schema.values():
            _tidy(part)


def text() -> str:
    """The OpenAPI document as text."""
    return json.dumps(build(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text())
    sys.stderr.write(f"{TARGET.relative_to(ROOT)}: {len(OPERATIONS)} operations\n")
