"""The local credentials endpoint answers only with its token."""

import json
from pathlib import Path

import pytest
from werkzeug.test import Client

from local.aws.credentials import CredentialsEndpoint
from local.aws.event_queue import EventQueue
from local.aws.lambda_api import InnerEndpoints
from local.aws.pool import Pools


@pytest.mark.parametrize("token", [None, "", "another token"])
def test_without_the_token_there_are_no_credentials(token: str | None, tmp_path: Path) -> None:
    pools = Pools([], {}, tmp_path, 1)
    endpoint = CredentialsEndpoint()
    client = Client(InnerEndpoints(pools, EventQueue(tmp_path), {"keys": []}, endpoint))
    variables = endpoint.variables("http://127.0.0.1:1", "api")
    path = variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"].removeprefix("http://127.0.0.1:1")
    refused = client.get(path, headers={} if token is None else {"Authorization": token})
    assert (refused.status_code, refused.data) == (403, b"")
    headers = {"Authorization": variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"]}
    given = json.loads(client.get(path, headers=headers).data)
    assert given.keys() == {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"}
    assert given["AccessKeyId"] == "local-api"
