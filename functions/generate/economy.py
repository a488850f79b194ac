"""Handler of the steps of the economy tier."""

from masstock.coldstart import imports_done  # first: imports run without the garbage collector

# isort: split

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from masstock.catalogue.image_models import DEFAULT_PROVIDER
from masstock.database.queries import economy_jobs
from masstock.database.worker import worker_of
from masstock.engine_step import step
from masstock.schemas.engine import Batch, ExecutionRun
from masstock.settings import EconomySettings, read_settings
from masstock.telemetry import logger
from masstock_generate.economy.copy import copy
from masstock_generate.economy.poll import poll
from masstock_generate.economy.submit import submit
from masstock_generate.economy.work import EconomyRun, what_next
from masstock_generate.providers import batch_provider

STEPS = {"submit": submit, "poll": poll, "copy": copy}


@logger.inject_lambda_context(clear_state=True)
@step
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> Batch:
    """{step, execution_id, run, max_concurrency} → what the machine does next. A step does what is
    due, so a repeated invocation does no harm. Raises DatabaseUnavailable."""
    settings = read_settings(EconomySettings)
    run = ExecutionRun.from_event(event)
    logger.append_keys(execution_id=str(run.execution_id), run=run.run, step=event["step"])
    worker = worker_of(settings.database_secret_id)
    if found := economy_jobs.fetch_situation(worker, run):
        # After a wait or a collection the step is a poll.
        work = STEPS.get(event["step"], poll)
        work(EconomyRun(worker, run, settings, found[0]))
    return what_next(worker, run, settings, int(event["max_concurrency"]))


# Imported during the cold start.
batch_provider(DEFAULT_PROVIDER)
imports_done()
