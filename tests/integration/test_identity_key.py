"""`make identity-key`: the keys that the database trusts, and the secrecy of these keys."""

import os
import subprocess
from pathlib import Path

import psycopg
import pytest

from tests.support.databases import IDENTITY_KEY, Server, Urls, connected, signed_identity
from tests.support.demo_data import JOHN_OF_ACME

pytestmark = pytest.mark.timeout(120)

ROOT = Path(__file__).parents[2]
NEXT = "the next identity key, of thirty-two bytes or more"
OTHER = "one more identity key, of thirty-two bytes or more"


def run(
    url: str | None, *options: str, key: str | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs the command. Without `url` or `key`, the variable is unset even if the tests have it."""
    own = {"DATABASE_URL": url, "IDENTITY_KEY": key}
    kept = {n: v for n, v in os.environ.items() if n not in (*own, "IDENTITY_SECRET_ID")}
    return subprocess.run(
        ["make", "--no-print-directory", "identity-key", *options],
        cwd=ROOT,
        env=kept | {name: value for name, value in own.items() if value is not None},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def trusted(urls: Urls) -> list[str]:
    """The keys that the database trusts."""
    return [key for key in (IDENTITY_KEY, NEXT, OTHER) if is_trusted(urls, key)]


def is_trusted(urls: Urls, key: str) -> bool:
    refusal = None
    with connected(urls.api) as connection:
        try:
            connection.execute(
                "SELECT app.enter(%s, %s, %s)", signed_identity(JOHN_OF_ACME, key=key)
            )
        except psycopg.Error as error:
            refusal = error.sqlstate
    assert refusal in (None, "MS401")
    return refusal is None


def test_the_first_key_comes_from_standard_input_or_the_environment(server: Server) -> None:
    for source in ({"stdin": NEXT + "\n"}, {"key": NEXT}):
        urls = server.create_empty_database()
        try:
            migrated = subprocess.run(
                ["make", "migrate"],
                cwd=ROOT,
                env={**os.environ, "DATABASE_URL": urls.migrator},
                capture_output=True,
                timeout=60,
                check=False,
            )
            assert migrated.returncode == 0
            done = run(urls.migrator, **source)
            assert (done.returncode, done.stdout) == (0, "the database trusts this key\n")
            # There are no users yet: the signature is valid and the account unknown.
            with connected(urls.api) as connection, pytest.raises(psycopg.Error) as refusal:
                connection.execute(
                    "SELECT app.enter(%s, %s, %s)", signed_identity(JOHN_OF_ACME, key=NEXT)
                )
            assert refusal.value.sqlstate == "MS403"
        finally:
            server.drop(urls)


def test_the_same_key_again_changes_nothing(fresh_database: Urls) -> None:
    done = run(fresh_database.migrator, key=IDENTITY_KEY)
    assert (done.returncode, done.stdout) == (0, "the database trusts this key already\n")
    assert trusted(fresh_database) == [IDENTITY_KEY]


def test_another_key_is_refused_without_rotate_or_only(fresh_database: Urls) -> None:
    done = run(fresh_database.migrator, key=NEXT)
    assert done.returncode != 0
    assert done.stderr.startswith("identity-key: the database trusts another key")
    assert trusted(fresh_database) == [IDENTITY_KEY]


def test_a_rotation_trusts_both_keys_and_then_only_the_new_one(
    fresh_database: Urls,
) -> None:
    url = fresh_database.migrator
    assert run(url, "ROTATE=1", key=NEXT).returncode == 0
    assert trusted(fresh_database) == [IDENTITY_KEY, NEXT]
    for key in (IDENTITY_KEY, NEXT):
        again = run(url, "ROTATE=1", key=key)
        assert again.stdout == "the database trusts this key already\n"
    assert trusted(fresh_database) == [IDENTITY_KEY, NEXT]

    third = run(url, "ROTATE=1", key=OTHER)
    assert third.returncode != 0
    assert third.stderr.startswith("identity-key: a rotation has not ended")
    assert trusted(fresh_database) == [IDENTITY_KEY, NEXT]

    assert run(url, "ONLY=1", key=NEXT).returncode == 0
    assert trusted(fresh_database) == [NEXT]


def test_a_rotation_can_be_cancelled(fresh_database: Urls) -> None:
    assert run(fresh_database.migrator, "ROTATE=1", key=NEXT).returncode == 0
    assert run(fresh_database.migrator, "ONLY=1", key=IDENTITY_KEY).returncode == 0
    assert trusted(fresh_database) == [IDENTITY_KEY]


def test_a_leaked_key_can_be_removed_at_once(fresh_database: Urls) -> None:
    assert run(fresh_database.migrator, "ONLY=1", key=NEXT).returncode == 0
    assert trusted(fresh_database) == [NEXT]


@pytest.mark.parametrize(
    "options", [[], ["ROTATE=1"], ["ONLY=1"]], ids=["install", "rotate", "only"]
)
@pytest.mark.parametrize("key", ["", "too-short", "x" * 65])
def test_a_key_of_a_wrong_length_changes_nothing(
    fresh_database: Urls, options: list[str], key: str
) -> None:
    # This holds for the very first key too, not only for a replacement.
    if not options:
        with connected(fresh_database.superuser) as connection:
            connection.execute("DELETE FROM app_private.keys WHERE id = 1")
    done = run(fresh_database.migrator, *options, stdin=key)
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == "identity-key: the key must be 32 to 64 bytes"
    with connected(fresh_database.superuser) as connection:
        left = connection.execute("SELECT id FROM app_private.keys ORDER BY id").fetchall()
    assert left == ([(1,), (2,)] if options else [(2,)])


@pytest.mark.parametrize(
    "options", [[], ["ROTATE=1"], ["ONLY=1"]], ids=["install", "rotate", "only"]
)
def test_the_key_is_never_printed(fresh_database: Urls, options: list[str]) -> None:
    for url in (fresh_database.migrator, fresh_database.api, "postgresql://127.0.0.1:1/nowhere"):
        done = run(url, *options, key=NEXT)
        assert NEXT not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_an_unreadable_secret_is_reported_in_one_line(fresh_database: Urls) -> None:
    unreachable = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_MAX_ATTEMPTS": "1",
        "IDENTITY_SECRET_ID": "identity",
    }
    kept = {name: value for name, value in os.environ.items() if name != "IDENTITY_KEY"}
    done = subprocess.run(
        [".venv/bin/python", "-m", "sql.tools.identity_key"],
        cwd=ROOT,
        env={**kept, **unreachable, "DATABASE_URL": fresh_database.migrator},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("identity-key: Could not connect to the endpoint URL")
    assert trusted(fresh_database) == [IDENTITY_KEY]


def test_without_a_database_url_the_command_fails() -> None:
    done = run(None, key=NEXT)
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == "identity-key: set DATABASE_URL"


def test_the_help_explains_rotation() -> None:
    done = subprocess.run(
        [".venv/bin/python", "-m", "sql.tools.identity_key", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "ROTATE=1" in done.stdout
    assert "ONLY=1" in done.stdout
