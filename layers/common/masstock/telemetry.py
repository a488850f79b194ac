"""Structured logs and metrics. No tracer: its SDK alone adds 349 ms to a cold start, and Lambda's
active tracing records the invocations anyway."""

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger

if TYPE_CHECKING:
    from aws_lambda_powertools import Metrics

# Never log the event: it contains tokens and prompts.
logger = Logger(use_rfc3339=True, serialize_stacktrace=False)


def new_metrics() -> "Metrics":
    """A collector of metrics for one invocation. Call its `flush_metrics` at the end."""
    from aws_lambda_powertools import Metrics

    metrics = Metrics()
    # Lambda treats a line without these two members as INFO, and drops it at a higher LogLevel.
    # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
    metrics.add_metadata("level", os.environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO"))
    now = datetime.now(UTC).replace(tzinfo=None)
    metrics.add_metadata("timestamp", now.isoformat(timespec="milliseconds") + "Z")
    return metrics


def emit_counts(**counts: int) -> None:
    """Emits metrics with the unit Count, by name."""
    metrics = new_metrics()
    for name, value in counts.items():
        metrics.add_metric(name, "Count", value)
    metrics.flush_metrics()
