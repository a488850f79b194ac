"""`make deploy` reaches the change set, the last step that needs no AWS account."""

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from samcli.cli.types import CfnParameterOverridesType

from deploy import release
from local.aws.resources import REGION
from masstock.catalogue.image_models import list_price
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


def own_file(directory: Path, text: str) -> Path:
    path = directory / "parameters.toml"
    path.write_text(text)
    return path


def test_parameters_come_from_a_file_that_git_ignores(tmp_path: Path) -> None:
    own = own_file(
        tmp_path,
        """
        [prod]
        JwtIssuer = "https://issuer.example"
        LogRetentionDays = 400
        AllowPrivateWebhooks = true
        SubnetIds = "subnet-1,subnet-2"
        JwtSecretArn = ""
        [staging]
        JwtIssuer = "https://other.example"
        """,
    )
    config = ROOT / "samconfig.toml"
    assert release.read_parameters(config, "prod", own) == [
        "Stage=prod",
        "LogRetentionDays=400",
        "JwtIssuer=https://issuer.example",
        "AllowPrivateWebhooks=true",
        "SubnetIds=subnet-1,subnet-2",
        'JwtSecretArn=""',
    ]
    # Without the file, as before: whoever wrote the values into samconfig.toml still deploys.
    without = release.read_parameters(config, "prod", tmp_path / "nowhere.toml")
    assert without == ["Stage=prod", "LogRetentionDays=90"]
    for text in (
        "[prod]\nJwtIssuer = [1]",
        "[prod]\nLogRetentionDays = 1.5",
        "[prod]\nJwtAudience = 'a\\b'",
        "no TOML",
    ):
        with pytest.raises(release.CannotDeploy):
            release.read_parameters(config, "prod", own_file(tmp_path, text))


@pytest.mark.parametrize(
    "value", ["plain", "", "two words", 'a "quote"', "a=b,c", "it's", "50%", "é"]
)
def test_sam_reads_a_value_as_it_was_written(tmp_path: Path, value: str) -> None:
    own = own_file(tmp_path, f"[dev]\nJwtAudience = {json.dumps(value)}")
    parameters = release.read_parameters(ROOT / "samconfig.toml", "dev", own)
    read: Any = CfnParameterOverridesType().convert(tuple(parameters), None, None)
    assert read["JwtAudience"] == value


def test_the_sample_names_parameters_that_exist_and_is_not_the_ignored_file() -> None:
    sample = tomllib.loads((ROOT / "deploy/parameters.sample.toml").read_text())
    declared = source()["Parameters"]
    required = {name for name, p in declared.items() if "Default" not in p}
    for stage, parameters in sample.items():
        assert parameters.keys() <= declared.keys()
        assert required - {"Stage"} <= parameters.keys()
        release.read_parameters(ROOT / "samconfig.toml", stage)
    ignored = subprocess.run(
        ["git", "check-ignore", "deploy/parameters.toml", "deploy/parameters.sample.toml"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ignored.stdout.split() == ["deploy/parameters.toml"]


def test_wrong_and_missing_parameters_are_said_before_anything_is_sent(build: Path) -> None:
    with pytest.raises(release.CannotDeploy, match="has no parameter JwtIsuer"):
        release.refuse_wrong_parameters(build, ["JwtIsuer=x"], is_new=False)
    missing = "ApiDatabaseSecretArn, JwtIssuer, WorkerDatabaseSecretArn; copy deploy/parameters"
    with pytest.raises(release.CannotDeploy, match=missing):
        release.refuse_wrong_parameters(build, ["Stage=dev"], is_new=True)
    # SAM sends the values that the stack has.
    release.refuse_wrong_parameters(build, ["Stage=dev"], is_new=False)


OLD_BUCKETS = {
    "ResultsBucketName": "masstock-prod-workflow-results-123456789012",
    "UploadsBucketName": "masstock-prod-uploads-123456789012",
}


def test_an_upgraded_stack_keeps_its_buckets(
    build: Path, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CloudFormation would replace a renamed bucket by an empty one."""
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)
    config, own = ROOT / "samconfig.toml", tmp_path / "none.toml"
    assert release.find_outputs(config, "prod", []) is None
    template = {
        "Resources": {
            name.removesuffix("Name"): {
                "Type": "AWS::S3::Bucket",
                "Properties": {"BucketName": value},
            }
            for name, value in OLD_BUCKETS.items()
        },
        "Outputs": {name: {"Value": value} for name, value in OLD_BUCKETS.items()},
    }
    boto3.client("cloudformation", endpoint_url=endpoint, region_name=REGION).create_stack(
        StackName="masstock-prod", TemplateBody=json.dumps(template)
    )
    outputs = release.find_outputs(config, "prod", [])
    assert outputs == OLD_BUCKETS
    assert release.find_outputs(config, "prod", ["--stack-name", "masstock-other"]) is None
    command = release.deploy_command(build, config, "prod", [], own=own, outputs=outputs)
    for name, value in OLD_BUCKETS.items():
        assert f"Custom{name}={value}" in command


def test_new_stacks_and_named_buckets_are_left_as_they_are(build: Path, tmp_path: Path) -> None:
    config = ROOT / "samconfig.toml"
    new = {
        "ResultsBucketName": "masstock-prod-results-123456789012-eu-west-1",
        "UploadsBucketName": "masstock-prod-uploads-123456789012-eu-west-1",
    }
    for outputs in ({}, new):
        assert release.kept_buckets(outputs, ["Stage=prod"]) == []
    own = own_file(tmp_path, "[prod]\nCustomResultsBucketName = 'a-bucket'")
    command = release.deploy_command(build, config, "prod", [], own=own, outputs=OLD_BUCKETS)
    named = [item for item in command if item.startswith("Custom")]
    assert named == [
        "CustomResultsBucketName=a-bucket",
        f"CustomUploadsBucketName={OLD_BUCKETS['UploadsBucketName']}",
    ]


def test_a_stack_that_cannot_be_looked_up_is_not_deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise its buckets could be replaced."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(release.CannotDeploy, match="masstock-prod cannot be looked up"):
        release.find_outputs(ROOT / "samconfig.toml", "prod", [])


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
    assert list_price(name, "1K", 0, None) == float(price) * 1_000_000


def test_an_unbuilt_template_is_not_deployed(tmp_path: Path) -> None:
    with pytest.raises(release.CannotDeploy, match="make package"):
        release.deploy_command(tmp_path, ROOT / "samconfig.toml", "dev", [])
