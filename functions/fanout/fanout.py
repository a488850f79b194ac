"""Handler of the first step of an execution."""

from masstock.coldstart import imports_done  # first: imports run without the garbage collector

# isort: split

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from masstock.database.worker import worker_of
from masstock.engine_step import step
from masstock.schemas.engine import Batch, ExecutionRun
from masstock.settings import FanoutSettings, read_settings
from masstock.telemetry import logger
from masstock_fanout.fan_out import fan_out


@logger.inject_lambda_context(clear_state=True)
@step
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> Batch:
    """{execution_id, run} → the indices of the prompts still to be painted, and how many may be
    painted at once. A repeated invocation changes nothing. Raises DatabaseUnavailable."""
    settings = read_settings(FanoutSettings)
    run = ExecutionRun.from_event(event)
    logger.append_keys(execution_id=str(run.execution_id), run=run.run)
    return fan_out(worker_of(settings.database_secret_id), run, settings)


imports_done()
