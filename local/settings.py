"""The settings of the stack, read from environment variables."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.errors import StackError
from local.processes.postgres import PostgresServer

ROOT = Path(__file__).resolve().parent.parent
RESULTS_BUCKET = "workflow-results"
UPLOADS_BUCKET = "masstock-uploads"
SMALLEST_POOL = 32

# Environment variables whose values become parameters of template.yaml.
PARAMETERS = {
    "MODEL_TIMEOUT_SECONDS": "ModelTimeoutSeconds",
    "MAX_IMAGE_MEGABYTES": "MaxImageMegabytes",
    "EXECUTION_DEADLINE_SECONDS": "ExecutionDeadlineSeconds",
    "IMAGE_ACCESS": "ImageAccess",
    "ALLOW_PRIVATE_WEBHOOKS": "AllowPrivateWebhooks",
    "CONFIRMED_EMAILS": "ConfirmedEmails",
    "LOG_LEVEL": "LogLevel",
    "CORS_ALLOW_ORIGINS": "CorsAllowOrigins",
    "SNAP_START": "SnapStart",
}
# Everything that the stack writes to LOCAL_DIR. `clean` deletes exactly this.
CONTENTS = (
    *("build", "demo", "keys", "logs", "postgres", "s3"),
    *("ports.json", "stack.json", "supervisor.lock"),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings; `directory` is LOCAL_DIR. None means that the variable is not set."""

    directory: Path
    port: int | None
    concurrency: int | None
    database_url: str | None
    real_model: bool
    # The base URL that the functions call instead of the stand-in; None means the stand-in, or
    # Google with `real_model`.
    model_url: str | None
    sweep_seconds: float | None
    # How many invokes of all functions run at once; None queues invokes instead of throttling them.
    concurrent_executions: int | None
    # The first pause before an asynchronous invoke is repeated; None is Lambda's.
    event_retry_seconds: float | None
    parameters: Mapping[str, str]
    # Where the state machine invokes functions; None means the stack's own pools.
    functions_url: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings; StackError for an invalid number or URL."""
        _whole_number(environ, "MAX_IMAGE_MEGABYTES", 32)
        _whole_number(environ, "MODEL_TIMEOUT_SECONDS", 300)
        _whole_number(environ, "PACE_MINUTE_SECONDS", 60)
        _whole_number(environ, "ECONOMY_POLL_SECONDS", 300)
        return cls(
            directory=ROOT / (environ.get("LOCAL_DIR") or ".local"),
            port=_whole_number(environ, "PORT", 65535),
            concurrency=_whole_number(environ, "CONCURRENCY", 1000),
            database_url=environ.get("DATABASE_URL") or None,
            real_model=bool(environ.get("GEMINI_API_KEY")),
            model_url=_base_url(environ, "MODEL_URL"),
            sweep_seconds=_whole_number(environ, "SWEEP_SECONDS", 86400),
            concurrent_executions=_whole_number(environ, "CONCURRENT_EXECUTIONS", 1000),
            event_retry_seconds=_whole_number(environ, "EVENT_RETRY_SECONDS", 3600),
            parameters={
                parameter: environ[name]
                for name, parameter in PARAMETERS.items()
                if environ.get(name)
            },
            functions_url=environ.get("FUNCTIONS_URL") or None,
        )

    @property
    def pool_capacity(self) -> int:
        """How many execution environments a function has at most."""
        return max(SMALLEST_POOL, self.concurrency or 0, self.concurrent_executions or 0)

    @property
    def practice(self) -> bool:
        """True if the stand-in model paints, so that nothing is charged."""
        return not (self.model_url or self.real_model)

    @property
    def public_images(self) -> bool:
        """True if result images need no signature in their URL."""
        return self.parameters.get("ImageAccess") == "public"

    @property
    def snap_start(self) -> bool:
        """True if functions get credentials from an endpoint, as with SnapStart in Lambda. The
        local stack makes no snapshots."""
        return self.parameters.get("SnapStart") == "on"

    @property
    def logs(self) -> Path:
        """The directory with one log file for each kind of process."""
        return self.directory / "logs"

    @property
    def sam_build(self) -> Path:
        """The copy of the build that `make sam-local` serves."""
        return self.directory / "build"

    @property
    def stack_file(self) -> Path:
        """stack.json: addresses, tokens and the pid of a running stack."""
        return self.directory / "stack.json"

    @property
    def ports_file(self) -> Path:
        """The ports of the last start. The next start takes those that are free."""
        return self.directory / "ports.json"

    @property
    def lock_file(self) -> Path:
        """A file with the supervisor's pid, locked while the supervisor lives."""
        return self.directory / "supervisor.lock"

    def postgres(self, port: int | None = None) -> PostgresServer:
        """Return the PostgreSQL server of this LOCAL_DIR."""
        return PostgresServer(self.directory / "postgres", port=port)


def _whole_number(environ: Mapping[str, str], name: str, most: int) -> int | None:
    text = environ.get(name)
    if not text:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise StackError(f"{name} must be a whole number from 1 to {most}, not {text!r}.")
    return int(text)


def _base_url(environ: Mapping[str, str], name: str) -> str | None:
    text = environ.get(name)
    if not text:
        return None
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", text):
        raise StackError(f"{name} must be an http or https URL without a query, not {text!r}.")
    return text.rstrip("/")
