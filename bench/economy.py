"""The economy tier: its cost beside the standard tier's, what crashes cost, its time and memory.

The stand-in model paints the jobs. A job's own time is what the stand-in takes for it.
"""

import hashlib
import json
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

from bench import stack
from bench.environment import SCRATCH
from bench.measure import CannotRun, Row
from bench.stack import Stack
from local.settings import ROOT
from masstock.catalogue.image_models import halved
from tests.crash.faults.sitecustomize import STEPS

COST_PROMPTS = 200
QUICK_WALL_PROMPTS, FULL_WALL_PROMPTS = 300, 1000
LARGE_BYTES, SMALL_BYTES = 1_000_000_000, 50_000_000
POLL = {"ECONOMY_POLL_SECONDS": "1", "ECONOMY_LIST_SECONDS": "3"}


def run(names: list[str], *, full: bool) -> Iterator[Row]:
    """The rows `economy_*`."""
    if {"economy_cost", "economy_wall"} & set(names):
        with stack.running("economy", concurrency=4, **POLL) as scene:
            if "economy_cost" in names:
                yield cost(scene)
            if "economy_wall" in names:
                yield wall(scene, FULL_WALL_PROMPTS if full else QUICK_WALL_PROMPTS)
    if "economy_paid_twice" in names:
        plans = SCRATCH / "economy-plans"
        plans.mkdir(parents=True, exist_ok=True)
        faults = {"FAULTS_DIR": str(ROOT / "tests/crash/faults"), "FAULTS_PLANS": str(plans)}
        with stack.running("economy-crashes", concurrency=8, **POLL, **faults) as scene:
            yield paid_twice(scene)
    if "economy_memory" in names:
        yield memory()


def submit(scene: Stack, prompts: list[str], tier: str, key: str) -> str:
    body = {"workflow_id": scene.workflow_id, "prompts": prompts, "api_key": key, "tier": tier}
    return scene.api.post("/v1/executions", body | {"seed": 1}, str(uuid.uuid4())).json()["id"]


def cost(scene: Stack) -> Row:
    """The ledger of the same prompts in both tiers. Each image is halved by itself."""
    prompts = [f"a crate of apples, number {number}" for number in range(COST_PROMPTS)]
    costs: dict[str, list[int]] = {}
    for tier in ("standard", "economy"):
        execution_id = submit(scene, prompts, tier, f"the-key-of-{tier}")
        scene.wait(execution_id)
        rows = list(scene.api.items(f"/v1/executions/{execution_id}/results", limit=200))
        if {row["tier"] for row in rows} != {tier} or len(rows) != COST_PROMPTS:
            raise CannotRun(f"the tier {tier} did not paint every prompt")
        costs[tier] = [row["cost_microusd"] for row in rows]
    half = sum(map(halved, costs["standard"]))
    details = {"standard_microusd": sum(costs["standard"]), "prompts": COST_PROMPTS}
    return Row("economy_cost", sum(costs["economy"]), half, "half of standard", "µ$", details)


def wall(scene: Stack, prompts: int) -> Row:
    """Time beyond the job's own, beside the same prompts painted directly in no time."""
    scene.tell_model(seconds=0)
    scene.warm(4)
    scene.tell_model(seconds=0)
    direct = scene.paint(prompts)
    key = f"the-key-of-{prompts}"
    texts = [f"prompt number {number} of a batch" for number in range(prompts)]
    began = time.time()
    execution_id = submit(scene, texts, "economy", key)
    own = _own_seconds(scene, key)
    output = scene.wait(execution_id)
    whole = time.time() - began
    if output.get("successful") != prompts:
        raise CannotRun(f"the economy tier ended with {output}")
    details = {"job_seconds": round(own, 1), "prompts": prompts}
    return Row("economy_wall", whole - own, direct, "painted directly", "s wall", details)


def _own_seconds(scene: Stack, key: str) -> float:
    """Seconds from the creation of the key's jobs to the end of the last one."""
    began = 0.0
    while True:
        jobs = _jobs(scene, key)
        began = began or (time.time() if jobs else 0.0)
        if jobs and all(job["state"] == "SUCCEEDED" for job in jobs):
            return time.time() - began
        time.sleep(0.05)


def _jobs(scene: Stack, key: str) -> list[dict[str, Any]]:
    digest = hashlib.sha256(key.encode()).hexdigest()
    with urllib.request.urlopen(scene.access["model_url"] + "/_jobs", timeout=10) as answer:
        return [job for job in json.load(answer) if job["api_key_sha256"] == digest]


def paid_twice(scene: Stack) -> Row:
    """Lines that the provider painted, beside the images wanted, when the function dies before and
    after each step."""
    cases = [
        f"economy.{step} {moment}" for step in STEPS["economy"] for moment in ("before", "after")
    ]
    ids = [
        submit(scene, [f"crash {case} kill 1 #{number}" for number in range(2)], "economy", case)
        for case in cases
    ]
    for execution_id in ids:
        if scene.wait(execution_id).get("successful") != 2:
            raise CannotRun(f"{execution_id} lost an image")
    with urllib.request.urlopen(scene.access["model_url"] + "/_calls", timeout=30) as answer:
        painted = sum(call["prompt"].startswith("crash ") for call in json.load(answer))
    details = {"crashes": len(cases)}
    return Row("economy_paid_twice", painted, 2 * len(cases), "images wanted", "images", details)


def memory() -> Row:
    """The peak of a process that copies a large result, beside a small one."""
    large, small = _peak(LARGE_BYTES), _peak(SMALL_BYTES)
    return Row("economy_memory", large, small, "a result of 50 MB", "MB", {})


def _peak(size: int) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "bench.copy_result", str(size)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotRun(done.stderr[-300:])
    return float(done.stdout)
