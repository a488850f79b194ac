"""The state machine: starting, looking at and stopping the machine of a run."""

import json
from functools import cache
from typing import TYPE_CHECKING

from masstock.schemas.engine import ExecutionRun

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


class StateMachine:
    """One Step Functions state machine. Its executions are named after the run that they work on,
    so that starting the same run twice starts it once. Every method raises botocore's ClientError
    or BotoCoreError."""

    def __init__(self, arn: str) -> None:
        self._arn = arn

    def start(self, run: ExecutionRun) -> None:
        """Starts the machine of a run."""
        _step_functions().start_execution(
            stateMachineArn=self._arn, name=run.machine_name, input=json.dumps(run.as_input())
        )

    def status(self, run: ExecutionRun) -> str | None:
        """Status of the run's machine as Step Functions names it; None if there is no machine."""
        client = _step_functions()
        try:
            return client.describe_execution(executionArn=self._execution_arn(run))["status"]
        except client.exceptions.ExecutionDoesNotExist:
            return None

    def stop(self, run: ExecutionRun, error: str) -> None:
        """Stops the run's machine; `error` is the name that its history shows."""
        _step_functions().stop_execution(executionArn=self._execution_arn(run), error=error)

    def _execution_arn(self, run: ExecutionRun) -> str:
        return f"{self._arn.replace(':stateMachine:', ':execution:')}:{run.machine_name}"


@cache
def _step_functions() -> "SFNClient":
    # Imported here because boto3 doubles a cold start, and only submissions and the sweep need it.
    import boto3
    from botocore.config import Config

    # A caller waits for a start, and the sweep repeats what failed: give up early.
    config = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 2})
    return boto3.client("stepfunctions", config=config)  # pyright: ignore[reportUnknownMemberType]
