"""Schemathesis over the description, with every check, as each kind of caller: no generated request
gets a 5xx or an answer that the description does not have.

In this process, on a database per caller: 7,000 cases in a minute and a half. The stack would paint
images for each submission that happens to be valid.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from schemathesis.checks import CHECKS

from local.aws.http_api import HttpApi
from tests.support import handler
from tests.support.databases import Server

DESCRIPTION = Path(__file__).parents[2] / "docs/openapi.json"
CALLERS = {"admin": "admin", "client": "client_a", "anonymous": None}
ENOUGH = 2000

schema = schemathesis.openapi.from_dict(
    json.loads(DESCRIPTION.read_text()),
    config=schemathesis.Config.from_dict(
        {
            "generation": {
                # The same cases at every run: a failure is somebody's change, not their luck.
                "deterministic": True,
                "max-examples": 12,
                "database": "none",
                # The token is ours to send; `ignored_auth` tries without.
                "with-security-parameters": False,
            }
        }
    ),
)
schema.app = HttpApi(handler.invoke)
schema.location = "/openapi.json"

# What no schema can say, and so what may refuse a request of the right form: other rows, other
# fields of the same body, the workflow's own config, an earlier request, a later version.
REFUSED_FOR_ITS_MEANING = {"invalid_cursor", "idempotency_key_reused", "precondition_failed"}
FIELDS_WITH_MEANING = {
    "client_id",
    "workflow_id",
    "prompts",
    "prompts_key",
    "reference_images",
    "api_key",
    "aspect_ratio",
    "webhook_url",
    "content_type",
    "config",
    "",  # U+0000 anywhere in what workflows keep unread
}
tried: Counter[tuple[str, str]] = Counter()


@pytest.fixture(scope="module", params=CALLERS)
def who(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def api(server: Server, aws_url: str, who: str) -> Iterator[handler.Api]:
    """A database of the caller's own: an administrator may retire what clients ask for."""
    urls = server.create_database()
    with handler.environment(urls, aws_url):
        yield handler.Api()
    server.drop(urls)


def is_the_gateways(response: schemathesis.Response) -> bool:
    """A body over API Gateway's own limit never reaches us (docs/errors.md)."""
    return response.status_code == 413 and response.json() == {
        "message": "Request Entity Too Large"
    }


def is_refused_for_its_meaning(response: schemathesis.Response) -> bool:
    if response.status_code not in (400, 412, 422):
        return False
    problem = response.json()
    if "errors" not in problem:
        return problem["code"] in REFUSED_FOR_ITS_MEANING
    fields = {error["pointer"].removeprefix("/").split("/")[0] for error in problem["errors"]}
    return fields <= FIELDS_WITH_MEANING


@schema.parametrize()
def test_every_answer_is_described(case: schemathesis.Case, who: str, api: handler.Api) -> None:
    headers = {"Accept-Encoding": "identity"}
    if (user := CALLERS[who]) is not None:
        headers["Authorization"] = api.authorization(user)
    response = case.call(headers=headers)
    tried[who, case.operation.label] += 1
    acceptance = CHECKS.get_one("positive_data_acceptance")
    may_be_refused = is_the_gateways(response) or is_refused_for_its_meaning(response)
    excluded = [acceptance] if may_be_refused else []
    case.validate_response(response, headers=headers, excluded_checks=excluded)


def test_enough_was_tried() -> None:
    operations = sum(1 for _ in schema.get_all_operations())
    if len(tried) < operations * len(CALLERS):
        pytest.skip("only a part of it ran")
    assert tried.total() >= ENOUGH
