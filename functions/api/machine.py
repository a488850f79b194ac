"""Starting the state machine."""

import json
from functools import cache
from typing import TYPE_CHECKING

from masstock.models.workflow import ExecutionRun
from masstock.telemetry import logger

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


def start(run: ExecutionRun, state_machine_arn: str) -> None:
    """Starts a committed run. A failure is logged, not raised: the submission is safe in the
    database, and the sweep starts what has no machine within two minutes."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        _step_functions().start_execution(
            stateMachineArn=state_machine_arn,
            name=run.machine_name,
            input=json.dumps(run.as_input()),
        )
    except (BotoCoreError, ClientError):
        logger.exception("the machine did not start; the sweep will start it")


@cache
def _step_functions() -> "SFNClient":
    # Here, not at the top: only submissions need boto3, and it doubles a cold start.
    import boto3
    from botocore.config import Config

    # The caller waits for this, and the sweep stands behind it: give up early.
    config = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 2})
    return boto3.client("stepfunctions", config=config)  # pyright: ignore[reportUnknownMemberType]
