"""One price of a run: the dry run, the reservation, the ledger and the results agree."""

import base64
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import psycopg
import pytest
from PIL import Image

from masstock.catalogue.image_models import MODELS
from tests.e2e.conftest import Stack, workflow

pytestmark = pytest.mark.timeout(240)

TODAY = datetime.now(UTC).date()
# Of different lengths, so that rounding shows.
PROMPTS = ["a fox", "a whale in the fog of a long morning by the sea"]
STANDARD = [
    (name, size)
    for name, model in MODELS.items()
    if model.retired_on is None or model.retired_on > TODAY
    for size in model.image_tokens
]


def reference() -> str:
    stream = BytesIO()
    Image.new("RGB", (64, 64), "red").save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


@pytest.fixture(scope="module")
def estimates(stack: Stack) -> dict[tuple[str, str], dict[str, Any]]:
    """The dry run of each model and size."""
    return {
        (name, size): stack.call(
            "client_a", "POST", "/v1/executions?dry_run=true", json=submission(stack, name, size)
        ).json()
        for name, size in STANDARD
    }


@pytest.fixture(scope="module")
def executions(
    stack: Stack, estimates: dict[tuple[str, str], dict[str, Any]]
) -> dict[tuple[str, str], str]:
    """The id of an execution of each model and size, all submitted at once."""
    stack.rule()
    made = {}
    for name, size in estimates:
        body = submission(stack, name, size)
        answer = stack.call("client_a", "POST", "/v1/executions", json=body)
        assert answer.status_code == 202, answer.text
        made[name, size] = answer.json()["id"]
    return made


def submission(stack: Stack, model: str, size: str) -> dict[str, Any]:
    return {
        "workflow_id": workflow(stack, model=model),
        "prompts": PROMPTS,
        "image_size": size,
        "reference_images": [reference()],
        "api_key": "demo-key-0123",
    }


def ledger(stack: Stack, execution_id: str) -> tuple[list[int], list[int], int]:
    """Reservations, charges by prompt, and what is reserved still."""
    with psycopg.connect(stack.access["database_url"]) as connection:
        rows = connection.execute(
            "SELECT batch_index, charged_microusd, reserved_microusd FROM public.spend_ledger"
            " WHERE execution_id = %s ORDER BY batch_index, id",
            [execution_id],
        ).fetchall()
    reserved = [reserved for index, _, reserved in rows if index is None and reserved > 0]
    charged = [charged for index, charged, _ in rows if index is not None]
    return reserved, charged, sum(reserved for _, _, reserved in rows)


@pytest.mark.parametrize(("model", "size"), STANDARD)
def test_a_standard_run_costs_what_its_dry_run_said(
    stack: Stack,
    estimates: dict[tuple[str, str], dict[str, Any]],
    executions: dict[tuple[str, str], str],
    model: str,
    size: str,
) -> None:
    execution = stack.wait(executions[model, size], 180)
    results = stack.results(execution["id"])
    assert [row["status"] for row in results] == ["completed"] * len(PROMPTS)
    price = estimates[model, size]["estimate_microusd"]
    assert price > 0
    assert sum(estimates[model, size]["estimate_parts"].values()) == pytest.approx(price, abs=4)
    costs = [row["cost_microusd"] for row in results]
    reserved, charged, left = ledger(stack, execution["id"])
    assert reserved == [price]
    assert charged == costs
    assert left == 0
    assert sum(costs) == price
    assert execution["cost_microusd"] == execution["estimate_microusd"] == price
