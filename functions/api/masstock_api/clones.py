"""Makes a submission of an earlier execution: its prompts and settings, with changes."""

import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, cast
from uuid import UUID

from masstock.database.queries.clone_sources import (
    CloneSource,
    ImageRow,
    fetch_clone_source,
    list_images,
)
from masstock.database.tenants import TenantTransaction
from masstock.errors import ApiKeyUnreadable, FieldError, ValidationFailed
from masstock.schemas.fields import MAX_SEED
from masstock.schemas.requests import ExecutionClone, ExecutionCreate, PromptEdit
from masstock.services import sealing
from masstock.services.secret_store import read_secret
from masstock_api import session
from masstock_api.request import validated
from masstock_api.strict_json import MAX_MISTAKES
from masstock_api.submissions import Order

# Members of a submission that name its prompts, and members of a clone that select earlier ones.
LISTS = ("prompts", "prompts_key", "rows", "template", "combine")
SELECTING = ("select", "indices", "edits")
# Of the stored form, in a submission and in a prompt.
SETTINGS = (
    *("aspect_ratio", "image_size", "images_per_prompt", "seed", "reference_images"),
    "fall_back_after_seconds",
)
OF_IMAGES = (
    *("custom_id", "aspect_ratio", "image_size", "reference_images", "metadata"),
    *("images", "seed"),
)


def order_of(tx: TenantTransaction, execution_id: UUID, body: ExecutionClone) -> Order:
    """The submission that a clone makes. Raises NotFound and ValidationFailed."""
    source = fetch_clone_source(tx, execution_id)
    changes = body.model_dump(exclude_unset=True, exclude_none=True)
    stored = _stored(source)
    members: dict[str, Any] = {
        "workflow_id": source["workflow_id"],
        "name": source["name"],
        "webhook_url": source["webhook_url"],
        "webhook_events": source["webhook_events"],
        "tier": source["tier"],
        "on_economy_failure": source["on_economy_failure"],
        **{name: stored[name] for name in SETTINGS if name in stored},
    }
    if tx.caller.client_id is None:
        members["client_id"] = source["client_id"]
    key = stored.get("api_key")
    keeps_key = "api_key" not in changes and isinstance(key, str)
    if keeps_key:
        members["api_key"] = _unsealed(str(key), source["client_id"], execution_id)
    if "workflow_id" in changes:
        # Another workflow may have no fallback model and another tier.
        for name in ("fall_back_after_seconds", "tier", "on_economy_failure"):
            members.pop(name, None)
    if "tier" in changes:
        members.pop("on_economy_failure", None)
    own_lists = [name for name in LISTS if name in changes]
    if own_lists:
        _refuse(
            FieldError(f"/{name}", f"Leave it out, or {own_lists[0]}.")
            for name in SELECTING
            if name in changes
        )
    else:
        members["prompts"] = _prompts(tx, execution_id, stored, body)
    members |= {name: value for name, value in changes.items() if name not in SELECTING}
    lane = source["lane_key"] if keeps_key and "lane" not in changes else None
    return Order(validated(ExecutionCreate, members), lane)


def _stored(source: CloneSource) -> dict[str, Any]:
    """The stored form. An execution that was inserted without the api can have anything."""
    stored: Any = source["input_data"]
    found = cast(dict[str, Any], stored) if isinstance(stored, dict) else {}
    return found if isinstance(found.get("prompts"), list) else found | {"prompts": []}


def _unsealed(key: str, client_id: UUID, execution_id: UUID) -> str:
    secret = read_secret(session.settings().sealing_secret_id)
    try:
        return sealing.unseal(key, client_id, execution_id, secret)
    except ApiKeyUnreadable as error:
        detail = "The key of the execution can no longer be read. Send it again."
        raise ValidationFailed([FieldError("/api_key", detail)]) from error


def _prompts(
    tx: TenantTransaction, execution_id: UUID, stored: Mapping[str, Any], body: ExecutionClone
) -> list[dict[str, Any]]:
    """The selected images as prompts. Images of one prompt that follow one another become one."""
    submitted = cast(list[Any], stored["prompts"])
    rows = list_images(tx, execution_id)
    if not rows and body.select == "all" and not body.indices and not body.edits:
        # Fan-out has not begun.
        return [_own(item, *OF_IMAGES) | {"prompt": _text(item)} for item in submitted]
    last_of = {row["prompt_index"]: row["batch_index"] for row in rows}
    selected = _selected(rows, body)
    edits = _edits(selected, body.edits or [])

    def text_of(row: ImageRow) -> str:
        return edits.get(row["batch_index"]) or row["prompt_text"] or _text(_item(submitted, row))

    def group(row: ImageRow) -> tuple[int, int, str]:
        # Image k of a prompt follows image k - 1 if the difference stays the same.
        return row["prompt_index"], row["batch_index"] - places[row["batch_index"]], text_of(row)

    places = {row["batch_index"]: place for place, row in enumerate(selected)}
    prompts: list[dict[str, Any]] = []
    names: set[str] = set()
    for (_, _, text), images in groupby(selected, group):
        together = list(images)
        prompt = _prompt(_item(submitted, together[0]), together, last_of, text, body.seed)
        # Two parts of one prompt cannot have one name.
        name = prompt.get("custom_id")
        if name is not None and name in names:
            prompt["custom_id"] = f"{name[:190]}-{together[0]['image_index'] + 1}"
        names.add(str(name))
        prompts.append(prompt)
    return prompts


def _selected(rows: list[ImageRow], body: ExecutionClone) -> list[ImageRow]:
    selected = [row for row in rows if body.select == "all" or row["failed"]]
    if body.indices is None:
        if not selected:
            raise ValidationFailed([FieldError("/select", "No image of this execution is such.")])
        return selected
    found = {row["batch_index"]: row for row in selected}
    _refuse(
        FieldError(f"/indices/{position}", "There is no such image.")
        for position, index in enumerate(body.indices)
        if index not in found
    )
    return [found[index] for index in sorted(set(body.indices))]


def _edits(selected: list[ImageRow], edits: list[PromptEdit]) -> Mapping[int, str | None]:
    indices = {row["batch_index"] for row in selected}
    _refuse(
        FieldError(f"/edits/{position}/batch_index", "This image is not selected.")
        for position, edit in enumerate(edits)
        if edit.batch_index not in indices
    )
    return {edit.batch_index: edit.prompt for edit in edits}


def _prompt(
    item: Any, images: list[ImageRow], last_of: Mapping[int, int], text: str, seed: int | None
) -> dict[str, Any]:
    """The prompt object of images that follow one another. `last_of` is the last image of each
    prompt. `seed` is the new seed of prompts without an own one."""
    own = _own(item, *OF_IMAGES)
    first, last = images[0], images[-1]
    is_whole = first["image_index"] == 0 and last["batch_index"] == last_of[last["prompt_index"]]
    if not is_whole or "images" in own:
        own["images"] = len(images)
    if seed is not None and "seed" not in own:
        if not is_whole:
            own["seed"] = min(seed + first["image_index"], MAX_SEED)
    elif first["seed"] is not None and (not is_whole or "seed" in own):
        own["seed"] = first["seed"]
    return own | {"prompt": text}


def _own(item: Any, *names: str) -> dict[str, Any]:
    """The members of a prompt object."""
    if not isinstance(item, dict):
        return {}
    members = cast(dict[str, Any], item)
    return {name: members[name] for name in names if name in members}


def _item(submitted: list[Any], row: ImageRow) -> Any:
    """The submitted prompt of an image. Raises ValidationFailed if `prompts` was shortened by
    hand."""
    index = row["prompt_index"]
    if index < len(submitted):
        return submitted[index]
    detail = f"The prompt of image {row['batch_index']} was removed. Select other images."
    raise ValidationFailed([FieldError("/indices", detail)])


def _text(item: Any) -> str:
    text = _own(item, "prompt").get("prompt", item)
    return text if isinstance(text, str) else json.dumps(item)


def _refuse(mistakes: Iterator[FieldError]) -> None:
    if found := list(mistakes)[:MAX_MISTAKES]:
        raise ValidationFailed(found)
