"""Makes the database trust the identities that the api signs.

`DATABASE_URL=… IDENTITY_SECRET_ID=… python -m sql.identity_key` reads the key from Secrets Manager
and installs it, as the login that migrates. Needed once, and again whenever the secret's value
changes; functions follow within five minutes.
"""

import os
import sys

from sql.migrate import install_identity_key


def main() -> int:
    try:
        database_url, secret_id = os.environ["DATABASE_URL"], os.environ["IDENTITY_SECRET_ID"]
    except KeyError as error:
        print(f"identity-key: set {error.args[0]}", file=sys.stderr)
        return 1
    import boto3

    key = boto3.client("secretsmanager").get_secret_value(SecretId=secret_id)["SecretString"]
    install_identity_key(database_url, key)
    print("the database trusts identities signed with this key")
    return 0


if __name__ == "__main__":
    sys.exit(main())
