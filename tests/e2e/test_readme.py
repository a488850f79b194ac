"""Every command of the README works in a fresh clone.

The commands of .ci/run are left out, because CI runs them and they include these tests. A new
command of the README is tested without a change here.
"""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.support.databases import Server, Urls
from tests.support.readme import ROOT, ci_commands, commands

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SESSION_SECONDS = 600
# The reader replaces these two values.
DATABASE_URL = "postgresql://migrator@host/db"
PROMPTS = "my-prompts.txt"
# Files that a clone does not have, and the environment, which is linked.
NOT_CLONED = shutil.ignore_patterns(
    ".git",
    ".venv",
    ".local",
    ".aws-sam",
    ".build",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    "node_modules",
)
# The commands see no other variables, and no AWS account.
KEPT_VARIABLES = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "PYENV_ROOT")
NO_ACCOUNT = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
MARK = "\x1e"
# What must be true after a command.
AFTER = {"make clean": "test ! -e .local"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A clone with the environment that `make` installs."""
    clone = tmp_path_factory.mktemp("newcomer") / "masstock"
    shutil.copytree(ROOT, clone, ignore=NOT_CLONED)
    (clone / ".venv").symlink_to((ROOT / ".venv").resolve())
    (clone / PROMPTS).write_text("a red fox\n\na blue whale\n")
    yield clone
    subprocess.run(["make", "clean"], cwd=clone, env=environment(), timeout=120, check=True)


@pytest.fixture(scope="module")
def empty_database(server: Server) -> Iterator[Urls]:
    urls = server.create_empty_database()
    yield urls
    server.drop(urls)


@pytest.fixture(scope="module")
def session(checkout: Path, empty_database: Urls) -> list[tuple[str, str]]:
    """(command, output) of each command. One shell runs them all and stops at the first error."""
    typed = [command for command in commands() if command not in ci_commands()]
    again = [command for command in typed if command.startswith("make test")]
    assert not again, "this command would run these tests again; add it to .ci/run or remove it"
    script = "set -eu\n" + "".join(
        f"printf '{MARK}'\n{command}\n{AFTER.get(command, '')}\n" for command in typed
    )
    script = script.replace(DATABASE_URL, empty_database.migrator)
    shell = subprocess.Popen(
        ["bash", "-c", script],
        cwd=checkout,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = shell.communicate(timeout=SESSION_SECONDS)
    finally:
        if shell.poll() is None:
            os.killpg(shell.pid, signal.SIGKILL)
            shell.communicate()
    printed = output.split(MARK)[1:]
    assert shell.returncode == 0, f"{typed[len(printed) - 1]} failed: {printed[-1]}"
    return list(zip(typed, printed, strict=True))


def environment() -> dict[str, str]:
    return {n: os.environ[n] for n in KEPT_VARIABLES if n in os.environ} | NO_ACCOUNT


def printed_by(session: list[tuple[str, str]], pattern: str) -> str:
    """The output of the one command that matches."""
    [printed] = [printed for command, printed in session if re.search(pattern, command)]
    return printed


def test_every_command_that_ci_does_not_run_succeeds(session: list[tuple[str, str]]) -> None:
    assert {command for command, _ in session} == set(commands()) - set(ci_commands())


def test_the_demo_paints_the_given_prompts(session: list[tuple[str, str]]) -> None:
    printed = printed_by(session, f"^make demo PROMPTS={PROMPTS}$")
    assert re.search(r"completed in .* s: 2 of 2 images", printed)


def test_a_stack_started_with_stay_answers_calls(session: list[tuple[str, str]]) -> None:
    assert "The stack stays up until `make down`" in printed_by(session, "^make demo STAY=1$")
    ups = [printed for command, printed in session if command == "make up"]
    downs = [printed for command, printed in session if command == "make down"]
    assert [up[:23] for up in ups] == ["MasStock is up: http://"] * len(ups)
    # `make down` is in the README once more, where no stack runs.
    assert downs[0] == "The stack is down.\n"


@pytest.mark.usefixtures("session")
def test_the_image_is_fetched(checkout: Path) -> None:
    Image.open(checkout / "cat.png").verify()


def test_another_tenant_gets_404(session: list[tuple[str, str]]) -> None:
    answer = json.loads(printed_by(session, r'^curl .*"\$B"$'))
    assert (answer["status"], answer["code"]) == (404, "not_found")


def test_clean_deletes_everything(session: list[tuple[str, str]]) -> None:
    # The session checked it, before later commands made the directory again.
    assert any(command in AFTER for command, _ in session)


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("generated", ["sql/schema.sql", "docs/openapi.json"])
def test_generated_files_equal_the_committed_ones(checkout: Path, generated: str) -> None:
    assert (checkout / generated).read_text() == (ROOT / generated).read_text()


def test_the_database_is_migrated(session: list[tuple[str, str]]) -> None:
    names = sorted(path.stem for path in (ROOT / "sql/migrations").glob("*.sql"))
    printed = printed_by(session, "^make migrate ")
    assert printed == "".join(f"applied {name}\n" for name in names)
