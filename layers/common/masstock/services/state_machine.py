"""Starts, describes and stops the machine of a run."""

import json
from functools import cache
from typing import TYPE_CHECKING

from masstock.schemas.engine import ExecutionRun

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


class StateMachine:
    """One Step Functions state machine. Each machine has the name of its run, so a run has at most
    one machine. Every method raises botocore's ClientError or BotoCoreError."""

    def __init__(self, arn: str) -> None:
        self._arn = arn

    def start(self, run: ExecutionRun) -> None:
        """Starts the run's machine. Does nothing if the run has one already, even an ended one: an
        overlapping sweep may have started it."""
        client = _step_functions()
        try:
            client.start_execution(
                stateMachineArn=self._arn, name=run.machine_name, input=json.dumps(run.as_input())
            )
        except client.exceptions.ExecutionAlreadyExists:
            return

    def status(self, run: ExecutionRun) -> str | None:
        """Step Functions' status of the run's machine. None if the run has no machine."""
        client = _step_functions()
        try:
            return client.describe_execution(executionArn=self._execution_arn(run))["status"]
        except client.exceptions.ExecutionDoesNotExist:
            return None

    def stop(self, run: ExecutionRun, error: str) -> None:
        """Stops the run's machine. `error` is the name in the machine's history."""
        _step_functions().stop_execution(executionArn=self._execution_arn(run), error=error)

    def _execution_arn(self, run: ExecutionRun) -> str:
        return f"{self._arn.replace(':stateMachine:', ':execution:')}:{run.machine_name}"


@cache
def _step_functions() -> "SFNClient":
    # Imported here because boto3 doubles a cold start; only submissions and the sweep need it.
    import boto3
    from botocore.config import Config

    # Short timeouts, because a caller waits for the start. The sweep repeats a failed start.
    config = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 2})
    return boto3.client("stepfunctions", config=config)  # pyright: ignore[reportUnknownMemberType]
