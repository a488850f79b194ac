"""The parts of template.yaml that the stack runs. `local.aws.template` reads them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The values of AWS::Region and AWS::AccountId. moto uses the same account.
REGION = "us-east-1"
ACCOUNT = "123456789012"

DEFAULT_ROUTE = "$default"


@dataclass(frozen=True, slots=True)
class LambdaFunction:
    """A function and its unbuilt source. `code` and each of `layers` are put on PYTHONPATH."""

    logical_id: str
    name: str
    handler: str
    code: Path
    layers: tuple[Path, ...]
    timeout: int
    memory: int
    variables: Mapping[str, str]
    # EventInvokeConfig: how often and how long Lambda repeats an asynchronous invoke.
    event_retries: int = 2
    event_age_seconds: int = 21600

    @property
    def arn(self) -> str:
        """The unqualified function ARN."""
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.name}"

    @property
    def log_name(self) -> str:
        """The name of its log file: `ApiFunction` logs to `api.log`."""
        return self.logical_id.removesuffix("Function").lower()


@dataclass(frozen=True, slots=True)
class StateMachine:
    """A state machine. Its definition has no open substitution."""

    name: str
    definition: str

    @property
    def arn(self) -> str:
        """The unqualified state machine ARN."""
        return f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{self.name}"


@dataclass(frozen=True, slots=True)
class EventRule:
    """A rule: events that match `pattern` invoke `function` (a logical id)."""

    function: str
    pattern: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule: `function` (a logical id) is invoked with `event` every `seconds`."""

    function: str
    seconds: float
    event: str


@dataclass(frozen=True, slots=True)
class Template:
    """All parts of the template that run. `default_route` is the logical id of its function."""

    functions: tuple[LambdaFunction, ...]
    default_route: str
    state_machines: tuple[StateMachine, ...]
    event_rules: tuple[EventRule, ...]
    schedules: tuple[Schedule, ...]
