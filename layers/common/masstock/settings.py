"""The environment of each function, parsed once. A missing or wrong variable fails the first
request with the variable's name. This module does not use pydantic, which would take a fifth of a
cold start."""

import os
from collections.abc import Mapping
from typing import cast

type Environment = Mapping[str, str]


class Misconfigured(Exception):
    """A variable is missing or wrong. The message never contains its value: errors are logged and
    stored in the machine's history, and the environment holds credentials."""


class Settings:
    """Settings of every function."""

    def __init__(self, environment: Environment) -> None:
        self.database_secret_id = _text(environment, "DATABASE_SECRET_ID")


class ApiSettings(Settings):
    """Settings of functions/api."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.identity_secret_id = _text(environment, "IDENTITY_SECRET_ID")
        self.sealing_secret_id = _text(environment, "SEALING_SECRET_ID")
        self.jwt_issuer = _text(environment, "JWT_ISSUER")
        self.jwt_audience = _text(environment, "JWT_AUDIENCE")
        # Exactly one of the two is set. It decides the algorithm family; the token does not.
        self.jwt_jwks_url = _text(environment, "JWT_JWKS_URL", "")
        self.jwt_secret_id = _text(environment, "JWT_SECRET_ID", "")
        # Which tokens carry a confirmed e-mail address: `claim`, those whose own claim
        # `email_verified` is true; `always`, all of them, as the operator states. `none` turns
        # invitations off.
        self.confirmed_emails = _choice(environment, "CONFIRMED_EMAILS", "none", "claim", "always")
        self.state_machine_arn = _text(environment, "STATE_MACHINE_ARN")
        self.results_bucket = _text(environment, "RESULTS_BUCKET")
        self.uploads_bucket = _text(environment, "UPLOADS_BUCKET")
        self.images_are_public = _images_are_public(environment)
        self.execution_deadline_seconds = _deadline(environment)
        # If empty, every submission must carry an API key.
        self.platform_api_key_secret_id = _text(environment, "PLATFORM_API_KEY_SECRET_ID", "")
        self.webhook_secret_id = _text(environment, "WEBHOOK_SECRET_ID")
        self.allow_private_webhooks = _flag(environment, "ALLOW_PRIVATE_WEBHOOKS")
        # Origins of web pages that may call the api, separated by commas, or `*` for all. If
        # empty, only pages of the api's own origin may call it.
        self.cors_allow_origins = _text(environment, "CORS_ALLOW_ORIGINS", "")
        self.archive_function_arn = _text(environment, "ARCHIVE_FUNCTION_ARN")
        self.stage = _text(environment, "STAGE", "")
        # How people enter the console; see the parameters of template.yaml.
        self.console_auth_url = _text(environment, "CONSOLE_AUTH_URL", "").rstrip("/")
        self.console_auth_key = _text(environment, "CONSOLE_AUTH_KEY", "")
        self.console_client_id = _text(environment, "CONSOLE_CLIENT_ID", "")
        self.console_origins = _text(environment, "CONSOLE_ORIGINS", "")


class FanoutSettings(Settings):
    """Settings of functions/fanout."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.max_concurrency_default = _count(environment, "MAX_CONCURRENCY_DEFAULT")
        self.max_concurrency_limit = _count(environment, "MAX_CONCURRENCY_LIMIT")


class ProviderSettings(Settings):
    """Settings of the functions that call a provider."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.sealing_secret_id = _text(environment, "SEALING_SECRET_ID")
        self.uploads_bucket = _text(environment, "UPLOADS_BUCKET")
        self.platform_api_key_secret_id = _text(environment, "PLATFORM_API_KEY_SECRET_ID", "")


class GenerateSettings(ProviderSettings):
    """Settings of functions/generate."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.results_bucket = _text(environment, "RESULTS_BUCKET")
        self.images_are_public = _images_are_public(environment)
        self.model_timeout_seconds = _count(environment, "MODEL_TIMEOUT_SECONDS")
        # The length of a lane's minute. Only tests shorten it.
        self.pace_minute_seconds = _count(environment, "PACE_MINUTE_SECONDS", "60")
        self.max_image_bytes = _count(environment, "MAX_IMAGE_MEGABYTES", "10") * 2**20


class EconomySettings(ProviderSettings):
    """Settings of the economy steps of functions/generate."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        # Only tests and the local stack change these. The first pause between looks at a job.
        self.economy_poll_seconds = _count(environment, "ECONOMY_POLL_SECONDS", "30")
        # A job that was created is in the provider's list after this time.
        self.economy_list_seconds = _count(environment, "ECONOMY_LIST_SECONDS", "60")
        self.economy_result_bytes = _count(environment, "ECONOMY_RESULT_BYTES", str(10**9))


class FinalizeSettings(Settings):
    """Settings of functions/finalize."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.results_bucket = _text(environment, "RESULTS_BUCKET")
        self.uploads_bucket = _text(environment, "UPLOADS_BUCKET")
        self.state_machine_arn = _text(environment, "STATE_MACHINE_ARN")
        self.archive_function_arn = _text(environment, "ARCHIVE_FUNCTION_ARN")
        self.execution_deadline_seconds = _deadline(environment)
        self.webhook_secret_id = _text(environment, "WEBHOOK_SECRET_ID")
        self.allow_private_webhooks = _flag(environment, "ALLOW_PRIVATE_WEBHOOKS")


class ArchiveSettings(Settings):
    """Settings of the builder of archives, which is in functions/finalize too."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.results_bucket = _text(environment, "RESULTS_BUCKET")
        self.uploads_bucket = _text(environment, "UPLOADS_BUCKET")


_parsed: dict[type[Settings], Settings] = {}


def read_settings[S: Settings](kind: type[S]) -> S:
    """The settings of one function; raises Misconfigured."""
    if kind not in _parsed:
        _parsed[kind] = kind(os.environ)
    return cast(S, _parsed[kind])


def _text(environment: Environment, name: str, default: str | None = None) -> str:
    try:
        return environment[name] if default is None else environment.get(name, default)
    except KeyError as error:
        raise Misconfigured(f"{name} is missing") from error


def _choice(environment: Environment, name: str, default: str, *others: str) -> str:
    """The variable's value. Raises Misconfigured for a value that is not named here."""
    value = _text(environment, name, default)
    if value not in (default, *others):
        raise Misconfigured(f"{name} must be {' or '.join((default, *others))}")
    return value


def _images_are_public(environment: Environment) -> bool:
    return _choice(environment, "IMAGE_ACCESS", "signed", "public") == "public"


def _flag(environment: Environment, name: str) -> bool:
    return _choice(environment, name, "false", "true") == "true"


def _deadline(environment: Environment) -> int:
    return _count(environment, "EXECUTION_DEADLINE_SECONDS", "21600")


def _count(environment: Environment, name: str, default: str | None = None) -> int:
    value = _text(environment, name, default)
    if not value.isdecimal() or int(value) < 1:
        raise Misconfigured(f"{name} must be a whole number above 0")
    return int(value)
