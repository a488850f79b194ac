"""Handler that paints one prompt of an execution."""

from masstock.coldstart import imports_done  # first: imports run without the garbage collector

# isort: split

from typing import Any
from uuid import UUID

from aws_lambda_powertools.utilities.typing import LambdaContext

from masstock.catalogue.image_models import DEFAULT_PROVIDER
from masstock.database.queries import claims
from masstock.database.worker import worker_of
from masstock.engine_step import step
from masstock.schemas.engine import WaitSeconds
from masstock.settings import GenerateSettings, read_settings
from masstock.telemetry import logger
from masstock_generate.lease import Lease, lease_seconds
from masstock_generate.painting import SETTLED, settle
from masstock_generate.providers import provider


@logger.inject_lambda_context(clear_state=True)
@step
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> WaitSeconds:
    """{execution_id, batch_index} → {wait_seconds}: 0 if the prompt is settled (painted, failed for
    good, or stopped), else the seconds until the next attempt. Raises the retryable Outcome of a
    failed attempt, DatabaseUnavailable or StorageUnavailable."""
    settings = read_settings(GenerateSettings)
    execution_id, batch_index = UUID(event["execution_id"]), int(event["batch_index"])
    logger.append_keys(execution_id=str(execution_id), batch_index=batch_index)
    worker = worker_of(settings.database_secret_id)
    lease = Lease(lease_seconds(settings.model_timeout_seconds))
    with lease.watched():
        claim = claims.claim_prompt(worker, execution_id, batch_index, lease.seconds)
        if isinstance(claim, claims.ClaimedElsewhere):
            # An earlier invocation may still be painting.
            return {"wait_seconds": claim.seconds}
        if claim is None:
            return SETTLED
        return settle(worker, claim, settings, lease)


# Imported during the cold start; other providers are imported at their first use.
provider(DEFAULT_PROVIDER)
imports_done()
