"""The surroundings of a measured function: Postgres with a tenant's rows, stand-ins for the other
services, and the environment variables of the template."""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID, uuid4

import jwt
import psycopg
from psycopg.types.json import Jsonb
from werkzeug.test import EnvironBuilder

from bench import environment
from bench.measure import CannotRun
from bench.stand_in import KEY_SET_PATH, StandIn
from local import database, wiring
from local.aws.http_api import build_event
from local.aws.resources import LambdaFunction
from local.aws.template import read_template
from local.database import DatabaseUrls
from local.keys import AUDIENCE, ISSUER, USERS, Keys
from local.processes.postgres import PostgresServer
from local.settings import ROOT, Settings
from masstock.services import sealing

LAYER = environment.BUILD / "CommonLayer" / "python"
# A client and a workflow of the seed.
TENANT = UUID("456e7890-e89b-12d3-a456-426614174001")
WORKFLOW = UUID("789e1234-e89b-12d3-a456-426614174002")
JWT_SECRET = "jwt"
REQUEST_ID = "52fdfc07-2182-454f-963f-5f0f9a621d72"
# More than two pages.
EXECUTIONS = 120
# Results of each of these.
RESULTS = 20
# Prompts of an execution that `submit` makes.
PROMPTS = 100

type Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stage:
    """The surroundings, set up. `token` is a bearer token of one of the tenant's users."""

    urls: DatabaseUrls
    keys: Keys
    stand_in: StandIn
    functions: Mapping[str, LambdaFunction]
    token: str

    def variables(self, name: str) -> dict[str, str]:
        """All variables of a function, such as `ApiFunction`: as deployed, except for addresses."""
        function = self.functions[name]
        url = self.stand_in.url
        given = wiring.function_variables(function, aws_url=url, model_url=url)
        return {
            **{name: value for name, value in given.items() if name not in wiring.INHERITED},
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
        }

    def get(self, path: str, token: str | None = None) -> Event:
        """The gateway's event for a GET request of one of the tenant's users."""
        headers = {"Authorization": f"Bearer {token or self.token}", "User-Agent": "bench"}
        request = EnvironBuilder(path, headers=headers).get_request()
        return build_event(request, b"", REQUEST_ID)

    def execute(self, query: LiteralString, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Runs a statement as the owner of the database; returns its rows."""
        with psycopg.connect(self.urls.owner, autocommit=True) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def shared_secret_token(self) -> str:
        """A token signed with the shared secret JWT_SECRET instead of a published key."""
        now = int(time.time())
        claims = {
            "sub": USERS["client_a"],
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 86400,
        }
        return jwt.encode(claims, self.stand_in.secrets[JWT_SECRET], "HS256")

    def submit(self, status: str = "pending", *, prompts: str | None = None) -> UUID:
        """Inserts an execution in this status. `prompts` is the status of its result rows; None
        inserts no result rows."""
        execution_id = uuid4()
        api_key = sealing.seal(
            "a-key-for-the-stand-in", TENANT, execution_id, self.keys.sealing_keys()
        )
        texts = [f"a cat wearing sunglasses, number {number}" for number in range(PROMPTS)]
        self.execute(
            """
            INSERT INTO public.workflow_executions
                (id, workflow_id, client_id, user_id, status, input_data, started_at, deadline_at)
            VALUES (%s, %s, %s, %s, %s, %s, now(), now() + interval '6 hours')
            """,
            [
                execution_id,
                WORKFLOW,
                TENANT,
                USERS["client_a"],
                status,
                Jsonb({"prompts": texts, "api_key": api_key}),
            ],
        )
        if prompts is not None:
            self.execute(
                """
                INSERT INTO public.workflow_batch_results
                    (execution_id, client_id, batch_index, prompt_text, status)
                SELECT %s, %s, number, 'a cat wearing sunglasses', %s
                FROM generate_series(0, %s) AS number
                """,
                [execution_id, TENANT, prompts, PROMPTS - 1],
            )
        return execution_id


@contextmanager
def set_up(name: str) -> Iterator[Stage]:
    """A stage in the directory of this name, deleted at the end of the block."""
    if not (LAYER / "masstock").is_dir():
        raise CannotRun("nothing is built here: run `make package` first")
    directory = environment.SCRATCH / name
    shutil.rmtree(directory, ignore_errors=True)
    server = PostgresServer(directory / "postgres", fsync=False)
    keys = Keys(directory / "keys")
    try:
        urls = database.prepare(database.create_database(server.start()), keys)
        database.seed(urls.owner, embedded=True)
        secrets = {
            wiring.API_DATABASE_SECRET: urls.api,
            wiring.WORKER_DATABASE_SECRET: urls.worker,
            wiring.IDENTITY_SECRET: keys.secret("identity-key"),
            wiring.SEALING_SECRET: keys.sealing_keys(),
            wiring.WEBHOOK_SECRET: keys.secret("webhook-secret"),
            JWT_SECRET: keys.secret("shared-with-the-issuer"),
        }
        with StandIn(keys.key_set(), secrets) as stand_in:
            settings = Settings(
                directory=directory,
                port=None,
                concurrency=None,
                database_url=None,
                real_model=False,
                model_url=None,
                sweep_seconds=None,
                concurrent_executions=None,
                event_retry_seconds=None,
                parameters={},
            )
            parameters = wiring.template_parameters(settings, stand_in.url + KEY_SET_PATH)
            template = read_template(ROOT / "template.yaml", parameters)
            functions = {function.logical_id: function for function in template.functions}
            stage = Stage(urls, keys, stand_in, functions, keys.mint(USERS["client_a"]))
            _give_history(stage)
            yield stage
    finally:
        server.destroy()
        shutil.rmtree(directory, ignore_errors=True)


def _give_history(stage: Stage) -> None:
    """Inserts ended executions of the tenant, a minute apart, with their results."""
    stage.execute(
        """
        INSERT INTO public.workflow_executions
            (workflow_id, client_id, user_id, status, input_data, output_data, started_at,
             completed_at, duration_seconds, created_at, estimate_microusd, cost_microusd)
        SELECT %s, %s, %s, 'completed',
            jsonb_build_object('prompts', (
                SELECT jsonb_agg('a cat wearing sunglasses, number ' || prompt)
                FROM generate_series(1, %s) AS prompt)),
            '{"successful": 20, "failed": 0, "total": 20, "cost_microusd": 774000}', at, at, 330,
            at, 774000, 774000
        FROM (SELECT now() - number * interval '1 minute' FROM generate_series(1, %s) AS number)
            AS moments (at)
        """,
        [WORKFLOW, TENANT, USERS["client_a"], RESULTS, EXECUTIONS],
    )
    stage.execute(
        """
        INSERT INTO public.workflow_batch_results
            (execution_id, client_id, batch_index, prompt_text, status, result_storage_path,
             processing_time_ms, mime_type, size_bytes, cost_microusd, attempts, completed_at)
        SELECT e.id, e.client_id, number, 'a cat wearing sunglasses', 'completed',
            e.id || '/' || number || '_1763892000.png', 3500, 'image/png', 1000000, 38700, 1, now()
        FROM public.workflow_executions e, generate_series(0, %s) AS number
        WHERE e.prompt_count = %s
        """,
        [RESULTS - 1, RESULTS],
    )
    stage.execute("ANALYZE")
