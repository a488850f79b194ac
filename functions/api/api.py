"""Handler of the HTTP API."""

from masstock.coldstart import imports_done  # first: imports run without the garbage collector

# isort: split

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from masstock.telemetry import logger
from masstock_api.app import handle


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answers one event of API Gateway, in payload format 2.0."""
    return handle(event, context)


imports_done()
