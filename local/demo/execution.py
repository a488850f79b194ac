"""One execution over the HTTP API: submit it, wait for its end, download its images."""

import sys
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local.demo.api_client import ApiClient, ApiError
from local.demo.contact_sheet import Tile
from local.demo.pace import is_closed
from local.demo.prompts import PromptFile
from local.errors import DemoError

NO_PROGRESS_SECONDS = 600.0
POLL_SECONDS = 1.0
DOWNLOADS_AT_ONCE = 8

type Json = dict[str, Any]


def find_workflow(api: ApiClient) -> Json:
    """Return the first active nano_banana workflow; DemoError if there is none."""
    for workflow in api.items("/v1/workflows"):
        kind = workflow["config"].get("workflow_type")
        if kind == "nano_banana" and workflow["status"] == "active":
            return workflow
    raise DemoError("there is no active nano_banana workflow to run")


def body_of(
    api: ApiClient,
    workflow_id: str,
    prompts: Sequence[str] | PromptFile,
    api_key: str,
    tier: str | None = None,
) -> Json:
    """Return the body of a submission. Upload the prompts first if they are a file."""
    body: Json = {"workflow_id": workflow_id, "api_key": api_key}
    if tier:
        body["tier"] = tier
    if isinstance(prompts, PromptFile):
        asked = {"kind": "prompts", "content_type": prompts.content_type}
        form = api.post("/v1/uploads", asked, str(uuid.uuid4())).json()
        api.upload(form["url"], form["fields"], prompts.content)
        body["prompts_key"] = form["key"]
    else:
        body["prompts"] = list(prompts)
    return body


def submit(api: ApiClient, body: Json) -> Json:
    """Submit and return the execution."""
    return api.post("/v1/executions", body, str(uuid.uuid4())).json()


def prices(api: ApiClient, body: Json) -> Json:
    """Return the expected cost of a submission by tier, in millionths of a dollar."""
    return api.post("/v1/executions?dry_run=true", body, str(uuid.uuid4())).json()["estimates"]


def wait_for_end(api: ApiClient, execution_id: str, show: Callable[[Json], None]) -> Json:
    """Poll until the execution ends and return it; DemoError after 600 s without progress.

    The time in which the provider is closed does not count: the execution waits for it. Calls
    `show` with the execution after every poll.
    """
    seen: tuple[object, ...] = ()
    moved = time.monotonic()
    while True:
        answer = api.get(f"/v1/executions/{execution_id}")
        execution = answer.json()
        show(execution)
        if execution["status"] not in ("pending", "processing"):
            return execution
        now = (execution["status"], *sorted((execution.get("progress") or {}).items()))
        if now != seen or is_closed(execution.get("pace"), datetime.now(UTC)):
            seen, moved = now, time.monotonic()
        idle = time.monotonic() - moved
        if idle > NO_PROGRESS_SECONDS:
            raise DemoError(
                f"execution {execution_id} made no progress for {idle:.0f} s"
                f" (it is {execution['status']})"
            )
        time.sleep(min(answer.retry_after(POLL_SECONDS), NO_PROGRESS_SECONDS))


def fetch_results(api: ApiClient, execution_id: str) -> list[Json]:
    """Return every result of the execution."""
    return list(api.items(f"/v1/executions/{execution_id}/results", limit=200))


def collect_images(
    api: ApiClient, execution_id: str, results: Sequence[Json], save: Callable[[int, bytes], Path]
) -> list[Tile]:
    """Download the images, pass each with its index to `save`, and return a tile for each result.

    A failed download is reported on standard error and becomes a failed tile.
    """

    def collect(result: Json) -> Tile:
        index, prompt = result["batch_index"], result["prompt_text"]
        if result["status"] != "completed":
            return Tile(index, prompt, failure=result.get("error_code") or result["status"])
        try:
            image = api.download(f"/v1/executions/{execution_id}/results/{index}/image")
        except ApiError as error:
            print(f"demo: image {index}: {error}", file=sys.stderr)
            return Tile(index, prompt, failure="download failed")
        return Tile(index, prompt, save(index, image))

    with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
        return sorted(pool.map(collect, results), key=lambda tile: tile.index)
