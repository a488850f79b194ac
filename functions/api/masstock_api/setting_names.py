"""Names in a workflow's `config` that resemble one of our settings.

Unknown names are stored and have no effect. So a misspelt setting would be ignored silently.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches

from masstock.errors import FieldError, ValidationFailed
from masstock.schemas.workflow_config import WorkflowConfig
from masstock_api.strict_json import MAX_MISTAKES, pointer

# Two names are alike if they share this part of their letters.
ALIKE = 0.9
# Names of other programs for our settings, in the form of `_letters`.
OTHER_NAMES = {
    "aspect": "aspect_ratio",
    "ratio": "aspect_ratio",
    "apikeyrequired": "requires_api_key",
    "needsapikey": "requires_api_key",
    "concurrency": "max_concurrency",
    "parallelism": "max_concurrency",
    "costperimage": "microusd_per_image",
    "imageprice": "microusd_per_image",
    "priceperimage": "microusd_per_image",
    "fallback": "fallback_model",
    "imagemodel": "model",
    "modelid": "model",
    "modelname": "model",
    "promptlimit": "max_prompts",
    "referenceimages": "supports_reference_images",
    "supportsreferences": "supports_reference_images",
    "resolution": "image_size",
    "size": "image_size",
}


def refuse_misspelt(config: WorkflowConfig) -> None:
    """Raises ValidationFailed with a pointer to each unknown name that resembles a setting."""
    mistakes = [
        FieldError(pointer(("config", name)), f"There is no such setting; use {meant}.")
        for name, meant in _resembling(config.model_extra or {})
    ]
    if mistakes:
        raise ValidationFailed(mistakes[:MAX_MISTAKES])


def _resembling(names: Iterable[str]) -> Iterable[tuple[str, str]]:
    settings = {_letters(name): name for name in WorkflowConfig.model_fields}
    longest = max(map(len, settings)) * 2
    for name in names:
        letters = _letters(name)
        # Comparing a very long name takes long, and such a name resembles no setting.
        close = get_close_matches(letters, settings, 1, ALIKE) if len(letters) < longest else []
        meant = OTHER_NAMES.get(letters) or (settings[close[0]] if close else None)
        if meant:
            yield name, meant


def _letters(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())
