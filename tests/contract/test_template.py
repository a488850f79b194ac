"""The resources that CloudFormation will make of template.yaml, tested without an AWS account.

The tests deploy the transformed template to moto and read the created resources back. moto ignores
some properties and still reports CREATE_COMPLETE. These are checked in the transformed template.
"""

import ast
import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator
from copy import deepcopy
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import boto3
import pytest
from cfnlint.api import lint_all
from moto import mock_aws

from local.aws.resources import ACCOUNT, REGION
from masstock.database.queries.archives import LEASE_SECONDS
from masstock.services.archive_storage import ARCHIVE_TAG
from masstock.services.result_copies import COPY_TAG
from masstock_generate.lease import lease_seconds
from tests.support.template import (
    FUNCTIONS,
    PARAMETERS,
    ROOT,
    Grant,
    Stack,
    intrinsics,
    listed,
    source,
)

TEMPLATE = (ROOT / "template.yaml").read_text()
SKIPPED_BY_MOTO = {
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Stage",
    "AWS::CloudWatch::Alarm",
    "AWS::Lambda::Alias",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::SecretsManager::Secret",
}
# These belong to an alias, which moto does not support.
REFUSED_BY_MOTO = {"AWS::Lambda::Permission"}
BUCKETS = {
    "ResultsBucket": f"masstock-test-results-{ACCOUNT}-{REGION}",
    "UploadsBucket": f"masstock-test-uploads-{ACCOUNT}-{REGION}",
}
DASHBOARD = f"masstock-test-{REGION}"
MACHINE = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:masstock-test-execution"


def alias(function: str) -> str:
    name = function.removesuffix("Function").lower()
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:masstock-test-{name}:live"


@pytest.fixture(scope="module")
def stack() -> Stack:
    return Stack()


# --- in moto -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def aws(stack: Stack) -> Iterator[boto3.Session]:
    with mock_aws(), warnings.catch_warnings():
        # SKIPPED_BY_MOTO lists the resources that moto does not make.
        warnings.filterwarnings("ignore", "Tried to parse AWS::")
        session = boto3.Session(
            aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION
        )
        s3 = session.client("s3")
        s3.create_bucket(Bucket="artifacts")
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as content:
            content.writestr("any.py", "")
        for name in ("common", "api", "fanout", "generate", "finalize"):
            folder = "layers" if name == "common" else "functions"
            s3.put_object(Bucket="artifacts", Key=f"{folder}/{name}.zip", Body=archive.getvalue())
        session.client("cloudformation").create_stack(
            StackName="masstock-test",
            TemplateBody=json.dumps(for_moto(stack)),
            Parameters=[
                {"ParameterKey": name, "ParameterValue": value}
                for name, value in PARAMETERS.items()
            ],
            Capabilities=["CAPABILITY_IAM"],
        )
        yield session


def for_moto(stack: Stack) -> dict[str, Any]:
    """The transformed template without permissions, and with names in place of alias ARNs."""
    template = deepcopy(stack.transformed)
    template["Resources"] = {
        name: resource
        for name, resource in template["Resources"].items()
        if resource["Type"] not in REFUSED_BY_MOTO
    }
    text = json.dumps(template)
    for function in FUNCTIONS:
        text = text.replace(f'{{"Ref": "{function}Aliaslive"}}', f'"{alias(function)}"')
    return json.loads(text)


@pytest.mark.filterwarnings("ignore:Tried to parse AWS")
def test_moto_makes_every_resource_except_those_checked_below(
    stack: Stack, aws: boto3.Session
) -> None:
    pages = aws.client("cloudformation").get_paginator("list_stack_resources")
    made = {
        summary["LogicalResourceId"]
        for page in pages.paginate(StackName="masstock-test")
        for summary in page["StackResourceSummaries"]
    }
    for name, resource in stack.resources.items():
        left_out = resource["Type"] in SKIPPED_BY_MOTO | REFUSED_BY_MOTO
        assert (name in made) != left_out, f"{name}: {resource['Type']}"


def test_functions_are_made_as_the_template_describes(stack: Stack, aws: boto3.Session) -> None:
    functions = aws.client("lambda")
    for logical_id in FUNCTIONS:
        wanted = stack.properties(logical_id)
        made = functions.get_function(FunctionName=wanted["FunctionName"])["Configuration"]
        assert made["Runtime"] == "python3.13"
        for name in ("Handler", "MemorySize", "Timeout"):
            assert made[name] == wanted[name]
        assert made["Environment"]["Variables"].keys() <= wanted["Environment"]["Variables"].keys()


@pytest.mark.filterwarnings("ignore:Tried to parse AWS")
def test_roles_are_made_with_the_same_permissions(stack: Stack, aws: boto3.Session) -> None:
    """This also checks how `tests.support.template` resolves the template."""
    iam = aws.client("iam")
    summaries = aws.client("cloudformation").list_stack_resources(StackName="masstock-test")
    physical = {
        summary["LogicalResourceId"]: summary["PhysicalResourceId"]
        for summary in summaries["StackResourceSummaries"]
    }
    for logical_id in stack.of_type("AWS::IAM::Role"):
        role = physical[logical_id]
        [name] = iam.list_role_policies(RoleName=role)["PolicyNames"]
        text = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        # moto returns this policy in Python's notation.
        policy = ast.literal_eval(text)
        made = {
            (action, resource)
            for statement in policy["Statement"]
            for action in listed(statement["Action"])
            for resource in listed(statement["Resource"])
            # moto makes no secrets, so they have no name there. Its ARNs of log groups differ.
            if isinstance(resource, str) and not action.startswith("logs:")
        }
        assert made
        assert {Grant(*grant) for grant in made} <= stack.grants(logical_id)


@pytest.mark.parametrize("logical_id", BUCKETS)
def test_buckets_are_encrypted(logical_id: str, aws: boto3.Session) -> None:
    s3 = aws.client("s3")
    encryption = s3.get_bucket_encryption(Bucket=BUCKETS[logical_id])
    [rule] = encryption["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"


def test_every_log_group_has_a_retention(stack: Stack, aws: boto3.Session) -> None:
    groups = aws.client("logs").describe_log_groups()["logGroups"]
    assert {group["logGroupName"] for group in groups} == {
        *(
            f"/masstock/test/{name}"
            for name in ("access", "api", "fanout", "generate", "economy", "finalize", "archive")
        ),
        "/aws/vendedlogs/states/masstock-test-execution",
    }
    assert {group["retentionInDays"] for group in groups} == {30}
    for logical_id in FUNCTIONS:
        name = logical_id.removesuffix("Function").lower()
        logging = stack.properties(logical_id)["LoggingConfig"]
        assert (logging["LogFormat"], logging["LogGroup"]) == ("JSON", f"/masstock/test/{name}")


def test_lost_runs_and_the_sweep_invoke_finalize(aws: boto3.Session) -> None:
    events = aws.client("events")
    rules = {rule.get("ScheduleExpression", "event"): rule for rule in events.list_rules()["Rules"]}
    assert rules.keys() == {"event", "rate(1 minute)"}
    pattern = json.loads(rules["event"]["EventPattern"])
    assert pattern["detail"] == {
        "stateMachineArn": [MACHINE],
        "status": ["FAILED", "TIMED_OUT", "ABORTED"],
    }
    for rule in rules.values():
        [target] = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
        assert target["Arn"] == alias("FinalizeFunction")
    [target] = events.list_targets_by_rule(Rule=rules["event"]["Name"])["Targets"]
    assert target["DeadLetterConfig"]["Arn"].endswith(":masstock-test-dead-letters")


def test_dead_letters_are_kept_and_encrypted(aws: boto3.Session) -> None:
    sqs = aws.client("sqs")
    url = sqs.get_queue_url(QueueName="masstock-test-dead-letters")["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["MessageRetentionPeriod"] == str(14 * 86400)
    assert attributes["SqsManagedSseEnabled"] == "true"


def test_the_state_machine_has_its_name(aws: boto3.Session) -> None:
    [machine] = aws.client("stepfunctions").list_state_machines()["stateMachines"]
    assert (machine["stateMachineArn"], machine["type"]) == (MACHINE, "STANDARD")
    made = aws.client("stepfunctions").describe_state_machine(stateMachineArn=MACHINE)
    shipped = json.loads((ROOT / "statemachine/execution.asl.json").read_text())
    assert json.loads(made["definition"]) == shipped


def test_the_dashboard_can_be_drawn(aws: boto3.Session) -> None:
    body = aws.client("cloudwatch").get_dashboard(DashboardName=DASHBOARD)["DashboardBody"]
    widgets = json.loads(body)["widgets"]
    assert len(widgets) == 7
    assert "${" not in json.dumps([w for w in widgets if w["type"] == "log"])


# --- in the transformed template -----------------------------------------------------------------


# moto's CloudFormation makes buckets but ignores these properties.
@pytest.mark.parametrize("logical_id", BUCKETS)
def test_buckets_are_private_and_kept(logical_id: str, stack: Stack) -> None:
    bucket = stack.properties(logical_id)
    assert bucket["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True,
        "IgnorePublicAcls": True,
        "BlockPublicPolicy": True,
        "RestrictPublicBuckets": True,
    }
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert stack.resources[logical_id]["DeletionPolicy"] == "Retain"
    assert stack.resources[logical_id]["UpdateReplacePolicy"] == "Retain"


def test_names_that_others_share_contain_account_and_region(stack: Stack) -> None:
    """Two regions of one account, two accounts and two stages do not collide. Buckets are shared by
    everybody, dashboards by the regions of an account."""
    for logical_id in BUCKETS:
        name = source()["Resources"][logical_id]["Properties"]["BucketName"]["Fn::If"][2]["Fn::Sub"]
        for part in ("${Stage}", "${AWS::AccountId}", "${AWS::Region}"):
            assert part in name
        # 16 characters of a stage, and the longest name of a region.
        longest = name.replace("${Stage}", "s" * 16).replace("${AWS::AccountId}", "1" * 12)
        longest = longest.replace("${AWS::Region}", max(every_region(), key=len))
        assert len(longest) <= 63
    assert stack.properties("Dashboard")["DashboardName"] == DASHBOARD


def every_region() -> list[str]:
    session = boto3.Session()
    return [
        region
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("s3", partition, allow_non_regional=False)
    ]


def test_a_stack_keeps_the_buckets_that_it_has() -> None:
    old = {
        "ResultsBucket": f"masstock-test-workflow-results-{ACCOUNT}",
        "UploadsBucket": f"masstock-test-uploads-{ACCOUNT}",
    }
    stack = Stack(
        CustomResultsBucketName=old["ResultsBucket"], CustomUploadsBucketName=old["UploadsBucket"]
    )
    for logical_id, name in old.items():
        assert stack.properties(logical_id)["BucketName"] == name
    variables = stack.properties("GenerateFunction")["Environment"]["Variables"]
    assert (variables["RESULTS_BUCKET"], variables["UPLOADS_BUCKET"]) == tuple(old.values())
    granted = {g.resource for g in stack.grants("ApiRole") if g.action.startswith("s3:")}
    expected = {f"arn:aws:s3:::{name}{rest}" for name in old.values() for rest in ("", "/*")}
    assert granted == expected


def test_a_custom_domain_is_a_switch(stack: Stack) -> None:
    assert not stack.of_type("AWS::ApiGatewayV2::DomainName")
    assert not stack.of_type("AWS::ApiGatewayV2::ApiMapping")
    certificate = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/any"
    asked = Stack(DomainName="api.example.com", CertificateArn=certificate)
    [domain] = asked.of_type("AWS::ApiGatewayV2::DomainName").values()
    assert domain == {
        "DomainName": "api.example.com",
        "DomainNameConfigurations": [
            {
                "CertificateArn": certificate,
                "EndpointType": "REGIONAL",
                "SecurityPolicy": "TLS_1_2",
            }
        ],
    }
    [mapping] = asked.of_type("AWS::ApiGatewayV2::ApiMapping").values()
    # No key: paths are the same as without the domain.
    assert mapping.keys() == {"ApiId", "DomainName", "Stage"}
    stages = asked.of_type("AWS::ApiGatewayV2::Stage")
    assert [mapping["Stage"]] == list(stages)
    outputs = asked.transformed["Outputs"]
    assert asked.resolve(outputs["ApiUrl"]["Value"]) == "https://api.example.com"
    assert stack.resolve(outputs["ApiUrl"]["Value"]).endswith(f".{REGION}.amazonaws.com")
    assert outputs["DomainTarget"]["Condition"] == "CustomDomain"


def lifecycle(stack: Stack, logical_id: str) -> list[dict[str, Any]]:
    rules = stack.properties(logical_id)["LifecycleConfiguration"]["Rules"]
    assert all(rule["Status"] == "Enabled" for rule in rules)
    assert any("AbortIncompleteMultipartUpload" in rule for rule in rules)
    return rules


def test_deleted_objects_can_be_restored_for_a_week(stack: Stack) -> None:
    results = stack.properties("ResultsBucket")
    assert results["VersioningConfiguration"] == {"Status": "Enabled"}
    rules = lifecycle(stack, "ResultsBucket")
    assert any(r.get("NoncurrentVersionExpiration") == {"NoncurrentDays": 7} for r in rules)


def test_uploads_expire_and_results_do_not(stack: Stack) -> None:
    rules = lifecycle(stack, "UploadsBucket")
    assert any(r.get("ExpirationInDays") == 30 for r in rules)
    tags = [tag for r in rules if r.get("ExpirationInDays") == 7 for tag in r["TagFilters"]]
    assert {f"{tag['Key']}={tag['Value']}" for tag in tags} == {ARCHIVE_TAG, COPY_TAG}
    assert not any("ExpirationInDays" in r for r in lifecycle(stack, "ResultsBucket"))


def test_every_caller_invokes_the_alias(stack: Stack) -> None:
    for function in FUNCTIONS:
        version = stack.resources[f"{function}Aliaslive"]["Properties"]["FunctionVersion"]
        assert version["Fn::GetAtt"][0] in stack.resources
    machine = stack.properties("ExecutionStateMachine")["DefinitionSubstitutions"]
    others = ("ApiFunction", "ArchiveFunction")
    assert set(machine.values()) == {alias(name) for name in FUNCTIONS if name not in others}
    invoked = [
        g.resource for g in stack.grants("MachineRole") if g.action == "lambda:InvokeFunction"
    ]
    assert set(invoked) == set(machine.values())
    for function, role in (("ApiFunction", "ApiRole"), ("FinalizeFunction", "FinalizeRole")):
        variables = stack.properties(function)["Environment"]["Variables"]
        assert variables["ARCHIVE_FUNCTION_ARN"] == alias("ArchiveFunction")
        assert Grant("lambda:InvokeFunction", alias("ArchiveFunction")) in stack.grants(role)
    api = stack.properties("HttpApi")["Body"]["paths"]
    [integration] = [m["x-amazon-apigateway-integration"] for m in api["$default"].values()]
    assert alias("ApiFunction") in integration["uri"]
    permissions = stack.of_type("AWS::Lambda::Permission").values()
    assert {p["FunctionName"] for p in permissions} == {
        alias("ApiFunction"),
        alias("FinalizeFunction"),
    }
    assert stack.properties("FinalizeFunctionEventInvokeConfig")["Qualifier"] == "live"


def versions(stack: Stack) -> set[str]:
    return set(stack.of_type("AWS::Lambda::Version"))


def test_a_changed_layer_or_release_publishes_new_versions(stack: Stack) -> None:
    assert versions(Stack()) == versions(stack)
    assert not versions(Stack(Release="0123456789abcdef")) & versions(stack)
    template = deepcopy(source())
    template["Resources"]["CommonLayer"]["Properties"]["ContentUri"] = "s3://artifacts/other.zip"
    assert not versions(Stack(template)) & versions(stack)


def test_every_function_runs_with_the_layer(stack: Stack) -> None:
    [layer] = stack.of_type("AWS::Lambda::LayerVersion")
    for name in FUNCTIONS:
        assert stack.properties(name)["Layers"] == [layer]


def test_old_versions_are_deleted_with_their_snapshots(stack: Stack) -> None:
    for name in versions(stack):
        assert stack.resources[name]["DeletionPolicy"] == "Delete"


def test_a_parameter_enables_snapshots(stack: Stack) -> None:
    for name in FUNCTIONS:
        assert stack.properties(name)["SnapStart"] == {"ApplyOn": "None"}
        on = Stack(SnapStart="on").properties(name)
        assert on["SnapStart"] == {"ApplyOn": "PublishedVersions"}


def test_architecture_is_a_parameter(stack: Stack) -> None:
    for name in FUNCTIONS:
        assert stack.properties(name)["Architectures"] == ["arm64"]
    other = Stack(Architecture="x86_64")
    for name in FUNCTIONS:
        assert other.properties(name)["Architectures"] == ["x86_64"]
    [layer] = other.of_type("AWS::Lambda::LayerVersion").values()
    assert layer["CompatibleArchitectures"] == ["x86_64"]


def test_a_parameter_reserves_concurrency_for_generate(stack: Stack) -> None:
    reserved = "ReservedConcurrentExecutions"
    assert reserved not in stack.properties("GenerateFunction")
    asked = Stack(GenerateReservedConcurrency="40")
    assert asked.properties("GenerateFunction")[reserved] == "40"


def test_parameters_put_functions_into_a_vpc(stack: Stack) -> None:
    inside = Stack(SubnetIds="subnet-1,subnet-2", SecurityGroupIds="sg-1")
    for name in FUNCTIONS:
        role = name.removesuffix("Function") + "Role"
        assert "VpcConfig" not in stack.properties(name)
        assert not [g for g in stack.grants(role) if g.action.startswith("ec2:")]
        assert inside.properties(name)["VpcConfig"] == {
            "SubnetIds": ["subnet-1", "subnet-2"],
            "SecurityGroupIds": ["sg-1"],
        }
        assert [g for g in inside.grants(role) if g.action.startswith("ec2:")]
    [denied] = [s for s in inside.statements("ApiRole") if s["Effect"] == "Deny"]
    assert denied["Condition"]["ArnEquals"]["lambda:SourceFunctionArn"] == [
        alias(name).removesuffix(":live") for name in FUNCTIONS
    ]


def test_a_parameter_subscribes_an_email_to_alarms(stack: Stack) -> None:
    assert not stack.of_type("AWS::SNS::Subscription")
    [told] = Stack(AlarmEmail="ops@example.com").of_type("AWS::SNS::Subscription").values()
    assert (told["Protocol"], told["Endpoint"]) == ("email", "ops@example.com")


def test_requests_are_throttled_and_logged_without_tokens(stack: Stack) -> None:
    [stage] = stack.of_type("AWS::ApiGatewayV2::Stage").values()
    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] == "100"
    assert stage["DefaultRouteSettings"]["ThrottlingBurstLimit"] == "200"
    fields = json.loads(stage["AccessLogSettings"]["Format"])
    assert {"request_id", "status", "latency_ms"} <= fields.keys()
    assert not re.search("query|header|authorizer", " ".join(fields.values()))
    assert stage["AccessLogSettings"]["DestinationArn"].endswith(":/masstock/test/access:*")


def test_every_bucket_refuses_plain_http_and_only_public_results_are_public() -> None:
    for access, readable in (("signed", []), ("public", ["ResultsBucket"])):
        stack = Stack(ImageAccess=access)
        policies = stack.of_type("AWS::S3::BucketPolicy").values()
        assert len(policies) == len(BUCKETS)
        opened = []
        for policy in policies:
            tls, *others = policy["PolicyDocument"]["Statement"]
            arn = f"arn:aws:s3:::{policy['Bucket']}"
            assert (tls["Effect"], tls["Action"], tls["Principal"]) == ("Deny", "s3:*", "*")
            assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
            assert tls["Resource"] == [arn, f"{arn}/*"]
            opened += [(policy["Bucket"], s["Action"], s["Resource"]) for s in others]
        assert opened == [
            (BUCKETS[b], "s3:GetObject", f"arn:aws:s3:::{BUCKETS[b]}/*") for b in readable
        ]
        block = stack.properties("ResultsBucket")["PublicAccessBlockConfiguration"]
        assert block["BlockPublicAcls"]
        assert block["IgnorePublicAcls"]
        assert block["BlockPublicPolicy"] == block["RestrictPublicBuckets"] == (not readable)


def test_secrets_that_can_be_generated_are_generated(stack: Stack) -> None:
    secrets = stack.of_type("AWS::SecretsManager::Secret")
    assert {s["Name"] for s in secrets.values()} >= {
        "masstock/test/identity-key",
        "masstock/test/sealing-keys",
        "masstock/test/webhook-secret",
    }
    for name, secret in secrets.items():
        # 64 characters without punctuation: 380 bits, in a form that `make identity-key` accepts.
        assert secret["GenerateSecretString"]["PasswordLength"] == 64
        assert secret["GenerateSecretString"]["ExcludePunctuation"] is True
        assert stack.resources[name]["DeletionPolicy"] == "Retain"


def test_events_that_finalize_fails_on_go_to_the_dead_letter_queue(stack: Stack) -> None:
    queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:masstock-test-dead-letters"
    invoke = stack.properties("FinalizeFunctionEventInvokeConfig")
    assert invoke["MaximumRetryAttempts"] == 2
    assert invoke["DestinationConfig"]["OnFailure"]["Destination"] == queue
    assert Grant("sqs:SendMessage", queue) in stack.grants("FinalizeRole")
    [policy] = stack.of_type("AWS::SQS::QueuePolicy").values()
    [statement] = policy["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Condition"]["ArnEquals"]["aws:SourceArn"].startswith("arn:aws:events:")


def test_functions_and_machine_are_traced_and_log_no_payloads(stack: Stack) -> None:
    for name in FUNCTIONS:
        assert stack.properties(name)["TracingConfig"] == {"Mode": "Active"}
    machine = stack.properties("ExecutionStateMachine")
    assert machine["TracingConfiguration"] == {"Enabled": True}
    logging = machine["LoggingConfiguration"]
    assert (logging["Level"], logging["IncludeExecutionData"]) == ("ERROR", False)


def test_every_alarm_notifies_the_topic_and_is_in_the_runbook(stack: Stack) -> None:
    alarms = stack.of_type("AWS::CloudWatch::Alarm")
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:masstock-test-alarms"
    assert {a["AlarmName"].removeprefix("masstock-test-") for a in alarms.values()} == {
        "api-server-errors",
        "api-latency",
        "machine-failures",
        "executions-stuck",
        "lanes-closed",
        "archives-failed",
        "generate-errors",
        "dead-letters",
    }
    runbook = (ROOT / "docs/runbook.md").read_text()
    for alarm in alarms.values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]
        assert f"\n## {alarm['AlarmName'].removeprefix('masstock-test-')}\n" in runbook
    [policy] = stack.of_type("AWS::SNS::TopicPolicy").values()
    [statement] = policy["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert statement["Condition"]["ArnLike"]["aws:SourceArn"].endswith(":alarm:masstock-test-*")


def test_the_runbook_names_only_existing_codes() -> None:
    table = (ROOT / "docs/errors.md").read_text()
    text = (ROOT / "docs/runbook.md").read_text()
    section = text[text.index("## api-server-errors") : text.index("## dead-letters")]
    fields = {"gateway_error", "integration_error", "latency_ms", "integration_ms", "execution_id"}
    fields |= {"recover_executions", "remove_images", "limited_by", "provider_limit"}
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", section)) - fields
    assert {"database_unavailable", "provider_rate_limited"} <= named
    assert {code for code in named if f"`{code}`" not in table} == set()


def test_every_alarm_watches_an_emitted_metric(stack: Stack) -> None:
    emitted = {
        name
        for path in (ROOT / "functions").rglob("*.py")
        for name in re.findall(r'(?:add_metric\("|emit_counts\(|, )(\w+)(?:"|=)', path.read_text())
        if name[0].isupper()
    }
    watched = re.findall(r'\["MasStock", "(\w+)"|"\.", "(\w+)", "\.", "\."', TEMPLATE)
    assert "StuckExecutions" in emitted
    stuck = stack.properties("ExecutionsStuckAlarm")
    assert (stuck["Namespace"], stuck["MetricName"]) == ("MasStock", "StuckExecutions")
    # The sweep reports every minute, so missing data is an alarm.
    assert stuck["TreatMissingData"] == "breaching"
    service = stack.properties("FinalizeFunction")["Environment"]["Variables"]
    assert stuck["Dimensions"] == [{"Name": "service", "Value": service["POWERTOOLS_SERVICE_NAME"]}]
    assert {own for own, _ in watched if own} <= emitted
    rate = {m["Id"]: m for m in stack.properties("GenerateErrorsAlarm")["Metrics"]}
    failed = rate["failed"]["MetricStat"]["Metric"]
    assert failed["MetricName"] in emitted
    assert failed["Dimensions"] == stuck["Dimensions"]
    assert set(re.findall(r"[a-z]+", rate["rate"]["Expression"])) == rate.keys() - {"rate"}


def test_no_permission_has_an_avoidable_wildcard(stack: Stack) -> None:
    inside = Stack(SubnetIds="subnet-1", SecurityGroupIds="sg-1")
    for role in inside.of_type("AWS::IAM::Role"):
        for statement in inside.statements(role):
            for action in listed(statement["Action"]):
                assert "*" not in action, f"{role}: {action}"
            if "*" in listed(statement["Resource"]):
                # AWS defines no resources for these. A comment in the template says so at each.
                sid = statement["Sid"]
                assert sid in {"Trace", "AttachToSubnets", "ServiceOnly", "DeliverLogs"}
                for place in re.finditer(rf"\n( +)- Sid: {sid}\n", TEMPLATE):
                    line_above = TEMPLATE[: place.start()].rpartition("\n")[2]
                    assert line_above.strip().startswith("#"), sid


def test_no_role_has_a_policy_managed_by_aws(stack: Stack) -> None:
    """SAM attaches AWSLambdaBasicExecutionRole to a function without its own role. That policy
    permits writing to every log group of the account."""
    for name in FUNCTIONS:
        role = name.removesuffix("Function") + "Role"
        assert stack.properties(name)["Role"] == f"arn:aws:iam::{ACCOUNT}:role/{role}"
    for properties in stack.of_type("AWS::IAM::Role").values():
        for policy in properties.get("ManagedPolicyArns", []):
            assert stack.resources[policy]["Type"] == "AWS::IAM::ManagedPolicy"


def test_the_machine_role_can_start_and_watch_the_maps_children(stack: Stack) -> None:
    """Our recorded calls cannot show this: Step Functions itself uses the machine's role."""
    grants = stack.grants("MachineRole")
    own = {g for g in grants if g.action.startswith("states:")}
    assert Grant("states:StartExecution", MACHINE) in own
    machine = MACHINE.replace(":stateMachine:", ":execution:")
    for action in ("states:DescribeExecution", "states:StopExecution"):
        for child in (f"{machine}/Generate:0f1e2d3c", f"{machine}:0f1e2d3c"):
            assert any(grant.covers(action, child) for grant in own)
        assert not any(grant.covers(action, f"{machine}-other:0f1e2d3c") for grant in own)
    assert {g.action for g in own} == {
        "states:StartExecution",
        "states:DescribeExecution",
        "states:StopExecution",
    }


def test_no_resource_depends_on_itself(stack: Stack) -> None:
    resources = stack.transformed["Resources"]
    graph: dict[str, set[str]] = {}
    for name, resource in resources.items():
        needs = set(listed(resource.get("DependsOn", [])))
        for function, argument in intrinsics(resource.get("Properties", {})):
            if function == "Ref":
                needs.add(argument)
            elif function == "Fn::GetAtt":
                needs.add(argument[0])
            elif function == "Fn::Sub":
                needs.update(re.findall(r"\$\{([A-Za-z0-9]+)", listed(argument)[0]))
        graph[name] = needs & resources.keys()
    assert list(TopologicalSorter(graph).static_order())


def test_every_timeout_fits_into_the_outer_one(stack: Stack) -> None:
    timeout = {name: stack.properties(name)["Timeout"] for name in FUNCTIONS}
    # API Gateway cuts at 30 s.
    assert timeout["ApiFunction"] <= 29
    limits = source()["Parameters"]["ModelTimeoutSeconds"]
    assert timeout["GenerateFunction"] > lease_seconds(limits["MaxValue"])
    roles = (ROOT / "sql/roles.sql").read_text()
    patience = dict(re.findall(r"ALTER ROLE (\w+) SET statement_timeout = '(\d+)s'", roles))
    assert int(patience["masstock_api"]) < timeout["ApiFunction"]
    assert int(patience["masstock_worker"]) < min(
        timeout["FanoutFunction"], timeout["FinalizeFunction"], timeout["GenerateFunction"]
    )


def test_a_lease_of_a_part_ends_after_its_builder(stack: Stack) -> None:
    assert stack.properties("ArchiveFunction")["Timeout"] < LEASE_SECONDS
    assert stack.properties("ArchiveFunctionEventInvokeConfig")["MaximumRetryAttempts"] == 0


def test_generate_calls_a_gateway_only_if_it_is_given() -> None:
    def variables(**parameters: str) -> dict[str, Any]:
        return Stack(**parameters).properties("GenerateFunction")["Environment"]["Variables"]

    name = "GOOGLE_GEMINI_BASE_URL"
    assert name not in variables()
    url = "https://gateway.example/gemini"
    assert variables(ModelBaseUrl=url)[name] == url
    allowed = re.compile(source()["Parameters"]["ModelBaseUrl"]["AllowedPattern"])
    assert allowed.fullmatch(url)
    assert allowed.fullmatch("")
    for wrong in ("gateway.example", "ftp://a", "https://a?b=c", "https://user:key@a", "https://"):
        assert not allowed.fullmatch(wrong)


def test_rules_use_only_allowed_functions() -> None:
    """CloudFormation refuses a template whose rules use other functions (Template Reference, "Rule
    functions"). cfn-lint accepts any function there."""
    allowed = {"Ref", *(f"Fn::{name}" for name in ("And", "Or", "Not", "Equals", "Contains"))}
    rules = source()["Rules"]
    assert rules
    assert {function for function, _ in intrinsics(rules)} <= allowed


def test_outputs_contain_what_the_guide_needs_next(stack: Stack) -> None:
    outputs = stack.transformed["Outputs"]
    assert outputs.keys() >= {
        "ApiUrl",
        "StateMachineArn",
        "ResultsBucketName",
        "UploadsBucketName",
        "IdentitySecretArn",
        "SealingSecretArn",
        "AlarmTopicArn",
        "DeadLetterQueueUrl",
        "DashboardUrl",
    }
    assert all(output["Description"] for output in outputs.values())


def test_the_machine_is_well_formed_amazon_states_language(tmp_path: Path) -> None:
    """Uses cfn-lint's schema directly: cfn-lint itself checks only definitions in templates."""
    definition = json.loads((ROOT / "statemachine/execution.asl.json").read_text())

    def mistakes(definition: dict[str, Any]) -> list[str]:
        properties = {
            "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/any",
            "Definition": definition,
            "DefinitionSubstitutions": dict.fromkeys(
                re.findall(r"\$\{(\w+)\}", json.dumps(definition)), "any"
            ),
        }
        machine = {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}
        found = lint_all(json.dumps({"Resources": {"Machine": machine}}))
        return [str(match) for match in found if match.rule.severity == "error"]

    assert mistakes(definition) == []
    del definition["States"]["Generate"]["ItemProcessor"]["StartAt"]
    assert mistakes(definition)
