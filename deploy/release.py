"""Deploys the output of `make package`: `python -m deploy.release STAGE [option of sam deploy …]`.

Parameters come from samconfig.toml. The release is a hash of the parameters and the built files,
so functions get a new version if, and only if, a parameter or a file changes. SAM alone overlooks a
parameter's new value (decision 33 in docs/decisions.md).
"""

import hashlib
import subprocess
import sys
import tomllib
from pathlib import Path

from deploy.artifacts import read_artifacts

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".aws-sam" / "build"
# The stage of the section [default] in samconfig.toml.
DEVELOPMENT = "dev"


class CannotDeploy(Exception):
    """A build or a stage is missing; nothing was sent to AWS."""


def read_parameters(config: Path, stage: str) -> list[str]:
    """The stage's parameters for sam deploy; raises CannotDeploy for an unknown stage."""
    stages = tomllib.loads(config.read_text())
    name = "default" if stage == DEVELOPMENT else stage
    if name not in stages:
        raise CannotDeploy(f"{config.name} has no [{name}.deploy.parameters]")
    return list(stages[name]["deploy"]["parameters"]["parameter_overrides"])


def name_release(build: Path, parameters: list[str]) -> str:
    """Hash of the built template, every artifact and the parameters in sorted order."""
    digest = hashlib.sha256((build / "template.yaml").read_bytes())
    for part in [*(artifact.sha256 for artifact in read_artifacts(build)), *sorted(parameters)]:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def deploy_command(build: Path, config: Path, stage: str, options: list[str]) -> list[str]:
    """The command line of sam that deploys `build`; raises CannotDeploy."""
    template = build / "template.yaml"
    if not template.exists():
        raise CannotDeploy("nothing is built; run `make package` first")
    parameters = read_parameters(config, stage)
    release = name_release(build, parameters)
    return [
        *("sam", "deploy", "--template-file", str(template), "--config-file", str(config)),
        *("--config-env", "default" if stage == DEVELOPMENT else stage),
        *("--parameter-overrides", *parameters, f"Release={release}"),
        *options,
    ]


def main(arguments: list[str]) -> int:
    stage, *options = arguments
    try:
        command = deploy_command(BUILD, ROOT / "samconfig.toml", stage, options)
    except CannotDeploy as error:
        print(f"deploy: {error}", file=sys.stderr)
        return 1
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
