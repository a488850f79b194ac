"""S3, Step Functions and Secrets Manager in one process, made from moto. Passes on Lambda invokes.

`python -m local.aws PORT` reads its configuration from standard input. It is a JSON object with the
members directory, calls, lambda_url, state_machines [{name, definition}], secrets {name: value},
buckets {name: public} and rules [[function, pattern]].
"""

import gc
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moto.core.config import default_user_config
from moto.moto_server.werkzeug_app import create_backend_app
from moto.s3.models import s3_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.stepfunctions.parser.models import stepfunctions_parser_backends

from local.aws import calls, checksums, lambda_api, objects, step_functions
from local.aws.resources import ACCOUNT, REGION
from local.processes.servers import ThreadedServer

HEALTH_PATH = "/_health"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/masstock-local"


def main() -> None:
    """Serve until the process is killed."""
    os.environ["MOTO_PORT"] = sys.argv[1]
    configuration = json.load(sys.stdin)
    store = objects.ObjectStore(Path(configuration["directory"]))
    patch(store, configuration)
    fill(store, configuration)
    # A collection after a large request looks at what came later only.
    gc.freeze()
    application = calls.recording(
        Path(configuration["calls"]), store.committing(dispatcher(configuration["lambda_url"]))
    )
    ThreadedServer(application, int(sys.argv[1]))
    threading.Event().wait()


def patch(store: objects.ObjectStore, configuration: dict[str, Any]) -> None:
    """Change moto where it differs from AWS. This must happen before its first use."""
    # Without this, moto stores executions and does not run them.
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    endpoint = step_functions.LambdaEndpoint(configuration["lambda_url"])
    objects.keep_objects_in(store)
    objects.join_uploads_in(store)
    objects.know_uploads()
    step_functions.invoke_functions_at(endpoint)
    step_functions.parse_paths_once()
    step_functions.loop_over_items()
    step_functions.forget_threads()
    step_functions.start_one_at_a_time()
    step_functions.stop_at_once()
    step_functions.report_failures(step_functions.deliver_events(configuration["rules"], endpoint))


def fill(store: objects.ObjectStore, configuration: dict[str, Any]) -> None:
    """Create the buckets, objects, secrets and state machines that a deployment has."""
    buckets: dict[str, bool] = configuration["buckets"]
    store.load(list(buckets))
    for name, public in buckets.items():
        if public:
            s3_backends[ACCOUNT]["aws"].put_bucket_policy(name, public_read_policy(name).encode())
    secrets = secretsmanager_backends[ACCOUNT][REGION]
    for name, value in configuration["secrets"].items():
        secrets.create_secret(
            name,
            secret_string=value,
            secret_binary=None,
            description=None,
            tags=None,
            kms_key_id=None,
            client_request_token=None,
            replica_regions=[],
            force_overwrite=False,
        )
    machines = stepfunctions_parser_backends[ACCOUNT][REGION]
    for machine in configuration["state_machines"]:
        machines.create_state_machine(machine["name"], machine["definition"], ROLE)


def public_read_policy(bucket: str) -> str:
    """Return the bucket policy that template.yaml sets for ImageAccess=public."""
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": "*",
                    "Action": "s3:GetObject",
                    "Resource": f"arn:aws:s3:::{bucket}/*",
                }
            ],
        }
    )


def dispatcher(lambda_url: str) -> Callable:
    """Return the WSGI application that passes each request to the service of its protocol."""
    invocations = lambda_api.passing_on(step_functions.LambdaEndpoint(lambda_url))
    applications = {
        service: create_backend_app(service)  # pyright: ignore
        for service in ("s3", "stepfunctions", "secretsmanager")
    }
    applications["s3"] = checksums.verifying(applications["s3"])

    def dispatch(environ: dict[str, Any], start_response: Callable) -> Any:
        if environ["PATH_INFO"] == HEALTH_PATH:
            start_response("200 OK", [("content-type", "text/plain")])
            return [b"ok"]
        if environ["PATH_INFO"].startswith(lambda_api.INVOKE_PREFIX):
            return invocations(environ, start_response)
        # The other two services name the operation in this header. S3 does not.
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        service = {"AWSStepFunctions": "stepfunctions", "secretsmanager": "secretsmanager"}.get(
            target.partition(".")[0], "s3"
        )
        return applications[service](environ, start_response)

    return dispatch


if __name__ == "__main__":
    main()
