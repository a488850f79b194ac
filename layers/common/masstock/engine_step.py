"""Error handling that the steps of the state machine share."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from masstock.errors import AppError, NotFinished
from masstock.telemetry import logger


def step[Result](
    handle: Callable[[dict[str, Any], LambdaContext], Result],
) -> Callable[[dict[str, Any], LambdaContext], Result]:
    """Turns an unexpected exception into NotFinished, which the machine retries by name. The
    machine does not retry `States.ALL`, and one mistake of ours must not end a whole execution."""

    @wraps(handle)
    def handle_and_name(event: dict[str, Any], context: LambdaContext) -> Result:
        try:
            return handle(event, context)
        except AppError:
            raise
        except Exception as error:
            logger.exception("a step failed unexpectedly")
            raise NotFinished from error

    return handle_and_name
