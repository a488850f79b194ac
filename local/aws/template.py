"""Reads template.yaml with SAM CLI's providers.

These providers are internal interfaces of SAM CLI. `tests/local/test_template.py` tests the
interfaces that this module uses.
"""

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from samcli.lib.providers.api_provider import ApiProvider
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider

from local.aws.resources import (
    ACCOUNT,
    DEFAULT_ROUTE,
    REGION,
    EventRule,
    LambdaFunction,
    Schedule,
    StateMachine,
    Template,
)


def read_template(path: Path, parameters: Mapping[str, str]) -> Template:
    """Read the template with these parameter values. Names and ARNs are those of a deployment."""
    with warnings.catch_warnings():
        # SAM CLI uses deprecated parts of SAM's translator.
        warnings.simplefilter("ignore", DeprecationWarning)
        return _read(path, parameters)


def _read(path: Path, parameters: Mapping[str, str]) -> Template:
    stacks, _ = SamLocalStackProvider.get_stacks(
        str(path),
        parameter_overrides=dict(parameters),
        global_parameter_overrides={"AWS::Region": REGION, "AWS::AccountId": ACCOUNT},
    )
    resources = stacks[0].resources
    functions = tuple(_functions(path.parent, stacks, resources))
    events = [
        (logical_id, event)
        for logical_id, resource in resources.items()
        if resource["Type"] == "AWS::Serverless::Function"
        for event in resource["Properties"].get("Events", {}).values()
    ]
    return Template(
        functions=functions,
        default_route=_default_route(stacks),
        state_machines=tuple(
            _state_machine(path.parent, resource["Properties"], functions)
            for resource in resources.values()
            if resource["Type"] == "AWS::Serverless::StateMachine"
        ),
        event_rules=tuple(
            EventRule(logical_id, event["Properties"]["Pattern"])
            for logical_id, event in events
            if event["Type"] == "EventBridgeRule"
        ),
        schedules=tuple(
            Schedule(
                logical_id,
                seconds_of(event["Properties"]["Schedule"]),
                event["Properties"].get("Input", "{}"),
            )
            for logical_id, event in events
            if event["Type"] == "Schedule"
        ),
    )


def _functions(root: Path, stacks: list, resources: Mapping[str, Any]) -> Iterator[LambdaFunction]:
    provider = SamFunctionProvider(
        stacks, use_raw_codeuri=True, ignore_code_extraction_warnings=True
    )
    for function in provider.get_all():
        properties = resources[function.name]["Properties"]
        asynchronous = properties.get("EventInvokeConfig", {})
        yield LambdaFunction(
            logical_id=function.name,
            name=function.functionname,
            handler=function.handler or "",
            code=root / (function.codeuri or ""),
            layers=tuple(root / (layer.codeuri or "") for layer in function.layers),
            timeout=int(function.timeout or 3),
            memory=int(function.memory or 128),
            variables={
                name: str(value)
                for name, value in (function.environment or {}).get("Variables", {}).items()
                # SAM CLI leaves an `If` with AWS::NoValue unresolved. The stack sets such a
                # variable itself.
                if not isinstance(value, Mapping)
            }
            | _logging_variables(properties["LoggingConfig"]),
            event_retries=int(asynchronous.get("MaximumRetryAttempts", 2)),
            event_age_seconds=int(asynchronous.get("MaximumEventAgeInSeconds", 21600)),
        )


def _logging_variables(configuration: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables that Lambda derives from a function's LoggingConfig."""
    return {
        "AWS_LAMBDA_LOG_FORMAT": configuration["LogFormat"],
        "AWS_LAMBDA_LOG_LEVEL": configuration.get("ApplicationLogLevel", "INFO"),
    }


def _default_route(stacks: list) -> str:
    routes: list[Any] = list(ApiProvider(stacks).api.routes)
    if [route.path for route in routes] != [DEFAULT_ROUTE]:
        raise ValueError("The local stack needs exactly one route, $default, in the template.")
    return routes[0].function_name


def _state_machine(
    root: Path, properties: Mapping[str, Any], functions: tuple[LambdaFunction, ...]
) -> StateMachine:
    definition = (root / properties["DefinitionUri"]).read_text()
    arns = {function.logical_id: function.arn for function in functions}
    for name, value in properties.get("DefinitionSubstitutions", {}).items():
        # SAM CLI does not resolve a function's alias. Here the alias is the function itself.
        text = arns.get(str(value).removesuffix(".Alias"), str(value))
        definition = definition.replace(f"${{{name}}}", text)
    json.loads(definition)
    return StateMachine(properties["Name"], definition)


def seconds_of(expression: str) -> float:
    """Return the seconds of a `rate(1 minute)`; ValueError for another form, such as cron."""
    match = re.fullmatch(r"rate\((\d+) (second|minute|hour|day)s?\)", expression)
    if match is None:
        raise ValueError(f"Not a rate: {expression}")
    unit = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}[match[2]]
    return int(match[1]) * unit
