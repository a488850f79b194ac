"""The commands that `make up` and `make demo STAY=1` print do what they say."""

import io
import json
import subprocess
from pathlib import Path
from uuid import uuid4

from PIL import Image
from rich.console import Console

from local import lifecycle
from local.calls import WAIT_SECONDS
from local.demo import report
from local.settings import Settings
from tests.e2e.conftest import WORKFLOW, Stack
from tests.support.demo_data import ACME


def run(script: str, folder: Path) -> list[str]:
    """Run the printed script and return its lines; the image is written to `folder`."""
    # `make` would install the environment first.
    make = 'make() { .venv/bin/python -m local token --user "${3#USER=}"; }\n'
    script = make + script.replace("fox.png", f"{folder}/fox.png")
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=lifecycle.ROOT,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def check(lines: list[str], folder: Path) -> None:
    ended, refused = map(json.loads, lines)
    assert ended["status"] == "completed"
    assert (refused["status"], refused["code"]) == (404, "not_found")
    with Image.open(folder / "fox.png") as image:
        image.verify()


def test_the_calls_that_up_prints_wait_for_the_image(stack: Stack, tmp_path: Path) -> None:
    # The image takes longer than the script's other commands.
    stack.rule({"match": "a red fox", "behave": "ok", "delay_ms": 3000})
    settings = Settings.from_environment({"LOCAL_DIR": str(stack.directory)})
    printed = lifecycle.describe(settings, stack.access)
    assert f"LOCAL_DIR={stack.directory}" in printed
    check(run(printed[printed.index("# Submit") :], tmp_path), tmp_path)


def test_the_calls_that_the_demo_prints_wait_for_the_image(stack: Stack, tmp_path: Path) -> None:
    stack.rule({"match": "a red fox", "behave": "ok", "delay_ms": 3000})
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as capture:
        report.print_calls(console, stack.access, WORKFLOW, "demo-key-1")
    printed = capture.get()
    check(run(printed[printed.index("A=") :], tmp_path), tmp_path)


def test_an_invited_person_gets_a_token_that_claims_the_invitation(stack: Stack) -> None:
    email = f"{uuid4()}@client.example"
    invitation = {
        "email": email,
        "name": "New",
        "role": "client",
        "client_id": str(ACME),
        "invited_until": "2035-01-01T00:00:00Z",
    }
    invited = stack.call("admin", "POST", "/v1/users", json=invitation).json()
    settings = Settings.from_environment({"LOCAL_DIR": str(stack.directory)})
    stack.access["tokens"]["invited"] = lifecycle.token(settings, email)
    me = stack.call("invited", "GET", "/v1/me").json()
    assert (me["email"], me["client_id"]) == (email, str(ACME))
    assert me["id"] != invited["id"]
    # From now on `make token` names the account.
    stack.access["tokens"]["invited"] = lifecycle.token(settings, email)
    assert stack.call("invited", "GET", "/v1/me").json() == me
