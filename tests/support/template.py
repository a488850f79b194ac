"""template.yaml after SAM's transformation, with its references resolved."""

import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

from local.aws.resources import ACCOUNT, REGION

ROOT = Path(__file__).parents[2]
FUNCTIONS = (
    *("ApiFunction", "FanoutFunction", "GenerateFunction", "EconomyFunction", "FinalizeFunction"),
    "ArchiveFunction",
)
SECRET_ARN = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:"
PARAMETERS = {
    "Stage": "test",
    "JwtIssuer": "https://issuer.example",
    "JwtJwksUrl": "https://issuer.example/jwks.json",
    "ApiDatabaseSecretArn": f"{SECRET_ARN}api-AbCdEf",
    "WorkerDatabaseSecretArn": f"{SECRET_ARN}worker-AbCdEf",
}
PSEUDO_PARAMETERS = {
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "masstock-test",
}
NOTHING = object()


class _NoManagedPolicies:
    def load(self) -> dict[str, str]:
        """None: every role of the template has its own policies."""
        return {}


@cache
def source() -> dict[str, Any]:
    """template.yaml, with the artifact URLs that `sam package` would write."""
    template = yaml_parse((ROOT / "template.yaml").read_text())
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        for name in ("CodeUri", "ContentUri"):
            if name in properties:
                properties[name] = f"s3://artifacts/{properties[name]}.zip"
        if "DefinitionUri" in properties:
            properties["Definition"] = json.loads(
                (ROOT / properties.pop("DefinitionUri")).read_text()
            )
    return template


class Stack:
    """The transformed template with values for its parameters, without resources whose condition is
    false. `resolve` replaces references by names and ARNs."""

    def __init__(self, template: Mapping[str, Any] | None = None, **parameters: str) -> None:
        before = deepcopy(template or source())
        defaults = {name: p.get("Default", "") for name, p in before["Parameters"].items()}
        self.parameters = {name: str(v) for name, v in (defaults | PARAMETERS | parameters).items()}
        region = patch.dict(os.environ, AWS_DEFAULT_REGION=REGION)
        with region, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.transformed = transform(before, dict(self.parameters), _NoManagedPolicies())
        self.conditions = {
            name: self._condition(expression)
            for name, expression in self.transformed["Conditions"].items()
        }
        self.resources = {
            name: resource
            for name, resource in self.transformed["Resources"].items()
            if "Condition" not in resource or self.conditions[resource["Condition"]]
        }

    def properties(self, logical_id: str) -> dict[str, Any]:
        """The resolved properties of a resource."""
        return self.resolve(self.resources[logical_id].get("Properties", {}))

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Logical id → resolved properties."""
        return {
            name: self.properties(name)
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }

    def resolve(self, value: Any) -> Any:
        """The value with every intrinsic function in it applied."""
        if isinstance(value, list):
            return [v for v in map(self.resolve, value) if v is not NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            [(function, argument)] = value.items()
            if function == "Ref":
                return self._reference(argument)
            if function == "Fn::GetAtt":
                return self._attribute(*argument)
            if function == "Fn::If":
                condition, yes, no = argument
                return self.resolve(yes if self.conditions[condition] else no)
            if function == "Fn::Join":
                return argument[0].join(self.resolve(argument[1]))
            if function == "Fn::Sub":
                text, values = argument if isinstance(argument, list) else (argument, {})
                for name, inner in values.items():
                    text = text.replace(f"${{{name}}}", self.resolve(inner))
                return re.sub(r"\$\{([^}]+)\}", self._substitute, text)
        resolved = {name: self.resolve(v) for name, v in value.items()}
        return {name: v for name, v in resolved.items() if v is not NOTHING}

    def _substitute(self, found: re.Match[str]) -> str:
        name, _, attribute = found[1].partition(".")
        return str(self._attribute(name, attribute) if attribute else self._reference(name))

    def _condition(self, expression: Any) -> bool:
        [(function, argument)] = expression.items()
        if function == "Fn::Not":
            return not self._condition(argument[0])
        assert function == "Fn::Equals", function
        left, right = (str(self.resolve(side)) for side in argument)
        return left == right

    def _reference(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NOTHING
        if name in PSEUDO_PARAMETERS:
            return PSEUDO_PARAMETERS[name]
        if name in self.parameters:
            kind = self.transformed["Parameters"][name]["Type"]
            value = self.parameters[name]
            return value.split(",") if kind == "CommaDelimitedList" else value
        resource = self.transformed["Resources"][name]
        properties = resource["Properties"]
        match resource["Type"].split("::", 1)[1]:
            case "Lambda::Alias":
                function = self.resolve(properties["FunctionName"])
                return f"{self._arn('lambda', f'function:{function}')}:{properties['Name']}"
            case "Lambda::Function":
                return self.resolve(properties["FunctionName"])
            case "StepFunctions::StateMachine":
                machine = self.resolve(properties["StateMachineName"])
                return self._arn("states", f"stateMachine:{machine}")
            case "SecretsManager::Secret":
                return self.resolve(properties["Name"])
            case "S3::Bucket":
                return self.resolve(properties["BucketName"])
            case "SNS::Topic":
                return self._arn("sns", self.resolve(properties["TopicName"]))
            case "SQS::Queue":
                return self.resolve(properties["QueueName"])
            case "Logs::LogGroup":
                return self.resolve(properties["LogGroupName"])
            case _:
                return name

    def _attribute(self, name: str, attribute: str) -> str:
        reference = self._reference(name)
        match self.transformed["Resources"][name]["Type"].split("::", 1)[1], attribute:
            case "S3::Bucket", "Arn":
                return f"arn:aws:s3:::{reference}"
            case "SQS::Queue", "Arn":
                return self._arn("sqs", reference)
            case "Logs::LogGroup", "Arn":
                return self._arn("logs", f"log-group:{reference}:*")
            case "IAM::Role", "Arn":
                return f"arn:aws:iam::{ACCOUNT}:role/{reference}"
            case "Lambda::Function", "Arn":
                return self._arn("lambda", f"function:{reference}")
            case "Events::Rule", "Arn":
                return self._arn("events", f"rule/{reference}")
            case _:
                return reference

    @staticmethod
    def _arn(service: str, rest: str) -> str:
        return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}"

    # -------------------------------------------------- permissions

    def statements(self, role: str) -> list[dict[str, Any]]:
        """Every policy statement of a role, including those of its managed policies."""
        properties = self.properties(role)
        policies = properties["Policies"]
        policies += map(self.properties, properties.get("ManagedPolicyArns", []))
        return [s for policy in policies for s in policy["PolicyDocument"]["Statement"]]

    def grants(self, role: str) -> set["Grant"]:
        """The permissions of a role, each one action on one resource."""
        return {
            Grant(action, resource)
            for statement in self.statements(role)
            if statement["Effect"] == "Allow"
            for action in listed(statement["Action"])
            for resource in listed(statement["Resource"])
        }


@dataclass(frozen=True, slots=True)
class Grant:
    """The permission for one action on every resource that matches `resource`."""

    action: str
    resource: str

    def covers(self, action: str, resource: str) -> bool:
        """True if IAM would allow the action on the resource because of this grant."""
        return fnmatchcase(action, self.action) and fnmatchcase(resource, self.resource)


def listed(value: Any) -> list[Any]:
    """The value as a list: IAM and ASL allow one value instead of a list."""
    return value if isinstance(value, list) else [value]


def intrinsics(value: Any) -> Iterator[tuple[str, Any]]:
    """Every Ref, Fn::GetAtt, … inside a value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "Ref" or name.startswith("Fn::"):
                yield name, inner
            yield from intrinsics(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from intrinsics(inner)
