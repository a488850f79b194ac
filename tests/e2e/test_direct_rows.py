"""Rows inserted past the api, by SQL as the database's owner."""

from uuid import uuid4

from psycopg.types.json import Jsonb

from tests.e2e.conftest import Stack
from tests.support.databases import connected
from tests.support.demo_data import ACME, JOHN_OF_ACME


def test_a_workflow_of_unknown_type_fails_without_a_call_to_the_model(stack: Stack) -> None:
    workflow_id, execution_id = uuid4(), uuid4()
    prompts = [f"of unknown type {n}" for n in range(3)]
    with connected(stack.access["database_url"]) as owner:
        owner.execute(
            "INSERT INTO public.workflows (id, name, status, config)"
            " VALUES (%s, 'of unknown type', 'active', %s)",
            [workflow_id, Jsonb({"workflow_type": "upscale", "model": "gemini-2.5-flash-image"})],
        )
        # Created a minute ago, so that the next sweep starts it.
        owner.execute(
            "INSERT INTO public.workflow_executions"
            " (id, workflow_id, client_id, user_id, input_data, created_at)"
            " VALUES (%s, %s, %s, %s, %s, now() - interval '1 minute')",
            [execution_id, workflow_id, ACME, JOHN_OF_ACME, Jsonb({"prompts": prompts})],
        )
    execution = stack.wait(str(execution_id), 60)
    with connected(stack.access["database_url"]) as owner:
        # Other tests list the workflows, and the OpenAPI document does not have this type.
        owner.execute(
            "UPDATE public.workflows SET status = 'inactive', config = %s WHERE id = %s",
            [Jsonb({"workflow_type": "nano_banana", "model": "any"}), workflow_id],
        )
    assert (execution["status"], execution["error_code"]) == ("failed", "unknown_workflow_type")
    results = stack.results(str(execution_id))
    assert [row["prompt_text"] for row in results] == prompts
    assert {row["error_code"] for row in results} == {"unknown_workflow_type"}
    assert stack.calls("of unknown type") == []
