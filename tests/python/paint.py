"""Paints two prompts with the generated client, retries the one that failed, and downloads both
images. As ../typescript/paint.ts; mypy checks it together with the client."""

import json
import sys
import time
from uuid import UUID, uuid4

import httpx
from masstock_generated import AuthenticatedClient
from masstock_generated.api.executions import (
    create_execution,
    get_execution,
    list_results,
    retry_execution,
)
from masstock_generated.models import (
    BatchResultPage,
    Execution,
    ExecutionCreate,
    ExecutionRetry,
    ExecutionStatus,
    OutputData,
    Problem,
)

ENDED = (ExecutionStatus.COMPLETED, ExecutionStatus.FAILED)


def wait(api: AuthenticatedClient, execution_id: UUID) -> OutputData:
    """Looks as often as the answers say. Returns the counts of the ended execution."""
    while True:
        answer = get_execution.sync_detailed(execution_id, client=api)
        seen = answer.parsed
        assert isinstance(seen, Execution), seen
        if seen.status in ENDED:
            assert isinstance(seen.output_data, OutputData)
            return seen.output_data
        time.sleep(min(2, int(answer.headers["Retry-After"])))


call = json.load(sys.stdin)
with AuthenticatedClient(base_url=call["baseUrl"], token=call["token"]) as api:
    submission = ExecutionCreate.from_dict(call["submission"])
    made = create_execution.sync(client=api, body=submission, idempotency_key=str(uuid4()))
    assert isinstance(made, Execution), made
    first = wait(api, made.id)
    again = retry_execution.sync(made.id, client=api, body=ExecutionRetry(only_retryable=False))
    assert isinstance(again, Execution), again
    second = wait(api, made.id)
    page = list_results.sync(made.id, client=api, limit=200)
    assert isinstance(page, BatchResultPage), page
    images = []
    for result in page.items:
        assert result.result_url is not None
        image = httpx.get(result.result_url)
        kind, size = image.headers["Content-Type"], len(image.content)
        images.append({"prompt": result.prompt_text, "type": kind, "bytes": size})
    problem = get_execution.sync(uuid4(), client=api)
    assert isinstance(problem, Problem), problem
print(
    json.dumps(
        {
            "outputs": [first.to_dict(), second.to_dict()],
            "images": images,
            "problem": problem.to_dict(),
        }
    )
)
