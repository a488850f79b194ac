"""Makes a function crash at the step that a prompt names.

A stack started with FAULTS_DIR puts this directory on the path of its functions, where Python
imports `sitecustomize` at each start. A prompt that begins with `crash POINT MOMENT KIND TIMES
SHAPE` plans the crash of its execution: before or after the named step, by SIGKILL or by an
exception. FAULTS_PLANS holds one file for each crash that is still to happen, because the processes
die.
"""

import functools
import importlib
import importlib.abc
import importlib.machinery
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

HANDLERS = ("api", "fanout", "generate", "economy", "finalize")
_INSERT = ("masstock.database.queries.executions", "insert_execution")
_START = ("masstock.services.state_machine", "StateMachine.start")
# What callers ask of the api beside a submission: the last part of the path.
ACTIONS = {
    "retry": {
        "reopen": ("masstock.database.queries.executions", "reopen_failed"),
        "start": _START,
    },
    "resume": {
        "resume": ("masstock.database.queries.canaries", "resume_execution"),
        "start": _START,
    },
    "clone": {
        "order": ("masstock_api.clones", "order_of"),
        "insert": _INSERT,
        "start": _START,
    },
}
# The module and name of each step, after the import of the handler's module.
STEPS = {
    "api": {"insert": _INSERT, "start": _START},
    "fanout": {
        "mark": ("masstock.database.queries.executions", "start_execution"),
        "fan_out": ("fanout", "fan_out"),
    },
    "generate": {
        "claim": ("masstock.database.queries.claims", "claim_prompt"),
        "paint": ("masstock_generate.providers.gemini", "paint"),
        "put": ("masstock.services.storage", "Results.put"),
        "reuse": ("masstock.services.storage", "Results.reuse"),
        "thumbnail": ("masstock.services.storage", "Results.put_thumbnail"),
        "complete": ("masstock.database.queries.claims", "complete_prompt"),
        "leave": ("masstock.database.queries.claims", "leave_lane"),
        "release": ("masstock.database.queries.claims", "release_prompt"),
        "fail": ("masstock.database.queries.claims", "fail_prompt"),
        "stop": ("masstock.database.queries.executions", "stop_execution"),
        "miss": ("masstock.database.queries.gone_models", "miss_model"),
        "fall_back": ("masstock.database.queries.gone_models", "fall_back"),
        "claim_line": ("generate", "claim_line"),
        "collect": ("masstock_generate.painting", "read_claimed_line"),
    },
    "economy": {
        "plan": ("masstock.database.queries.economy_plans", "plan_jobs"),
        "upload": ("masstock_generate.providers.gemini_batches", "upload"),
        "create": ("masstock_generate.providers.gemini_batches", "create"),
        "keep": ("masstock.database.queries.economy_jobs", "keep_job"),
        "look": ("masstock_generate.providers.gemini_batches", "look"),
        "copy": ("masstock.services.result_copies", "CopyWriter.finish"),
        "note": ("masstock.database.queries.economy_jobs", "keep_copied_job"),
        "tidy": ("masstock_generate.economy.poll", "delete_copy"),
        "next": ("economy", "what_next"),
    },
    "finalize": {
        "finalize": ("finalize", "end_run"),
        "canary": ("finalize", "settle_canary"),
        "go_on": _START,
        "deliver": ("masstock.database.queries.webhook_deliveries", "claim_first_delivery"),
        "record": ("masstock.database.queries.webhook_deliveries", "record_attempt"),
    },
}
# Of the builder of archives, which is in the module of finalize.
ARCHIVE_STEPS = {
    "claim": ("masstock.database.queries.archives", "claim_part"),
    "read": ("masstock.services.storage", "Results.read"),
    "begin": ("masstock.services.archive_storage", "Archives.new_upload"),
    "send": ("masstock.services.archive_storage", "ArchiveUpload._send"),
    "finish": ("masstock.services.archive_storage", "ArchiveUpload.finish"),
    "measure": ("masstock.services.archive_storage", "Archives.size_of"),
    "complete": ("masstock.database.queries.archives", "complete_part"),
}
# Of the sweep, for the executions whose images it removes.
RETENTION_STEPS = {
    "expire": ("masstock.database.queries.sweeps", "expire_images"),
    "images": ("masstock.services.storage", "Results.remove_all"),
    "archives": ("masstock.services.archive_storage", "Archives.remove_all"),
    "forget": ("masstock.database.queries.sweeps", "forget_deleted_execution"),
}
# Instead of 105: the claim of a killed function lasts this long beside the model's timeout.
BESIDE_MODEL_SECONDS = 45

plans = Path(os.environ.get("FAULTS_PLANS", "/nonexistent"))
current = {"execution": "", "action": ""}


class Crash(Exception):
    """An error that no Retry of the state machine names."""


def install(handler: ModuleType) -> None:
    function = handler.__name__
    install_steps(function, STEPS[function])
    handler.lambda_handler = remembering(handler.lambda_handler)
    if function == "api":
        for action, steps in ACTIONS.items():
            install_steps(action, steps)
    if function == "finalize":
        install_steps("archive", ARCHIVE_STEPS)
        install_steps("retention", RETENTION_STEPS)
    if function == "generate":
        lease: Any = importlib.import_module("masstock_generate.lease")
        lease.BESIDE_MODEL_SECONDS = BESIDE_MODEL_SECONDS


def install_steps(function: str, steps: dict[str, tuple[str, str]]) -> None:
    for step, (module, path) in steps.items():
        *owners, name = path.split(".")
        # Some modules are imported at their first use.
        owner: Any = importlib.import_module(module)
        for each in owners:
            owner = getattr(owner, each)
        setattr(owner, name, crashing(function, step, getattr(owner, name)))


def remembering(handle: Callable[..., Any]) -> Callable[..., Any]:
    """The handler, which first records the execution of its event. That of the sweep is `sweep`."""

    @functools.wraps(handle)
    def wrapped(event: dict[str, Any], context: object) -> Any:
        current["execution"] = str(event.get("execution_id") or event.get("notify") or "")
        if event.get("sweep"):
            current["execution"] = "sweep"
        current["action"] = "api"
        if path := re.fullmatch(r"/v1/executions/([^/]+)/([a-z]+)", str(event.get("rawPath"))):
            current["execution"], current["action"] = path.groups()
        return handle(event, context)

    return wrapped


def crashing(function: str, name: str, step: Callable[..., Any]) -> Callable[..., Any]:
    """The step with the planned crash before or after it."""
    point = f"{function}.{name}"

    @functools.wraps(step)
    def wrapped(*values: Any, **named: Any) -> Any:
        if function in ("api", *ACTIONS) and current["action"] != function:
            return step(*values, **named)
        if name == "insert":
            plan(str(named["execution_id"]), named["input_data"]["prompts"][0])
        crash(f"{point} before")
        outcome = step(*values, **named)
        if point == "archive.claim":
            # The event names the archive, and the claim its execution.
            current["execution"] = str(outcome.execution_id) if outcome else ""
        crash(f"{point} after")
        return outcome

    return wrapped


def plan(execution: str, prompt: Any) -> None:
    current["execution"] = execution
    text = prompt["prompt"] if isinstance(prompt, dict) else prompt
    word, *asked = text.split(" ")[:6]
    if word != "crash":
        return
    # The plan belongs to the prompt, so that an idempotent repetition does not crash again.
    name, times = "_".join(asked), asked[3]
    folder = plans / name
    if not folder.exists():
        folder.mkdir()
        for number in range(int(times)):
            (folder / str(number)).touch()
    (plans / execution).write_text(name)


def crash(moment: str) -> None:
    """Crashes if the first plan with crashes left names this moment. Each line is a plan."""
    try:
        names = (plans / current["execution"]).read_text().splitlines()
    except OSError:
        return
    name = next((name for name in names if any((plans / name).iterdir())), None)
    if name is None:
        return
    point, when, kind, *_ = name.rsplit("_", 4)
    if f"{point} {when}" != moment:
        return
    for left in (plans / name).iterdir():
        try:
            left.unlink()
        except FileNotFoundError:
            continue
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise Crash(moment)


class Finder(importlib.abc.MetaPathFinder):
    """Finds the handlers as usual and installs the crashes after their import."""

    def find_spec(
        self, name: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in HANDLERS or path is not None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        loader: Any = spec.loader
        execute = loader.exec_module

        def execute_and_install(module: ModuleType) -> None:
            execute(module)
            install(module)

        loader.exec_module = execute_and_install
        return spec


if plans.is_dir():
    sys.meta_path.insert(0, Finder())
