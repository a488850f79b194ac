"""Seals every sealed API key again, with the current sealing key, while the system runs.

    DATABASE_URL=… SEALING_SECRET_ID=… python -m sql.tools.reseal [--add-key]

The login must be a member of masstock_owner, like the login that migrates. `--add-key` first adds a
sealing key to the secret. After a run that prints `0 keys sealed again`, you can remove older
sealing keys from the secret.
"""

import argparse
import json
import os
import secrets
import sys
from uuid import UUID

import psycopg

from masstock.errors import ApiKeyUnreadable
from masstock.services import sealing

BATCH = 500


def with_new_key(sealing_keys: str) -> str:
    """The text of the sealing secret with one more key, which becomes the current one."""
    keys = json.loads(sealing_keys)
    numbers = [int(name[1:]) for name in keys if name[:1] == "k" and name[1:].isdigit()]
    name = f"k{max(numbers, default=0) + 1}"
    return json.dumps({**keys, "current": name, name: secrets.token_urlsafe(48)})


def reseal(database_url: str, sealing_keys: str) -> tuple[int, int]:
    """Returns the number of API keys that were sealed again, and the number of API keys that cannot
    be decrypted and stay unchanged. Each API key is replaced by its own statement, and only if it
    was not changed since it was read. So a second run, or a stop at any point, loses nothing."""
    current = json.loads(sealing_keys)["current"]
    resealed = unreadable = 0
    after = UUID(int=0)
    with psycopg.connect(database_url, autocommit=True) as connection:
        # As the owner, all statements of this connection see every row.
        connection.execute("SET ROLE masstock_owner")
        while True:
            rows = connection.execute(
                """
                SELECT id, client_id, input_settings ->> 'api_key'
                FROM public.workflow_executions
                WHERE id > %(after)s AND input_settings ->> 'api_key' LIKE 'v1.%%'
                  AND split_part(input_settings ->> 'api_key', '.', 2) <> %(current)s
                ORDER BY id LIMIT %(limit)s
                """,
                {"after": after, "current": current, "limit": BATCH},
            ).fetchall()
            if not rows:
                return resealed, unreadable
            for execution_id, client_id, sealed in rows:
                try:
                    opened = sealing.unseal(sealed, client_id, execution_id, sealing_keys)
                except ApiKeyUnreadable:
                    unreadable += 1
                    continue
                exchanged = connection.execute(
                    """
                    UPDATE public.workflow_executions
                    SET input_data = jsonb_set(input_data, '{api_key}', to_jsonb(%(new)s::text))
                    WHERE id = %(id)s AND input_data ->> 'api_key' = %(old)s
                    """,
                    {
                        "id": execution_id,
                        "old": sealed,
                        "new": sealing.seal(opened, client_id, execution_id, sealing_keys),
                    },
                )
                resealed += exchanged.rowcount
            after = rows[-1][0]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make reseal", description=__doc__)
    parser.add_argument("--add-key", action="store_true", help="add a key to the secret first")
    options = parser.parse_args(arguments)
    try:
        database_url, secret_id = os.environ["DATABASE_URL"], os.environ["SEALING_SECRET_ID"]
    except KeyError as error:
        print(f"reseal: set {error.args[0]}", file=sys.stderr)
        return 1
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        manager = boto3.client("secretsmanager")
        keys = manager.get_secret_value(SecretId=secret_id)["SecretString"]
        if options.add_key:
            keys = with_new_key(keys)
            manager.put_secret_value(SecretId=secret_id, SecretString=keys)
        return report(*reseal(database_url, keys))
    except (BotoCoreError, ClientError, psycopg.Error) as error:
        # Only the first line, because the rest can quote the statement and the key.
        print(f"reseal: {str(error).partition('\n')[0]}", file=sys.stderr)
        return 1


def report(resealed: int, unreadable: int) -> int:
    """Prints the two numbers. Returns exit status 1 if an API key cannot be decrypted."""
    print(f"{resealed} keys sealed again; {unreadable} do not open with any key of the secret")
    return 1 if unreadable else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
