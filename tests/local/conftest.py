"""Small functions in real execution environments, and the AWS process that invokes them."""

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.aws.clients import client
from local.aws.event_queue import EventQueue
from local.aws.lambda_api import InnerEndpoints
from local.aws.pool import FunctionPool, Pools
from local.aws.resources import ACCOUNT, REGION, LambdaFunction
from local.processes import children
from local.processes.servers import ThreadedServer
from local.processes.services import Service
from local.settings import ROOT

HANDLERS = '''
import os, time

class ProviderThrottled(Exception):
    """Reported by this name."""

def act(event, context):
    if "append" in event:
        with open(event["append"], "a") as file:
            file.write(f"{os.getpid()}\\n")
    time.sleep(event.get("sleep", 0))
    if event.get("raise"):
        raise ProviderThrottled("slow down")
    if event.get("exit"):
        os._exit(3)
    if "return" in event:
        return event["return"]
    if "size" in event:
        return "x" * event["size"]
    return {"pid": os.getpid(), "length": len(event.get("padding", ""))}

def note(event, context):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(context.function_name + " " + repr(event) + "\\n")
    return act(event, context)
'''


@dataclass(frozen=True)
class Task:
    """A directory with the code of test functions."""

    directory: Path

    def function(self, name: str, *, handler: str = "handlers.act", timeout: int = 5) -> Any:
        """Return a function that runs this code."""
        return LambdaFunction(name, name.lower(), handler, self.directory, (), timeout, 128, {})


@pytest.fixture(scope="session")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """The directory with HANDLERS."""
    directory = tmp_path_factory.mktemp("task")
    (directory / "handlers.py").write_text(HANDLERS)
    return Task(directory)


@pytest.fixture
def variables() -> dict[str, str]:
    """The smallest environment that a function needs."""
    return {"PATH": os.environ["PATH"], "AWS_REGION": REGION}


@pytest.fixture
def pool(task: Task, variables: dict[str, str], tmp_path: Path) -> Iterator[FunctionPool]:
    """A pool of four environments. Its function has a timeout of two seconds."""
    pool = FunctionPool(task.function("Act", timeout=2), variables, tmp_path / "act.log", 4)
    yield pool
    pool.close()


@dataclass
class Aws:
    """The AWS process, its configuration and its clients. `notes` is the file of function Note."""

    service: Service
    configuration: dict[str, Any]
    notes: Path

    def client(self, name: str) -> Any:
        """Return a boto3 client of the process."""
        return client(name, self.service.url)

    def machine_arn(self, name: str) -> str:
        """Return the ARN of a state machine."""
        return f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{name}"


def map_machine(concurrency: int) -> dict[str, Any]:
    """Return a machine like the project's: a Distributed Map over `$.items`."""
    invoke = "arn:aws:states:::lambda:invoke"
    act = {
        "Type": "Task",
        "Resource": invoke,
        "Parameters": {"FunctionName": "Act", "Payload.$": "$"},
        "ResultPath": None,
        "Catch": [{"ErrorEquals": ["ProviderThrottled"], "Next": "Caught"}],
        "Next": "Done",
    }
    return {
        "StartAt": "Each",
        "States": {
            "Each": {
                "Type": "Map",
                "ItemsPath": "$.items",
                "MaxConcurrency": concurrency,
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                    "StartAt": "Act",
                    "States": {
                        "Act": act,
                        "Caught": {"Type": "Pass", "Result": "caught", "End": True},
                        "Done": {"Type": "Pass", "Result": 0, "End": True},
                    },
                },
                "End": True,
            }
        },
    }


def task_machine() -> dict[str, Any]:
    """Return a machine of one task without Catch."""
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": "Act", "Payload.$": "$"},
        "End": True,
    }
    return {"StartAt": "Act", "States": {"Act": task}}


@pytest.fixture(scope="session")
def aws(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """S3, Step Functions and Secrets Manager, with functions Act and Note behind them."""
    directory = tmp_path_factory.mktemp("aws")
    notes = directory / "notes"
    functions = [
        task.function("Act"),
        task.function("Note", handler="handlers.note"),
    ]
    base = {"PATH": os.environ["PATH"], "AWS_REGION": REGION, "NOTES": str(notes)}
    pools = Pools(functions, dict.fromkeys(["Act", "Note"], base), directory, 8)
    port = children.free_port()
    events = EventQueue(directory / "dead-letters.jsonl", retry_seconds=1)
    inner = ThreadedServer(InnerEndpoints(pools, events, {"keys": []}), children.free_port())
    machines = {
        "one-by-one": map_machine(1),
        "parallel": map_machine(8),
        "task": task_machine(),
    }
    configuration = {
        "directory": str(directory / "s3"),
        "calls": str(directory / "calls.jsonl"),
        "lambda_url": inner.url,
        "state_machines": [
            {"name": name, "definition": json.dumps(machine)} for name, machine in machines.items()
        ],
        "secrets": {"some/secret": "its value"},
        "buckets": {"private": False, "public": True},
        "rules": [
            ["Note", {"source": ["aws.states"], "detail": {"status": ["FAILED", "ABORTED"]}}]
        ],
    }
    service = Service(
        "local.aws",
        [str(port)],
        port=port,
        root=ROOT,
        log=directory / "aws.log",
        stdin=json.dumps(configuration),
    )
    service.start()
    service.wait_until_ready()
    yield Aws(service, configuration, notes)
    service.stop()
    inner.stop()
    pools.close()


@pytest.fixture
def s3(aws: Aws) -> Any:
    """A client of the process's S3."""
    return aws.client("s3")


@pytest.fixture
def prefix() -> str:
    """A folder of keys that no other test uses."""
    return f"{uuid.uuid4()}/"
