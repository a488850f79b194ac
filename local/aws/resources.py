"""What the stack runs, as `local.aws.template` reads it from template.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What SAM CLI resolves AWS::Region and AWS::AccountId to; moto's account is the same.
REGION = "us-east-1"
ACCOUNT = "123456789012"

DEFAULT_ROUTE = "$default"


@dataclass(frozen=True, slots=True)
class LambdaFunction:
    """A function as its unbuilt source: `code` and each of `layers` go on PYTHONPATH."""

    logical_id: str
    name: str
    handler: str
    code: Path
    layers: tuple[Path, ...]
    timeout: int
    memory: int
    variables: Mapping[str, str]

    @property
    def arn(self) -> str:
        """The unqualified function ARN."""
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.name}"

    @property
    def log_name(self) -> str:
        """`ApiFunction` logs to `api.log`."""
        return self.logical_id.removesuffix("Function").lower()


@dataclass(frozen=True, slots=True)
class StateMachine:
    """A state machine whose definition has every substitution in place."""

    name: str
    definition: str

    @property
    def arn(self) -> str:
        """The unqualified state machine ARN."""
        return f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{self.name}"


@dataclass(frozen=True, slots=True)
class EventRule:
    """Events that match `pattern` invoke `function` (a logical id)."""

    function: str
    pattern: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Schedule:
    """`function` (a logical id) is invoked with `event` every `seconds`."""

    function: str
    seconds: float
    event: str


@dataclass(frozen=True, slots=True)
class Template:
    """Everything of the template that runs."""

    functions: tuple[LambdaFunction, ...]
    default_route: str
    state_machines: tuple[StateMachine, ...]
    event_rules: tuple[EventRule, ...]
    schedules: tuple[Schedule, ...]
