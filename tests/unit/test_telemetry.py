"""LogLevel decides what Lambda keeps of the logs, and Lambda keeps every metric."""

import json
import os
import subprocess
import sys
from datetime import datetime
from typing import Any

import pytest

from tests.support.template import FUNCTIONS, Stack

ORDER = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]
PROGRAM = """
from masstock.telemetry import emit_counts, logger, new_metrics
for level in ("debug", "info", "warning", "error"):
    getattr(logger, level)("a line")
emit_counts(ImagesGenerated=1)
metrics = new_metrics()
metrics.add_metric("CostMicroUsd", "None", 3)
metrics.flush_metrics()
"""


def kept_by_lambda(lines: list[dict[str, Any]], lowest: str) -> list[dict[str, Any]]:
    """The lines that Lambda sends to CloudWatch: a line without a valid level and a valid
    timestamp counts as INFO."""

    def level(line: dict[str, Any]) -> str:
        name = str(line.get("level", "")).upper().replace("WARNING", "WARN")
        try:
            stamped = datetime.fromisoformat(line["timestamp"]).tzinfo is not None
        except (KeyError, ValueError):
            stamped = False
        return name if stamped and name in ORDER else "INFO"

    return [line for line in lines if ORDER.index(level(line)) >= ORDER.index(lowest)]


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ("DEBUG", ["DEBUG", "INFO", "WARNING", "ERROR"]),
        ("INFO", ["INFO", "WARNING", "ERROR"]),
        ("WARNING", ["WARNING", "ERROR"]),
        ("ERROR", ["ERROR"]),
    ],
)
def test_log_level_filters_logs_and_no_metrics(parameter: str, expected: list[str]) -> None:
    stack = Stack(LogLevel=parameter)
    for name in FUNCTIONS:
        function = stack.properties(name)
        logging = function["LoggingConfig"]
        # Lambda's default for LogFormat JSON.
        lowest = logging.get("ApplicationLogLevel", "INFO")
        assert logging["LogFormat"] == "JSON"
        assert function["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"] == parameter
        assert lowest == parameter.replace("WARNING", "WARN")
    # As in Lambda: the function's own variables, and those that Lambda derives from LoggingConfig.
    environment = {
        "PATH": os.environ["PATH"],
        **function["Environment"]["Variables"],
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_LAMBDA_LOG_LEVEL": lowest,
        "AWS_LAMBDA_FUNCTION_NAME": "any",
    }
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    kept = kept_by_lambda(lines, lowest)
    assert [line["level"] for line in kept if "message" in line] == expected
    metrics = [line for line in kept if "_aws" in line]
    assert [("ImagesGenerated" in line, "CostMicroUsd" in line) for line in metrics] == [
        (True, False),
        (False, True),
    ]
