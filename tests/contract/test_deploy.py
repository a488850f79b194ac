"""`make deploy` reaches the change set, the last step that needs no AWS account."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from deploy import release
from local.aws.resources import REGION
from masstock.catalogue.image_models import MODELS
from tests.contract.conftest import ROOT
from tests.support.template import Stack, source

CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    # moto reads the first label of the host as a bucket, even in 127.0.0.1.
    yield f"http://localhost:{port}"
    server.stop()


def test_the_change_set_contains_every_resource(build: Path, endpoint: str) -> None:
    clients = {"endpoint_url": endpoint, "region_name": REGION, **CREDENTIALS}
    boto3.client("s3", **clients).create_bucket(Bucket="artifacts")
    # moto cannot create the bucket that sam would make with --resolve-s3.
    options = ["--no-resolve-s3", "--s3-bucket", "artifacts"]
    options += ["--no-execute-changeset", "--no-confirm-changeset"]
    command = release.deploy_command(build, ROOT / "samconfig.toml", "staging", options)
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={
            **os.environ,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "SAM_CLI_TELEMETRY": "0",
            "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}",
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Changeset created successfully" in done.stdout
    for name in ("ApiFunction", "ExecutionStateMachine", "ResultsBucket", "DeadLettersAlarm"):
        assert f"+ Add                    {name}" in done.stdout
    [stack] = boto3.client("cloudformation", **clients).list_stacks()["StackSummaries"]
    assert (stack["StackName"], stack["StackStatus"]) == ("masstock-staging", "REVIEW_IN_PROGRESS")


@pytest.mark.parametrize(
    ("given", "region"),
    [
        ({}, "us-east-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-3"}, "eu-west-3"),
        ({"AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-3"}, "eu-west-1"),
    ],
)
def test_make_uses_the_region_that_the_guide_exports(given: dict[str, str], region: str) -> None:
    names = ("AWS_REGION", "AWS_DEFAULT_REGION", "MAKEFLAGS", "MAKELEVEL")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    show = "show: ; @echo $$AWS_DEFAULT_REGION"
    done = subprocess.run(
        ["make", "--silent", "--eval", show, "show"],
        cwd=ROOT,
        env=kept | given,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == region + "\n"


def test_a_release_changes_exactly_when_the_deployed_content_changes(
    build: Path, tmp_path: Path
) -> None:
    parameters = ["Stage=prod", "LogRetentionDays=90"]
    name = release.name_release(build, parameters)
    assert len(name) == 64
    assert release.name_release(build, parameters[::-1]) == name
    assert release.name_release(build, ["Stage=prod", "LogRetentionDays=30"]) != name
    (tmp_path / "template.yaml").write_text((build / "template.yaml").read_text() + "\n")
    assert release.name_release(tmp_path, parameters) != name


def test_every_stage_of_samconfig_can_be_deployed() -> None:
    for stage in ("dev", "staging", "prod"):
        parameters = release.read_parameters(ROOT / "samconfig.toml", stage)
        assert f"Stage={stage}" in parameters
    with pytest.raises(release.CannotDeploy, match="nowhere"):
        release.read_parameters(ROOT / "samconfig.toml", "nowhere")


def test_the_guide_explains_every_parameter_and_names_targets_that_exist() -> None:
    guide = (ROOT / "docs/deploy.md").read_text()
    explained = set(re.findall(r"`([A-Z][A-Za-z]+)`", guide[guide.index("| Parameter |") :]))
    assert source()["Parameters"].keys() <= explained
    targets = re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text())
    assert set(re.findall(r"(?m)(?:`|&& |^)make ([a-z-]+)", guide)) <= set(targets)
    outputs = Stack().transformed["Outputs"]
    assert set(re.findall(r"output ([A-Z][A-Za-z]+)\)", guide)) <= outputs.keys()


def test_the_guide_states_the_price_that_we_charge() -> None:
    [(name, price)] = re.findall(
        r"\| `(gemini[^`]+)` \| 1,000 × ([0-9.]+) ", (ROOT / "docs/deploy.md").read_text()
    )
    assert MODELS[name].microusd_per_image == float(price) * 1_000_000


def test_an_unbuilt_template_is_not_deployed(tmp_path: Path) -> None:
    with pytest.raises(release.CannotDeploy, match="make package"):
        release.deploy_command(tmp_path, ROOT / "samconfig.toml", "dev", [])
