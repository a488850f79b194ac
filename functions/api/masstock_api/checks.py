"""What a workflow and its image model do not accept of a submission."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from masstock.catalogue.image_models import MODELS
from masstock.database.queries import workflows
from masstock.database.queries.batch_results import OwnSettings
from masstock.database.tenants import TenantTransaction
from masstock.errors import FieldError, ValidationFailed
from masstock.limits import IMAGES_LIMIT, PROMPTS_LIMIT
from masstock.schemas.prompts import PromptWithId
from masstock.schemas.requests import ExecutionCreate
from masstock.schemas.workflow_config import WorkflowConfig
from masstock.services.webhooks import WebhookRefused, check_url
from masstock_api import strict_json
from masstock_api.prompt_lists.places import PromptList
from masstock_api.strict_json import MAX_MISTAKES
from masstock_api.tiers import tier_mistakes, tier_of

NO_REFERENCES = "This workflow does not support reference images."


def active_config(tx: TenantTransaction, workflow_id: UUID) -> WorkflowConfig:
    """The config of a workflow that executions may use. Raises ValidationFailed."""
    found = workflows.fetch_active_config(tx, workflow_id)
    if found is None:
        raise ValidationFailed([FieldError("/workflow_id", "There is no such active workflow.")])
    return valid_config(found)


def valid_config(found: Mapping[str, Any]) -> WorkflowConfig:
    """A stored config. Raises ValidationFailed."""
    try:
        return WorkflowConfig.model_validate(found)
    except ValidationError as error:
        # An older version stored it, or a login of the database's owner.
        place = strict_json.pointer(("config", *error.errors()[0]["loc"]))
        detail = f"An administrator must correct the workflow: {place} is not valid."
        raise ValidationFailed([FieldError("/workflow_id", detail)]) from error


def find_mistakes(
    submission: ExecutionCreate,
    listed: PromptList,
    config: WorkflowConfig,
    *,
    has_platform_key: bool,
    allow_private_webhooks: bool,
) -> list[FieldError]:
    """Every value of the submission that the workflow does not accept."""
    mistakes = list(_too_many(submission, listed, config))
    mistakes += _repeated_ids(listed)
    if submission.api_key is None and (config.requires_api_key or not has_platform_key):
        mistakes.append(FieldError("/api_key", "This workflow requires an api_key."))
    if tier_of(submission, config) == "economy":
        if submission.canary is not None:
            mistakes.append(FieldError("/canary", "Only the tier standard has a canary."))
        if submission.reuse == "identical":
            mistakes.append(FieldError("/reuse", "Only the tier standard reuses images."))
    if submission.lane is not None and submission.api_key is None:
        mistakes.append(FieldError("/lane", "Name a lane only for an api_key of your own."))
    mistakes += tier_mistakes(submission, config)
    if submission.webhook_url is not None:
        try:
            check_url(submission.webhook_url, allow_private=allow_private_webhooks)
        except WebhookRefused as error:
            mistakes.append(FieldError("/webhook_url", str(error)))
    if submission.reference_images and not config.supports_reference_images:
        mistakes.append(FieldError("/reference_images", NO_REFERENCES))
    mistakes += against_model(
        config,
        references=len(submission.reference_images or ()),
        ratio=submission.aspect_ratio or config.aspect_ratio,
        size=submission.image_size or config.image_size,
    )
    return mistakes + _of_prompts(listed, config)


def _too_many(
    submission: ExecutionCreate, listed: PromptList, config: WorkflowConfig
) -> Iterator[FieldError]:
    if (count := len(listed.prompts)) > (limit := min(config.max_prompts, PROMPTS_LIMIT)):
        there_are = str(count) if count <= PROMPTS_LIMIT else f"more than {PROMPTS_LIMIT}"
        detail = f"This workflow takes at most {limit} prompts; there are {there_are}."
        yield FieldError("/prompts", detail)
    elif (images := sum(images_of(submission, prompt) for prompt in listed.prompts)) > IMAGES_LIMIT:
        detail = f"An execution has at most {IMAGES_LIMIT} images; these prompts make {images}."
        yield FieldError("/prompts", detail)


def images_of(submission: ExecutionCreate, prompt: str | PromptWithId) -> int:
    """How many images of the prompt are painted."""
    own = None if isinstance(prompt, str) else prompt.images
    return own or submission.images_per_prompt or 1


def _repeated_ids(listed: PromptList) -> list[FieldError]:
    seen: dict[str, int] = {}
    repeated: list[FieldError] = []
    for position, prompt in enumerate(listed.prompts):
        if isinstance(prompt, str) or prompt.custom_id is None:
            continue
        if (first := seen.setdefault(prompt.custom_id, position)) != position:
            repeated.append(listed.places.repeated(position, first, prompt.custom_id))
    return repeated[:MAX_MISTAKES]


def _of_prompts(listed: PromptList, config: WorkflowConfig) -> list[FieldError]:
    """Settings of single prompts that the workflow or a model does not accept."""
    mistakes: list[FieldError] = []
    # Ten thousand prompts have few different settings.
    known: dict[tuple[int, str | None, str | None], list[tuple[str, str]]] = {}
    for position, prompt in enumerate(listed.prompts):
        if isinstance(prompt, str):
            continue
        references = len(prompt.reference_images or ())
        settings = references, prompt.aspect_ratio, prompt.image_size
        if settings not in known:
            known[settings] = list(_unsupported(config.models, *settings))
            if references and not config.supports_reference_images:
                known[settings].insert(0, ("reference_images", NO_REFERENCES))
        if wrong := known[settings]:
            mistakes += (listed.places.mistake(position, *each) for each in wrong)
            if len(mistakes) >= MAX_MISTAKES:
                break
    return mistakes[:MAX_MISTAKES]


def against_model(
    config: WorkflowConfig, *, references: int, ratio: str | None, size: str | None
) -> list[FieldError]:
    """The settings that the model or its fallback does not support. A model outside the catalogue
    is not checked."""
    mistakes = [mistake for name in config.models for mistake in retirement(name)]
    mistakes += (
        FieldError(f"/{member}", detail)
        for member, detail in _unsupported(config.models, references, ratio, size)
    )
    return mistakes


def of_images(config: WorkflowConfig, images: Iterable[OwnSettings]) -> list[FieldError]:
    """Settings of single images that a model does not support."""
    mistakes = [
        FieldError("/current_settings", f"Image {image['batch_index']}: {detail}")
        for image in images
        for _, detail in _unsupported(
            config.models, image["references"], image["aspect_ratio"], image["image_size"]
        )
    ]
    return mistakes[:MAX_MISTAKES]


def _unsupported(
    models: Sequence[str], references: int, ratio: str | None, size: str | None
) -> Iterator[tuple[str, str]]:
    """(field, reason) of each setting that one of the models does not support."""
    for name in models:
        if (model := MODELS.get(name)) is None:
            continue
        if references > model.max_reference_images:
            detail = f"{name} takes at most {model.max_reference_images} reference images."
            yield "reference_images", detail
        if ratio is not None and ratio not in model.aspect_ratios:
            yield "aspect_ratio", f"{name} supports {', '.join(model.aspect_ratios)}."
        if size is not None and size not in model.image_tokens:
            yield "image_size", f"{name} supports {', '.join(model.image_tokens)}."


def retirement(name: str, *, of_submission: bool = False) -> list[FieldError]:
    """The mistake of using a model that is known to be off. `of_submission` says that the settings
    of an earlier submission name it."""
    model = MODELS.get(name)
    if model is None or model.retired_on is None or model.retired_on > datetime.now(UTC).date():
        return []
    detail = (
        f"The workflow's model {name} was retired on {model.retired_on}; an administrator can "
        f"replace it by {model.successor}."
    )
    if of_submission:
        detail += " Then retry with current_settings."
    return [FieldError("/workflow_id", detail)]
