"""The HTTP API in front of a function behaves like API Gateway."""

import base64
import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.aws.execution_environment import InvokeResult
from local.aws.http_api import BODY_LIMIT, HttpApi
from local.aws.pool import PayloadTooLarge
from local.processes.children import free_port
from local.processes.servers import ThreadedServer

pytestmark = pytest.mark.timeout(30)


class Gateway:
    """An API in front of a function that records its event and returns `answer`."""

    def __init__(self) -> None:
        self.forget()
        self.server = ThreadedServer(HttpApi(self.invoke), free_port())

    def forget(self) -> None:
        self.answer: Any = {"statusCode": 200, "body": "{}"}
        self.failed = False
        self.event: dict[str, Any] = {}

    def invoke(self, event: bytes) -> InvokeResult:
        if len(event) > 6 * 1024 * 1024:
            raise PayloadTooLarge
        self.event = json.loads(event)
        return InvokeResult(json.dumps(self.answer).encode(), self.failed)

    def request(
        self,
        method: str = "GET",
        path: str = "/",
        body: bytes | None = None,
        headers: list[tuple[str, str]] | None = None,
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection(urlsplit(self.server.url).netloc, timeout=20)
        connection.putrequest(method, path)
        for name, value in headers or []:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        answer = response.status, response.headers, response.read()
        connection.close()
        return answer


@pytest.fixture(scope="module")
def one_gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    yield gateway
    gateway.server.stop()


@pytest.fixture
def gateway(one_gateway: Gateway) -> Gateway:
    one_gateway.forget()
    return one_gateway


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"]
)
@pytest.mark.parametrize("path", ["/", "/v1/executions", "/no/such/thing/", "/$default", "/a.b"])
def test_every_method_and_path_reaches_the_function(
    gateway: Gateway, method: str, path: str
) -> None:
    status, _, _ = gateway.request(method, path)
    assert status == 200
    assert gateway.event["routeKey"] == "$default"
    assert gateway.event["rawPath"] == path
    context = gateway.event["requestContext"]
    assert context["routeKey"] == "$default"
    assert context["http"]["method"] == method
    assert context["http"]["path"] == path
    assert context["http"]["sourceIp"] == "127.0.0.1"
    assert context["requestId"]


def test_the_path_is_decoded_and_the_query_is_both_raw_and_decoded(gateway: Gateway) -> None:
    gateway.request("GET", "/a%20b/%C3%A9?q=x%20y&tag=1&tag=2%2C3&empty=")
    assert gateway.event["rawPath"] == "/a b/é"
    assert gateway.event["rawQueryString"] == "q=x%20y&tag=1&tag=2%2C3&empty="
    assert gateway.event["queryStringParameters"] == {"q": "x y", "tag": "1,2,3", "empty": ""}


def test_empty_members_are_left_out(gateway: Gateway) -> None:
    gateway.request("GET", "/")
    assert not {"body", "cookies", "queryStringParameters"} & gateway.event.keys()
    assert gateway.event["isBase64Encoded"] is False
    gateway.request("POST", "/", b"")
    assert "body" not in gateway.event


def test_header_names_are_lower_case_and_repeated_headers_are_joined(gateway: Gateway) -> None:
    gateway.request(
        headers=[
            ("X-Thing", "1"),
            ("X-Thing", "2"),
            ("Authorization", "Bearer t"),
            ("If-Match", "*"),
        ]
    )
    headers = gateway.event["headers"]
    assert headers["x-thing"] == "1,2"
    assert headers["authorization"] == "Bearer t"
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert all(name == name.lower() for name in headers)


def test_cookies_are_a_list_and_not_a_header(gateway: Gateway) -> None:
    gateway.request(headers=[("Cookie", "a=1; b=2")])
    assert gateway.event["cookies"] == ["a=1", "b=2"]
    assert "cookie" not in gateway.event["headers"]


def test_a_text_body_arrives_as_text(gateway: Gateway) -> None:
    gateway.request("POST", "/", '{"é": 1}'.encode(), [("Content-Type", "application/json")])
    assert gateway.event["body"] == '{"é": 1}'
    assert gateway.event["isBase64Encoded"] is False


@pytest.mark.parametrize("media_type", ["application/json", "image/png", "text/plain"])
def test_a_binary_body_arrives_in_base64(gateway: Gateway, media_type: str) -> None:
    gateway.request("POST", "/", b"\xff\x00\x80", [("Content-Type", media_type)])
    assert gateway.event["isBase64Encoded"] is True
    assert base64.b64decode(gateway.event["body"]) == b"\xff\x00\x80"


def test_a_chunked_body_arrives_whole(gateway: Gateway) -> None:
    chunked = [("Transfer-Encoding", "chunked"), ("Content-Type", "text/plain")]
    connection = http.client.HTTPConnection(urlsplit(gateway.server.url).netloc, timeout=20)
    connection.request("POST", "/", iter([b"ab", b"cd"]), dict(chunked), encode_chunked=True)
    assert connection.getresponse().read() == b"{}"
    connection.close()
    assert gateway.event["body"] == "abcd"


@pytest.mark.parametrize("size", [BODY_LIMIT + 1, 20 * 1024 * 1024, 7 * 1024 * 1024])
def test_a_body_over_the_gateways_or_lambdas_limit_is_refused(gateway: Gateway, size: int) -> None:
    status, _, body = gateway.request("POST", "/", b"x" * size, [("Content-Type", "text/plain")])
    assert status == 413
    assert json.loads(body) == {"message": "Request Entity Too Large"}
    assert gateway.event == {}


def test_status_headers_and_cookies_reach_the_caller(gateway: Gateway) -> None:
    gateway.answer = {
        "statusCode": 201,
        "headers": {"Content-Type": "text/plain", "Location": "/x", "X-Number": 7},
        "cookies": ["a=1; Path=/", "b=2"],
        "body": "made",
    }
    status, headers, body = gateway.request("POST", "/")
    assert (status, body) == (201, b"made")
    assert headers["Content-Type"] == "text/plain"
    assert headers["Location"] == "/x"
    assert headers["X-Number"] == "7"
    assert headers.get_all("Set-Cookie") == ["a=1; Path=/", "b=2"]


def test_a_base64_answer_reaches_the_caller_as_bytes(gateway: Gateway) -> None:
    gateway.answer = {
        "statusCode": 200,
        "headers": {"Content-Type": "image/png"},
        "body": base64.b64encode(b"\x89PNG\xff").decode(),
        "isBase64Encoded": True,
    }
    assert gateway.request()[2] == b"\x89PNG\xff"


def test_no_body_is_sent_for_204_and_head(gateway: Gateway) -> None:
    gateway.answer = {"statusCode": 204, "headers": {"content-length": "5"}}
    assert gateway.request("DELETE")[::2] == (204, b"")
    gateway.answer = {"statusCode": 200, "body": "never sent"}
    assert gateway.request("HEAD")[::2] == (200, b"")


def test_a_value_without_status_is_the_body_of_a_200(gateway: Gateway) -> None:
    gateway.answer = {"no": "status"}
    status, headers, body = gateway.request()
    assert (status, json.loads(body)) == (200, {"no": "status"})
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "answer",
    [
        {"statusCode": "many"},
        {"statusCode": 200, "headers": ["x"]},
        {"statusCode": 200, "body": 5},
        {"statusCode": 200, "body": "!", "isBase64Encoded": True},
    ],
)
def test_a_malformed_answer_is_a_500(gateway: Gateway, answer: Any) -> None:
    gateway.answer = answer
    status, _, body = gateway.request()
    assert (status, json.loads(body)) == (500, {"message": "Internal Server Error"})


def test_an_error_of_the_function_is_a_500_without_details(gateway: Gateway) -> None:
    gateway.answer, gateway.failed = {"errorType": "Oops", "errorMessage": "secret"}, True
    status, _, body = gateway.request()
    assert (status, json.loads(body)) == (500, {"message": "Internal Server Error"})
