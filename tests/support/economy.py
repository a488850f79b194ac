"""An execution of the economy tier in this process: its steps as the state machine calls them, with
a real database and the local S3, on a clock that tests move."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import psycopg
from psycopg.types.json import Jsonb

from masstock.database.queries import economy_jobs
from masstock.database.queries.claims import ClaimedElsewhere, MustWait
from masstock.database.queries.economy_lines import claim_line
from masstock.database.worker import Worker
from masstock.errors import NotFinished
from masstock.schemas.engine import Batch, ExecutionRun
from masstock.settings import EconomySettings, FanoutSettings, GenerateSettings
from masstock_fanout.fan_out import fan_out
from masstock_finalize.ending import end_run
from masstock_generate import pacing
from masstock_generate.economy.copy import copy
from masstock_generate.economy.poll import poll
from masstock_generate.economy.submit import submit
from masstock_generate.economy.work import EconomyRun, what_next
from masstock_generate.lease import Lease, lease_seconds
from masstock_generate.painting import settle
from tests.support.batch_provider import MODEL, Died, FakeBatches
from tests.support.demo_data import ACME, JOHN_OF_ACME
from tests.support.handler import RESULTS_BUCKET, UPLOADS_BUCKET

PRICE, HALF = 38_700, 19_350
STEPS = {"submit": submit, "copy": copy}
# Longer than every lease, and than the time before a job is looked for.
A_WHILE = 100.0
ENVIRONMENT = {
    "DATABASE_SECRET_ID": "worker",
    "SEALING_SECRET_ID": "sealing",
    "RESULTS_BUCKET": RESULTS_BUCKET,
    "UPLOADS_BUCKET": UPLOADS_BUCKET,
    "IMAGE_ACCESS": "signed",
    "MODEL_TIMEOUT_SECONDS": "5",
    "PLATFORM_API_KEY_SECRET_ID": "platform",
    "ECONOMY_POLL_SECONDS": "1",
    "MAX_CONCURRENCY_DEFAULT": "5",
    "MAX_CONCURRENCY_LIMIT": "5",
}


@dataclass
class Machine:
    """One execution and the machine that runs it."""

    superuser: psycopg.Connection[Any]
    worker: Worker
    provider: FakeBatches
    run: ExecutionRun
    environment: dict[str, str]

    def turn(self, batch: Batch | None) -> Batch:
        """One step. None begins a run."""
        if batch is None or batch["next"] == "fanout":
            return fan_out(self.worker, self.run, FanoutSettings(self.environment))
        if batch["next"] == "paint":
            for index in batch["indices"]:
                self._generate(index, batch["tier"])
            if batch["tier"] == "standard":
                return batch | {"next": "end"}  # pyright: ignore[reportReturnType]
        settings = EconomySettings(self.environment)
        if found := economy_jobs.fetch_situation(self.worker, self.run):
            work = STEPS.get(batch["next"], poll)
            work(EconomyRun(self.worker, self.run, settings, found[0]))
        return what_next(self.worker, self.run, settings, batch["max_concurrency"])

    def go(self, most: int = 60) -> dict[str, Any]:
        """Runs to the end, also over crashes. Returns the execution. The provider works while the
        machine waits."""
        batch: Batch | None = None
        for _ in range(most):
            try:
                batch = self.turn(batch)
                if batch["next"] == "end":
                    end_run(self.worker, self.run, NotFinished())
                    return self.execution()
            except Died:
                self.pass_time(A_WHILE)
                batch = None
                continue
            if batch["next"] == "wait":
                self.provider.work()
                self.pass_time(A_WHILE)
        raise AssertionError(f"no end: {batch}")

    def _generate(self, index: int, tier: str) -> None:
        settings = GenerateSettings(self.environment)
        lease = Lease(lease_seconds(settings.model_timeout_seconds))
        if tier == "economy":
            claim = claim_line(self.worker, self.run.execution_id, index, lease.seconds)
        else:
            claim = pacing.claim(self.worker, self.run.execution_id, index, lease, settings)
        assert not isinstance(claim, MustWait)
        if claim is not None and not isinstance(claim, ClaimedElsewhere):
            settle(self.worker, claim, settings, lease)

    # --- what tests do and see -------------------------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        """Moves every time of the jobs and of the claims into the past."""
        self.sql(
            "UPDATE public.economy_jobs SET next_look_at = next_look_at - s.time,"
            " claimed_until = claimed_until - s.time, refused_until = refused_until - s.time,"
            " create_sent_at = create_sent_at - s.time, cancelled_at = cancelled_at - s.time,"
            " collect_at = collect_at - s.time, submitted_at = submitted_at - s.time"
            " FROM (SELECT make_interval(secs => %s) AS time) AS s WHERE execution_id = %s",
            seconds,
            self.run.execution_id,
        )
        self.sql(
            "UPDATE public.workflow_batch_results SET claimed_until = claimed_until"
            " - make_interval(secs => %s) WHERE execution_id = %s",
            seconds,
            self.run.execution_id,
        )

    def sql(self, query: Any, *values: Any) -> list[dict[str, Any]]:
        """Runs a statement as the superuser."""
        cursor = self.superuser.execute(query, values)
        return cursor.fetchall() if cursor.description else []

    def change(self, **columns: Any) -> None:
        """Changes columns of the execution."""
        for name, value in columns.items():
            query = psycopg.sql.SQL("UPDATE public.workflow_executions SET {} = %s WHERE id = %s")
            self.sql(query.format(psycopg.sql.Identifier(name)), value, self.run.execution_id)

    def execution(self) -> dict[str, Any]:
        """The row of the execution."""
        [row] = self.sql(
            "SELECT * FROM public.workflow_executions WHERE id = %s", self.run.execution_id
        )
        return row

    def rows(self) -> list[dict[str, Any]]:
        """The rows of the results."""
        return self.sql(
            "SELECT * FROM public.workflow_batch_results WHERE execution_id = %s"
            " ORDER BY batch_index",
            self.run.execution_id,
        )

    def jobs(self) -> list[dict[str, Any]]:
        """The rows of the jobs."""
        return self.sql(
            "SELECT * FROM public.economy_jobs WHERE execution_id = %s ORDER BY number",
            self.run.execution_id,
        )

    def ledger(self) -> dict[str, int]:
        """What was charged by tier, and what is still reserved."""
        rows = self.sql(
            "SELECT tier, sum(charged_microusd)::bigint AS charged,"
            " sum(reserved_microusd)::bigint AS reserved FROM public.spend_ledger"
            " WHERE execution_id = %s GROUP BY tier",
            self.run.execution_id,
        )
        charged = {row["tier"]: row["charged"] for row in rows if row["charged"]}
        return charged | {"reserved": sum(row["reserved"] for row in rows)}


def begin(
    superuser: psycopg.Connection[Any],
    worker: Worker,
    provider: FakeBatches,
    prompts: list[str],
    **more: Any,
) -> Machine:
    """A machine for a new execution of the economy tier. `more` are columns of the execution."""
    execution_id, workflow_id = uuid4(), uuid4()
    config = {"workflow_type": "nano_banana", "model": MODEL}
    fails = more.get("on_economy_failure") == "fail"
    columns = {
        "id": execution_id,
        "workflow_id": workflow_id,
        "client_id": ACME,
        "user_id": JOHN_OF_ACME,
        "input_data": Jsonb({"prompts": prompts}),
        "tier": "economy",
        "on_economy_failure": "standard",
        "estimate_microusd": HALF * len(prompts),
        "reserve_microusd": None if fails else PRICE * len(prompts),
        **more,
    }
    superuser.execute(
        "INSERT INTO public.workflows (id, name, status, config)"
        " VALUES (%s, 'for a test', 'active', %s)",
        [workflow_id, Jsonb(config)],
    )
    names = psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, columns))
    places = psycopg.sql.SQL(", ").join(psycopg.sql.Placeholder() * len(columns))
    query = psycopg.sql.SQL("INSERT INTO public.workflow_executions ({}) VALUES ({})")
    superuser.execute(query.format(names, places), list(columns.values()))
    run = ExecutionRun(execution_id, 0)
    return Machine(superuser, worker, provider, run, dict(ENVIRONMENT))
