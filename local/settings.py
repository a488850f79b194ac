"""How this stack was asked to be, from the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.processes.children import StackError
from local.processes.postgres import PostgresServer

ROOT = Path(__file__).resolve().parent.parent
RESULTS_BUCKET = "workflow-results"
UPLOADS_BUCKET = "masstock-uploads"
SMALLEST_POOL = 32

# Environment variables that become parameters of template.yaml as they are.
PARAMETERS = {
    "MODEL_TIMEOUT_SECONDS": "ModelTimeoutSeconds",
    "EXECUTION_DEADLINE_SECONDS": "ExecutionDeadlineSeconds",
    "IMAGE_ACCESS": "ImageAccess",
    "ALLOW_PRIVATE_WEBHOOKS": "AllowPrivateWebhooks",
    "LOG_LEVEL": "LogLevel",
    "CORS_ALLOW_ORIGINS": "CorsAllowOrigins",
}
# Everything the stack writes to LOCAL_DIR, and so everything that `clean` deletes.
CONTENTS = ("demo", "keys", "logs", "postgres", "s3", "ports.json", "stack.json", "supervisor.lock")


@dataclass(frozen=True, slots=True)
class Settings:
    """`directory` is LOCAL_DIR; None means that nothing was asked for."""

    directory: Path
    port: int | None
    concurrency: int | None
    database_url: str | None
    real_model: bool
    sweep_seconds: float | None
    parameters: Mapping[str, str]
    # Where the state machine invokes functions; None is the stack's own pool.
    functions_url: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Raises StackError with one line about what cannot be."""
        return cls(
            directory=ROOT / (environ.get("LOCAL_DIR") or ".local"),
            port=_whole_number(environ, "PORT", 65535),
            concurrency=_whole_number(environ, "CONCURRENCY", 1000),
            database_url=environ.get("DATABASE_URL") or None,
            real_model=bool(environ.get("GEMINI_API_KEY")),
            sweep_seconds=_whole_number(environ, "SWEEP_SECONDS", 86400),
            parameters={
                parameter: environ[name]
                for name, parameter in PARAMETERS.items()
                if environ.get(name)
            },
            functions_url=environ.get("FUNCTIONS_URL") or None,
        )

    @property
    def pool_capacity(self) -> int:
        """Execution environments per function."""
        return max(SMALLEST_POOL, self.concurrency or 0)

    @property
    def public_images(self) -> bool:
        """Whether results are readable by anyone who has the URL."""
        return self.parameters.get("ImageAccess") == "public"

    @property
    def logs(self) -> Path:
        """One file per process kind."""
        return self.directory / "logs"

    @property
    def stack_file(self) -> Path:
        """What others need to know of a running stack."""
        return self.directory / "stack.json"

    @property
    def ports_file(self) -> Path:
        """The ports of last time, which the next start takes again where they are free."""
        return self.directory / "ports.json"

    @property
    def lock_file(self) -> Path:
        """Locked as long as a supervisor lives; holds its pid."""
        return self.directory / "supervisor.lock"

    def postgres(self, port: int | None = None) -> PostgresServer:
        """The embedded server of this directory."""
        return PostgresServer(self.directory / "postgres", port=port)


def _whole_number(environ: Mapping[str, str], name: str, most: int) -> int | None:
    text = environ.get(name)
    if not text:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise StackError(f"{name} must be a whole number from 1 to {most}, not {text!r}.")
    return int(text)
