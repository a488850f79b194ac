"""Handler that paints one prompt of an execution."""

from masstock.coldstart import imports_done  # first: imports run without the garbage collector

# isort: split

from typing import Any
from uuid import UUID

from aws_lambda_powertools.utilities.typing import LambdaContext

from masstock.catalogue.image_models import DEFAULT_PROVIDER
from masstock.database.queries import executions
from masstock.database.queries.claims import ClaimedElsewhere, MustWait
from masstock.database.queries.economy_lines import claim_line
from masstock.database.worker import worker_of
from masstock.engine_step import step
from masstock.errors import ProviderThrottled
from masstock.schemas.engine import Turn
from masstock.settings import GenerateSettings, read_settings
from masstock.telemetry import logger
from masstock_generate import pacing
from masstock_generate.lease import Lease, lease_seconds
from masstock_generate.painting import SETTLED, settle
from masstock_generate.providers import provider


@logger.inject_lambda_context(clear_state=True)
@step
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> Turn:
    """{execution_id, batch_index, turn?, tier?} → {wait_seconds, turn}: 0 seconds if the prompt is
    settled (painted, failed for good, or stopped), else the time until its next turn. With the tier
    economy it collects what a job has painted. Raises the retryable Outcome of a failed attempt,
    DatabaseUnavailable or StorageUnavailable."""
    settings = read_settings(GenerateSettings)
    execution_id, batch_index = UUID(event["execution_id"]), int(event["batch_index"])
    logger.append_keys(execution_id=str(execution_id), batch_index=batch_index)
    worker = worker_of(settings.database_secret_id)
    lease = Lease(lease_seconds(settings.model_timeout_seconds))
    with lease.watched():
        claim = None
        if event.get("tier") == "economy":
            claim = claim_line(worker, execution_id, batch_index, lease.seconds)
        else:
            claim = pacing.claim(worker, execution_id, batch_index, lease, settings)
        if isinstance(claim, MustWait) and claim.gives_up:
            stopped = ProviderThrottled("The image model accepted no call for 30 minutes.")
            executions.stop_execution(worker, execution_id, stopped.code, stopped.detail)
            claim = None
        match claim:
            case None:
                seconds = SETTLED
            # Another invocation may still be painting, or the lane has no room.
            case ClaimedElsewhere() | MustWait():
                seconds = claim.seconds
            case _:
                seconds = settle(worker, claim, settings, lease)
    turn = int(event.get("turn") or 0)
    wait = pacing.whole_seconds(seconds, turn) if seconds else 0
    return {"wait_seconds": wait, "turn": turn + 1}


# Imported during the cold start; other providers are imported at their first use.
provider(DEFAULT_PROVIDER)
imports_done()
