"""The API key of an execution: the caller's own, or the platform's."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from masstock.errors import ApiKeyUnreadable, InvalidApiKey
from masstock.services import sealing
from masstock.services.secret_store import forget_secrets, read_secret
from masstock.settings import ProviderSettings
from masstock.telemetry import logger


def read_api_key(
    sealed: str | None,
    client_id: UUID,
    execution_id: UUID,
    config: Mapping[str, Any],
    settings: ProviderSettings,
) -> str:
    """The key in clear. Raises InvalidApiKey if there is none, or ApiKeyUnreadable."""
    if sealed is None:
        # The api checks this at submission, but a row can be inserted without the api.
        if config.get("requires_api_key") or not settings.platform_api_key_secret_id:
            raise InvalidApiKey("The execution was submitted without an API key.")
        return read_secret(settings.platform_api_key_secret_id)
    try:
        return _unseal(sealed, client_id, execution_id, settings)
    except ApiKeyUnreadable:
        # The value may be sealed with a key that is newer than the cached secret.
        forget_secrets()
    try:
        return _unseal(sealed, client_id, execution_id, settings)
    except ApiKeyUnreadable:
        logger.error("a sealed API key cannot be decrypted: altered, moved, or its key was removed")
        raise


def _unseal(sealed: str, client_id: UUID, execution_id: UUID, settings: ProviderSettings) -> str:
    keys = read_secret(settings.sealing_secret_id)
    return sealing.unseal(sealed, client_id, execution_id, keys)
