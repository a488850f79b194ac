"""Deploys the output of `make package`: `python -m deploy.release STAGE [option of sam deploy …]`.

Parameters come from samconfig.toml and from deploy/parameters.toml, which git ignores. The release
is a hash of the parameters and the built files, so functions get a new version exactly when one of
them changes. SAM alone overlooks a parameter's new value (decision 33 in docs/decisions.md).
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.artifacts import read_artifacts

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".aws-sam" / "build"
OWN_PARAMETERS = ROOT / "deploy" / "parameters.toml"
SAMPLE = "deploy/parameters.sample.toml"
# The stage of the section [default] in samconfig.toml.
DEVELOPMENT = "dev"
# Output that names a bucket → parameter that fixes its name, and the name up to version 0.2.
BUCKETS = {
    "ResultsBucketName": (
        "CustomResultsBucketName",
        r"masstock-[a-z0-9-]+-workflow-results-\d{12}",
    ),
    "UploadsBucketName": ("CustomUploadsBucketName", r"masstock-[a-z0-9-]+-uploads-\d{12}"),
}


class CannotDeploy(Exception):
    """A build, a stage or a parameter is missing; nothing was sent to AWS."""


def read_parameters(config: Path, stage: str, own: Path = OWN_PARAMETERS) -> list[str]:
    """The stage's parameters for sam deploy. Those of `own` win. Raises CannotDeploy for an unknown
    stage and for values that are neither text, numbers nor booleans, or contain a backslash."""
    given = _section(config, stage)["deploy"]["parameters"]["parameter_overrides"]
    values = dict(item.split("=", 1) for item in given)
    values |= {name: _quoted(name, value) for name, value in _own_parameters(own, stage).items()}
    return [f"{name}={value}" for name, value in values.items()]


def _section(config: Path, stage: str) -> dict[str, Any]:
    stages = tomllib.loads(config.read_text())
    name = "default" if stage == DEVELOPMENT else stage
    if name not in stages:
        raise CannotDeploy(f"{config.name} has no [{name}.deploy.parameters]")
    return stages[name]


def _own_parameters(own: Path, stage: str) -> dict[str, Any]:
    try:
        return tomllib.loads(own.read_text()).get(stage, {})
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as error:
        raise CannotDeploy(f"{own.name} is not TOML: {error}") from error


def _quoted(name: str, value: object) -> str:
    """The value as SAM reads it from its command line."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int):
        raise CannotDeploy(f"{name} must be a text, a whole number or a boolean")
    text = str(value)
    if "\\" in text:
        raise CannotDeploy(f"{name} contains a backslash, which SAM does not pass on")
    if re.fullmatch(r"[^\s\"'\\]+", text):
        return text
    return '"' + text.replace('"', '\\"') + '"'


def name_release(build: Path, parameters: list[str]) -> str:
    """Hash of the built template, every artifact and the parameters in sorted order."""
    digest = hashlib.sha256((build / "template.yaml").read_bytes())
    for part in [*(artifact.sha256 for artifact in read_artifacts(build)), *sorted(parameters)]:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def kept_buckets(outputs: Mapping[str, str], parameters: list[str]) -> list[str]:
    """Parameters that keep the buckets of a stack that version 0.2 or an earlier one made. Without
    them CloudFormation would replace these buckets by empty ones with the new names."""
    set_already = {item.partition("=")[0] for item in parameters}
    return [
        f"{parameter}={outputs[output]}"
        for output, (parameter, old_name) in BUCKETS.items()
        if parameter not in set_already and re.fullmatch(old_name, outputs.get(output, ""))
    ]


def refuse_wrong_parameters(build: Path, parameters: list[str], is_new: bool) -> None:
    """Raises CannotDeploy for a name that the template does not have, and for a missing value of a
    new stack. An existing stack keeps the values that are not given."""
    from samcli.yamlhelper import yaml_parse

    declared = yaml_parse((build / "template.yaml").read_text())["Parameters"]
    given = {item.partition("=")[0] for item in parameters}
    if unknown := sorted(given - declared.keys()):
        raise CannotDeploy(f"the template has no parameter {', '.join(unknown)}")
    required = {name for name, parameter in declared.items() if "Default" not in parameter}
    if is_new and (missing := sorted(required - given)):
        raise CannotDeploy(
            f"no value for {', '.join(missing)}; copy {SAMPLE} to "
            f"{OWN_PARAMETERS.relative_to(ROOT)} and write your values there"
        )


def find_outputs(config: Path, stage: str, options: list[str]) -> dict[str, str] | None:
    """The outputs of the deployed stack, or None if there is none. Raises CannotDeploy if AWS
    cannot be asked."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--stack-name", "--region", "--profile"):
        parser.add_argument(name)
    chosen, _ = parser.parse_known_args(options)
    name = chosen.stack_name or _section(config, stage)["global"]["parameters"]["stack_name"]
    try:
        session = boto3.Session(profile_name=chosen.profile, region_name=chosen.region)
        client: Any = session.client("cloudformation")
        [stack] = client.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise CannotDeploy(f"the stack {name} cannot be looked up: {error}") from error
    except BotoCoreError as error:
        raise CannotDeploy(f"the stack {name} cannot be looked up: {error}") from error
    # A stack that has only a change set is not deployed yet.
    if stack["StackStatus"] == "REVIEW_IN_PROGRESS":
        return None
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def deploy_command(
    build: Path,
    config: Path,
    stage: str,
    options: list[str],
    *,
    own: Path = OWN_PARAMETERS,
    outputs: Mapping[str, str] | None = None,
) -> list[str]:
    """The command line of sam that deploys `build`; raises CannotDeploy. `outputs` are those of the
    deployed stack."""
    template = build / "template.yaml"
    if not template.exists():
        raise CannotDeploy("nothing is built; run `make package` first")
    parameters = read_parameters(config, stage, own)
    parameters += kept_buckets(outputs or {}, parameters)
    release = name_release(build, parameters)
    return [
        *("sam", "deploy", "--template-file", str(template), "--config-file", str(config)),
        *("--config-env", "default" if stage == DEVELOPMENT else stage),
        *("--parameter-overrides", *parameters, f"Release={release}"),
        *options,
    ]


def main(arguments: list[str]) -> int:
    stage, *options = arguments
    config = ROOT / "samconfig.toml"
    try:
        parameters = read_parameters(config, stage)
        command = deploy_command(BUILD, config, stage, options)
        outputs = find_outputs(config, stage, options)
        refuse_wrong_parameters(BUILD, parameters, is_new=outputs is None)
        if kept := kept_buckets(outputs or {}, parameters):
            print(f"deploy: the stack keeps its buckets ({', '.join(kept)})")
            command = deploy_command(BUILD, config, stage, options, outputs=outputs)
    except CannotDeploy as error:
        print(f"deploy: {error}", file=sys.stderr)
        return 1
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
