"""Installs the identity key in the database. The api signs each caller's id with the same key.

Needs DATABASE_URL with the login that migrates. The key has 32 to 64 bytes. It comes from
IDENTITY_KEY, or from the secret that IDENTITY_SECRET_ID names, or from standard input. It is never
an argument and never printed.

  make identity-key            installs the first key; refuses a different one later
  make identity-key ROTATE=1   trusts this key in addition to the present one
  make identity-key ONLY=1     trusts only this key, at once

To change the key without a failed request: run ROTATE=1. Change the value of the secret. Wait five
minutes, until every process has read it. Run ONLY=1. ONLY=1 with the earlier key cancels a
rotation. After a leak, change the secret and run ONLY=1 alone. A process that still signs with the
old key then fails once (503) and reads the new value.
"""

import argparse
import os
import sys
from getpass import getpass
from typing import Literal

import psycopg

CURRENT, PREVIOUS = 1, 3
Mode = Literal["install", "rotate", "only"]


class KeyRefused(Exception):
    """Installing the key in this mode would remove a key that the database trusts now."""


class KeyUnavailable(Exception):
    """The key could not be read from Secrets Manager."""


def install_identity_key(database_url: str, key: str, mode: Mode = "only") -> str:
    """Installs the key by `mode` and returns a message for the terminal. Raises KeyRefused, or
    psycopg's error if the key is not 32 to 64 bytes of UTF-8; both leave the database unchanged."""
    with psycopg.connect(database_url, connect_timeout=10) as connection:
        connection.execute("SET LOCAL ROLE masstock_authz")
        # Does not block readers. A second installation waits.
        connection.execute("LOCK TABLE app_private.keys IN SHARE ROW EXCLUSIVE MODE")
        trusted = _trusted_keys(connection)
        given = _blocks(key.encode())
        if mode == "only":
            connection.execute("DELETE FROM app_private.keys WHERE id = %s", [PREVIOUS])
            connection.execute("SELECT app_private.set_key(%s, %s)", [CURRENT, key.encode()])
            return "the database trusts this key and no other"
        if trusted.get(CURRENT) == given or (mode == "rotate" and trusted.get(PREVIOUS) == given):
            return "the database trusts this key already"
        if trusted and mode == "install":
            raise KeyRefused("the database trusts another key; see ROTATE=1 and ONLY=1")
        if PREVIOUS in trusted:
            raise KeyRefused("a rotation has not ended; end it with ONLY=1")
        connection.execute(
            "INSERT INTO app_private.keys SELECT %s, ipad, opad FROM app_private.keys"
            " WHERE id = %s",
            [PREVIOUS, CURRENT],
        )
        connection.execute("SELECT app_private.set_key(%s, %s)", [CURRENT, key.encode()])
        return (
            "the database trusts this key and the previous one"
            if trusted
            else "the database trusts this key"
        )


def trusts_another_key(database_url: str, key: str) -> bool:
    """True if the database trusts at least one identity key, but not this one."""
    with psycopg.connect(database_url, connect_timeout=10) as connection:
        tables = connection.execute(
            "SELECT FROM pg_catalog.pg_tables"
            " WHERE schemaname = 'app_private' AND tablename = 'keys'"
        )
        if not tables.fetchall():
            return False
        connection.execute("SET LOCAL ROLE masstock_authz")
        trusted = _trusted_keys(connection)
        return bool(trusted) and _blocks(key.encode()) not in trusted.values()


def _trusted_keys(connection: psycopg.Connection) -> dict[int, tuple[bytes, bytes]]:
    rows = connection.execute(
        "SELECT id, ipad, opad FROM app_private.keys WHERE id IN (%s, %s)", [CURRENT, PREVIOUS]
    ).fetchall()
    return {number: (ipad, opad) for number, ipad, opad in rows}


def _blocks(key: bytes) -> tuple[bytes, bytes]:
    """The two padded blocks (RFC 2104) that app_private.set_key stores for a key."""
    block = key.ljust(64, b"\0")
    return bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)


def _read_key() -> str:
    if key := os.environ.get("IDENTITY_KEY"):
        return key
    if secret_id := os.environ.get("IDENTITY_SECRET_ID"):
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            manager = boto3.client("secretsmanager")
            return manager.get_secret_value(SecretId=secret_id)["SecretString"]
        except (BotoCoreError, ClientError) as error:
            raise KeyUnavailable(str(error)) from error
    if sys.stdin.isatty():
        return getpass("identity key: ")
    return sys.stdin.read().removesuffix("\n")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="make identity-key",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--rotate", dest="mode", action="store_const", const="rotate")
    modes.add_argument("--only", dest="mode", action="store_const", const="only")
    mode: Mode = parser.parse_args(arguments).mode or "install"
    database_url = os.environ.get("DATABASE_URL")
    if not database_url:
        print("identity-key: set DATABASE_URL", file=sys.stderr)
        return 1
    try:
        print(install_identity_key(database_url, _read_key(), mode))
    except (KeyRefused, KeyUnavailable) as error:
        print(f"identity-key: {error}", file=sys.stderr)
        return 1
    except psycopg.Error as error:
        # Only the first line, because the rest can quote the statement and the key.
        print(f"identity-key: {str(error).partition('\n')[0]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
