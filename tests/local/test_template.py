"""SAM CLI's internal providers still return every part of the template that the stack runs."""

import json

import pytest

from local.aws.resources import ACCOUNT, REGION, Template
from local.aws.template import read_template, seconds_of
from local.settings import ROOT, Settings
from local.wiring import function_variables, template_parameters


@pytest.fixture(scope="module")
def template() -> Template:
    settings = Settings.from_environment(
        {"CONCURRENCY": "7", "MODEL_TIMEOUT_SECONDS": "5", "MAX_IMAGE_MEGABYTES": "32"}
    )
    return read_template(ROOT / "template.yaml", template_parameters(settings, "http://keys"))


def test_functions_run_from_their_unbuilt_source(template: Template) -> None:
    functions = {function.logical_id: function for function in template.functions}
    assert functions.keys() == {
        "ApiFunction",
        "FanoutFunction",
        "GenerateFunction",
        "EconomyFunction",
        "FinalizeFunction",
        "ArchiveFunction",
    }
    generate = functions["GenerateFunction"]
    assert generate.name == "masstock-local-generate"
    assert generate.code == ROOT / "functions" / "generate"
    assert generate.layers == (ROOT / "layers" / "common",)
    assert generate.handler == "generate.lambda_handler"
    assert (generate.timeout, generate.memory) == (420, 2048)
    assert generate.log_name == "generate"
    # ModelBaseUrl is empty.
    assert "GOOGLE_GEMINI_BASE_URL" not in generate.variables


def test_every_request_goes_to_the_api(template: Template) -> None:
    assert template.default_route == "ApiFunction"


def test_the_machine_has_its_deployed_name_and_every_substitution(template: Template) -> None:
    (machine,) = template.state_machines
    assert machine.name == "masstock-local-execution"
    assert "${" not in machine.definition
    assert json.loads(machine.definition)["States"]["Fanout"]["Parameters"]["FunctionName"] == (
        f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:masstock-local-fanout"
    )


def test_the_rule_and_the_schedule_are_read(template: Template) -> None:
    (rule,), (schedule,) = template.event_rules, template.schedules
    assert rule.function == schedule.function == "FinalizeFunction"
    assert rule.pattern["detail"]["stateMachineArn"] == [template.state_machines[0].arn]
    assert (schedule.seconds, json.loads(schedule.event)) == (60, {"sweep": True})


def test_a_function_gets_the_templates_variables_with_the_stacks_values(template: Template) -> None:
    functions = {function.logical_id: function for function in template.functions}
    api, generate, fanout = (
        function_variables(functions[name], aws_url="http://aws", model_url="http://model")
        for name in ("ApiFunction", "GenerateFunction", "FanoutFunction")
    )
    assert api["DATABASE_SECRET_ID"] == "masstock/local/api-database"
    assert api["IDENTITY_SECRET_ID"] == "masstock/local/identity-key"
    assert api["STATE_MACHINE_ARN"] == template.state_machines[0].arn
    assert api["JWT_JWKS_URL"] == "http://keys"
    assert api["JWT_SECRET_ID"] == ""
    assert generate["RESULTS_BUCKET"] == "workflow-results"
    assert generate["UPLOADS_BUCKET"] == "masstock-uploads"
    assert generate["MODEL_TIMEOUT_SECONDS"] == "5"
    assert generate["MAX_IMAGE_MEGABYTES"] == "32"
    assert generate["AWS_ENDPOINT_URL_S3"] == "http://aws"
    assert generate["GOOGLE_GEMINI_BASE_URL"] == "http://model"
    assert fanout["MAX_CONCURRENCY_DEFAULT"] == fanout["MAX_CONCURRENCY_LIMIT"] == "7"
    # A function gets no variable of a resource that the template does not give it.
    assert "SEALING_SECRET_ID" not in fanout
    assert "RESULTS_BUCKET" not in fanout


def test_lambdas_settings_of_logs_and_asynchronous_invokes_are_read(template: Template) -> None:
    functions = {function.logical_id: function for function in template.functions}
    finalize = functions["FinalizeFunction"]
    assert (finalize.event_retries, finalize.event_age_seconds) == (2, 3600)
    assert finalize.variables["AWS_LAMBDA_LOG_FORMAT"] == "JSON"
    assert finalize.variables["AWS_LAMBDA_LOG_LEVEL"] == "INFO"
    quiet = template_parameters(Settings.from_environment({"LOG_LEVEL": "WARNING"}), "http://keys")
    for function in read_template(ROOT / "template.yaml", quiet).functions:
        assert function.variables["AWS_LAMBDA_LOG_LEVEL"] == "WARN"
        assert function.variables["POWERTOOLS_LOG_LEVEL"] == "WARNING"


def test_a_function_gets_no_credentials_of_the_developer(
    template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("GEMINI_API_KEY", "secret")
    variables = function_variables(template.functions[0], aws_url="http://aws", model_url=None)
    assert not {"AWS_PROFILE", "GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL"} & variables.keys()


@pytest.mark.parametrize(
    ("expression", "seconds"),
    [("rate(1 minute)", 60), ("rate(5 minutes)", 300), ("rate(1 day)", 86400)],
)
def test_a_rate_is_converted_to_seconds(expression: str, seconds: float) -> None:
    assert seconds_of(expression) == seconds
