"""The environment of each function, parsed once; a missing variable fails at the first request
with its name."""

import os
from typing import Literal, cast

from pydantic import BaseModel, ConfigDict, PositiveInt


class Settings(BaseModel):
    """What every function needs."""

    # The environment holds credentials, and errors travel into logs and history.
    model_config = ConfigDict(
        frozen=True, extra="ignore", defer_build=True, hide_input_in_errors=True
    )

    database_secret_id: str


class ApiSettings(Settings):
    """functions/api."""

    identity_secret_id: str
    sealing_secret_id: str
    jwt_issuer: str
    jwt_audience: str
    # Exactly one of the two decides the algorithm family; the token never does.
    jwt_jwks_url: str = ""
    jwt_secret_id: str = ""
    state_machine_arn: str
    results_bucket: str
    uploads_bucket: str
    image_access: Literal["signed", "public"] = "signed"
    execution_deadline_seconds: PositiveInt = 21600
    # Where empty, every submission must bring a key.
    platform_api_key_secret_id: str = ""
    webhook_secret_id: str
    allow_private_webhooks: bool = False
    # Origins of web pages, separated by commas, or `*`; where empty, only their own.
    cors_allow_origins: str = ""


class FanoutSettings(Settings):
    """functions/fanout."""

    max_concurrency_default: PositiveInt
    max_concurrency_limit: PositiveInt


class GenerateSettings(Settings):
    """functions/generate."""

    sealing_secret_id: str
    results_bucket: str
    uploads_bucket: str
    image_access: Literal["signed", "public"] = "signed"
    model_timeout_seconds: PositiveInt
    platform_api_key_secret_id: str = ""


class FinalizeSettings(Settings):
    """functions/finalize."""

    results_bucket: str
    state_machine_arn: str
    webhook_secret_id: str
    allow_private_webhooks: bool = False


_parsed: dict[type[Settings], Settings] = {}


def read_settings[S: Settings](kind: type[S]) -> S:
    """The settings of one function; raises pydantic.ValidationError naming what is missing."""
    if kind not in _parsed:
        _parsed[kind] = _parse(kind)
    return cast(S, _parsed[kind])


def _parse[S: Settings](kind: type[S]) -> S:
    return kind.model_validate({name.lower(): value for name, value in os.environ.items()})
