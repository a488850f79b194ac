"""Schemathesis with every check, for each kind of caller: no generated request gets a 5xx or an
answer that docs/openapi.json does not describe.

The handler runs in this process, with one database per caller: 7,000 cases in a minute and a half.
A whole stack would paint images for each valid submission.
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
                # The same cases in every run: only a change of the code causes a new failure.
                "deterministic": True,
                "max-examples": 12,
                "database": "none",
                # The tests send the token. The check `ignored_auth` tries without it.
                "with-security-parameters": False,
            }
        }
    ),
)
schema.app = HttpApi(handler.invoke)
schema.location = "/openapi.json"

# Reasons to refuse a request of the right form, which a schema cannot express: other rows, other
# fields of the body, the workflow's config, an earlier request, a later version.
REFUSED_FOR_ITS_MEANING = {"invalid_cursor", "idempotency_key_reused", "precondition_failed"}
FIELDS_WITH_MEANING = {
    "client_id",
    "workflow_id",
    "prompts",
    "prompts_key",
    "template",
    "rows",
    "combine",
    "reference_images",
    "api_key",
    "aspect_ratio",
    "webhook_url",
    "content_type",
    "config",
    "invited_until",
    "select",
    "indices",
    "edits",
    "tier",
    "on_economy_failure",
    "canary",
    "q",  # a search needs a word
    "",  # U+0000 anywhere in the free part of a workflow's config
}
tried: Counter[tuple[str, str]] = Counter()


@pytest.fixture(scope="module", params=CALLERS)
def who(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def api(server: Server, aws_url: str, who: str) -> Iterator[handler.Api]:
    """The api on a separate database per caller: an administrator can delete what clients need."""
    urls = server.create_database()
    with handler.environment(urls, aws_url):
        yield handler.Api()
    server.drop(urls)


def is_the_gateways(response: schemathesis.Response) -> bool:
    """True if the body exceeds API Gateway's limit, so that it never reaches the api."""
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
    names: list[str] = []
    if is_refused_for_its_meaning(response):
        names = ["positive_data_acceptance"]
    elif is_the_gateways(response):
        # For Schemathesis a 413 does not refuse a body of a wrong form.
        names = ["positive_data_acceptance", "negative_data_rejection"]
    excluded = [CHECKS.get_one(name) for name in names]
    case.validate_response(response, headers=headers, excluded_checks=excluded)


def test_every_operation_was_tried_often_enough() -> None:
    operations = sum(1 for _ in schema.get_all_operations())
    if len(tried) < operations * len(CALLERS):
        pytest.skip("only a part of the cases ran")
    assert tried.total() >= ENOUGH
