"""The values that a deployment provides: parameters, names, endpoints, variables of functions."""

import os
from collections.abc import Mapping
from typing import Any

from local.aws.calls import caller_key
from local.aws.resources import REGION, LambdaFunction, Template
from local.database import DatabaseUrls
from local.keys import AUDIENCE, ISSUER, Keys
from local.settings import RESULTS_BUCKET, UPLOADS_BUCKET, Settings

STAGE = "local"
API_DATABASE_SECRET = f"masstock/{STAGE}/api-database"
WORKER_DATABASE_SECRET = f"masstock/{STAGE}/worker-database"
IDENTITY_SECRET = f"masstock/{STAGE}/identity-key"
SEALING_SECRET = f"masstock/{STAGE}/sealing-keys"
WEBHOOK_SECRET = f"masstock/{STAGE}/webhook-secret"
PLATFORM_KEY_SECRET = f"masstock/{STAGE}/platform-api-key"

# CloudFormation would resolve these variables from resources of the template.
RESOURCES = {
    "IDENTITY_SECRET_ID": IDENTITY_SECRET,
    "SEALING_SECRET_ID": SEALING_SECRET,
    "WEBHOOK_SECRET_ID": WEBHOOK_SECRET,
    "RESULTS_BUCKET": RESULTS_BUCKET,
    "UPLOADS_BUCKET": UPLOADS_BUCKET,
}
# The only variables of this process that functions receive, because Lambda's environment is small
# too. With the proxy settings, generate reaches the real model through a proxy.
# The first pause between two looks at a provider's job.
LOCAL_POLL_SECONDS = "2"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
INHERITED = (
    # tests/crash kills functions: FAULTS_DIR is put on their path.
    *("FAULTS_DIR", "FAULTS_PLANS"),
    # Tests and benches shorten a lane's minute.
    "PACE_MINUTE_SECONDS",
    # Tests and benches make small jobs of the economy tier, and look for lost ones soon.
    *("ECONOMY_RESULT_BYTES", "ECONOMY_LIST_SECONDS"),
    *("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"),
    *PROXIES,
    *map(str.lower, PROXIES),
)


def template_parameters(settings: Settings, key_set_url: str) -> dict[str, str]:
    """Return the values of template.yaml's parameters."""
    parameters = {
        "Stage": STAGE,
        "JwtIssuer": ISSUER,
        "JwtAudience": AUDIENCE,
        "JwtJwksUrl": key_set_url,
        "ApiDatabaseSecretArn": API_DATABASE_SECRET,
        "WorkerDatabaseSecretArn": WORKER_DATABASE_SECRET,
        "PlatformApiKeySecretArn": PLATFORM_KEY_SECRET,
        # Tokens of `make token` for an invited person carry a confirmed e-mail address.
        "ConfirmedEmails": "claim",
        **settings.parameters,
    }
    if settings.concurrency is not None:
        parameters["MaxConcurrencyDefault"] = str(settings.concurrency)
        parameters["MaxConcurrencyLimit"] = str(settings.concurrency)
    return parameters


def function_variables(
    function: LambdaFunction,
    *,
    aws_url: str,
    model_url: str | None,
    credentials: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the environment of a function, without the variables that Lambda itself adds.

    `model_url` None means Google's own address. `credentials` replaces the key variables.
    """
    variables = {name: os.environ[name] for name in INHERITED if name in os.environ}
    variables |= function.variables
    variables |= {name: value for name, value in RESOURCES.items() if name in function.variables}
    variables |= {
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        **(credentials or key_variables(function)),
        "AWS_ENDPOINT_URL_S3": aws_url,
        "AWS_ENDPOINT_URL_SFN": aws_url,
        "AWS_ENDPOINT_URL_LAMBDA": aws_url,
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws_url,
        "ECONOMY_POLL_SECONDS": os.environ.get("ECONOMY_POLL_SECONDS") or LOCAL_POLL_SECONDS,
    }
    if model_url is not None:
        variables["GOOGLE_GEMINI_BASE_URL"] = model_url
    return variables


def key_variables(function: LambdaFunction) -> dict[str, str]:
    """Return the credentials that Lambda gives without SnapStart."""
    return {
        "AWS_ACCESS_KEY_ID": caller_key(function.log_name),
        "AWS_SECRET_ACCESS_KEY": "local",
    }


def aws_configuration(
    settings: Settings, template: Template, keys: Keys, urls: DatabaseUrls, lambda_url: str
) -> dict[str, Any]:
    """Return the configuration that `local.aws` reads from its standard input."""
    return {
        "directory": str(settings.directory / "s3"),
        "calls": str(settings.logs / "aws-calls.jsonl"),
        "lambda_url": lambda_url,
        "state_machines": [
            {"name": machine.name, "definition": machine.definition}
            for machine in template.state_machines
        ],
        "secrets": {
            API_DATABASE_SECRET: urls.api,
            WORKER_DATABASE_SECRET: urls.worker,
            IDENTITY_SECRET: keys.secret("identity-key"),
            SEALING_SECRET: keys.sealing_keys(),
            WEBHOOK_SECRET: keys.secret("webhook-secret"),
            PLATFORM_KEY_SECRET: os.environ.get("GEMINI_API_KEY") or "the-stand-in-takes-any-key",
        },
        "buckets": {RESULTS_BUCKET: settings.public_images, UPLOADS_BUCKET: False},
        "rules": [[rule.function, dict(rule.pattern)] for rule in template.event_rules],
    }


def bypass_proxies(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables that exclude this machine from a configured proxy."""
    listed = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    value = ",".join(filter(None, [listed, "127.0.0.1,localhost"]))
    return {"NO_PROXY": value, "no_proxy": value}
