"""`make smoke` finds a healthy stack healthy, and names the check that a broken one fails."""

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest
import requests

from deploy import smoke
from tests.e2e.conftest import ROOT, WORKFLOW, Stack, workflow
from tests.support.web import Web, listening

CHECKS = [
    *("health", "openapi", "no token", "token", "client", "workflow", "dry run", "upload"),
    *("submit", "watch", "images", "etag", "not yours", "delete", "images gone"),
]
ACME = "456e7890-e89b-12d3-a456-426614174001"
NAMES = ("API", "TOKEN", "WORKFLOW", "API_KEY", "CLIENT", "OTHER_TOKEN", "DEADLINE")
SECRET = "a-key-that-no-line-may-show"
LINE = re.compile(r"^(ok|FAIL|skip) +(.{12}) (.*)$", re.MULTILINE)


@pytest.fixture(autouse=True)
def no_rules(stack: Stack) -> Iterator[None]:
    stack.rule()
    yield
    stack.rule()


class Run:
    """A finished `make smoke`."""

    def __init__(self, stack: Stack, who: str = "client_a", **options: str) -> None:
        given = {"API": stack.access["base_url"], "TOKEN": stack.access["tokens"][who], **options}
        names = (*NAMES, "GEMINI_API_KEY", "MAKEFLAGS", "MAKELEVEL")
        kept = {name: value for name, value in os.environ.items() if name not in names}
        done = subprocess.run(
            ["make", "smoke", *(f"{name}={value}" for name, value in given.items())],
            cwd=ROOT,
            env=kept,
            check=False,
            capture_output=True,
            text=True,
            timeout=180,
        )
        self.status = done.returncode
        self.output = done.stdout
        self.errors = done.stderr
        found = [match.groups() for match in LINE.finditer(done.stdout)]
        self.outcomes = {name.strip(): outcome for outcome, name, _ in found}
        self.lines = {name.strip(): text for _, name, text in found}
        for name in ("TOKEN", "OTHER_TOKEN", "API_KEY"):
            if given.get(name):
                assert given[name] not in done.stdout + done.stderr

    def failed(self) -> list[str]:
        return [name for name, outcome in self.outcomes.items() if outcome == "FAIL"]


def executions(stack: Stack) -> set[str]:
    page = stack.call("client_a", "GET", "/v1/executions?limit=200").json()
    return {item["id"] for item in page["items"]}


def test_a_healthy_stack_passes_every_check_and_is_left_clean(stack: Stack) -> None:
    before = executions(stack)
    run = Run(stack, API_KEY=SECRET, OTHER_TOKEN=stack.access["tokens"]["client_b"])
    assert run.outcomes == dict.fromkeys(CHECKS, "ok"), run.output
    assert (run.status, run.errors) == (0, "")
    assert run.output.splitlines()[-1] == "15 checks: 15 ok, 0 failed, 0 skipped"
    assert "of 2 prompts done" in run.output
    assert run.lines["not yours"] == "another client's user gets 404"
    assert re.fullmatch(r"[\d,]+ and [\d,]+ bytes, image/png", run.lines["images"])
    assert executions(stack) == before


def test_the_local_stack_needs_no_more_than_url_and_token(stack: Stack) -> None:
    run = Run(stack)
    assert (run.status, run.failed()) == (0, []), run.output


def test_an_administrator_names_the_client(stack: Stack) -> None:
    assert Run(stack, "admin", CLIENT=ACME, WORKFLOW=WORKFLOW).status == 0
    run = Run(stack, "admin")
    assert (run.status, run.failed()) == (2, ["client"])
    assert "add CLIENT=" in run.lines["client"]


@pytest.mark.parametrize(
    ("options", "failed", "found", "advice"),
    [
        ({"TOKEN": "not.a.token"}, "token", "401 unauthenticated", "JwtIssuer"),
        ({"WORKFLOW": str(uuid4())}, "workflow", "404 not_found", "WORKFLOW must be"),
        ({"WORKFLOW": "nano banana"}, "workflow", "422 validation_failed", "WORKFLOW must be"),
        ({"API_KEY": "short"}, "dry run", "/api_key", "API_KEY"),
        ({"CLIENT": str(uuid4())}, "client", "404 not_found", "CLIENT must be"),
    ],
)
def test_a_wrong_option_is_named_and_nothing_is_painted(
    stack: Stack, options: dict[str, str], failed: str, found: str, advice: str
) -> None:
    before = executions(stack)
    run = Run(stack, "admin" if "CLIENT" in options else "client_a", **options)
    assert run.status == 2
    assert failed in run.failed(), run.output
    assert found in run.lines[failed]
    assert advice in run.lines[failed].partition("→")[2]
    assert run.outcomes["submit"] == "skip"
    assert f"failed ({failed}" in run.output.splitlines()[-1]
    assert executions(stack) == before


def test_a_refused_key_fails_the_watch_and_the_execution_is_deleted(stack: Stack) -> None:
    stack.rule({"match": "small red circle", "behave": "invalid_key"})
    before = executions(stack)
    run = Run(stack)
    assert (run.status, run.failed()) == (2, ["watch"]), run.output
    assert "invalid_api_key" in run.lines["watch"]
    assert run.outcomes["images"] == run.outcomes["images gone"] == "skip"
    assert run.outcomes["delete"] == "ok"
    assert executions(stack) == before


def test_the_deadline_ends_the_watch_and_the_execution_is_cancelled(stack: Stack) -> None:
    slow = workflow(stack)
    stack.rule({"match": "small", "behave": "throttle", "retry_delay_s": 5})
    before = executions(stack)
    run = Run(stack, WORKFLOW=slow, DEADLINE="3")
    assert run.failed() == ["watch"], run.output
    assert "DEADLINE" in run.lines["watch"]
    assert executions(stack) == before


def test_a_token_that_reads_the_execution_is_no_other_clients(stack: Stack) -> None:
    run = Run(stack, OTHER_TOKEN=stack.access["tokens"]["client_a"])
    assert run.failed() == ["not yours"]
    assert "another client" in run.lines["not yours"]


class BrokenProxy(BaseHTTPRequestHandler):
    """Passes requests to the stack, except for the part that the server's `broken` names."""

    def do_GET(self) -> None:
        broken: str = self.server.broken  # pyright: ignore
        here = f"http://127.0.0.1:{self.server.server_port}"  # pyright: ignore
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/an-image/") or self.path == "/a-form":
            kind = "image/jpeg" if "mistyped" in broken else "image/png"
            content = b"<Error>" if "no image" in broken else b"\x89PNG\r\n\x1a\n"
            self.reply(403 if self.path == "/a-form" else 200, {"Content-Type": kind}, content)
            return
        if self.command == "DELETE" and "delete" in broken:
            self.reply(204, {}, b"")
            return
        base: str = self.server.base  # pyright: ignore
        headers = {n: v for n, v in self.headers.items() if n.lower() not in ("host", "accept")}
        if "no token" in broken:
            headers.setdefault("Authorization", self.server.token)  # pyright: ignore
        answer = requests.request(
            self.command, base + self.path, data=body, headers=headers, allow_redirects=False
        )
        passed = {n: answer.headers[n] for n in KEPT if n in answer.headers}
        content = answer.content
        if "Location" in passed and answer.status_code == 302 and "image" in broken:
            passed["Location"] = f"{here}/an-image/{self.path.split('/')[-2]}"
        if "form" in broken and self.path == "/v1/uploads":
            content = json.dumps({**answer.json(), "url": f"{here}/a-form"}).encode()
        if "etag" in broken:
            passed.pop("ETag", None)
        self.reply(answer.status_code, passed, content)

    do_POST = do_DELETE = do_GET  # noqa: N815

    def reply(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


KEPT = ("Content-Type", "Location", "ETag", "Retry-After")


@pytest.mark.parametrize(
    ("broken", "failed", "found"),
    [
        ("no token", "no token", "200"),
        ("form", "upload", "the form answered 403"),
        ("no image", "images", "which begin like no image"),
        ("mistyped image", "images", "200 image/jpeg, 8 bytes, which begin like image/png"),
        ("etag", "etag", "no ETag"),
        ("delete", "delete", "still there: 200"),
        ("image that stays", "images gone", "2 images still answer"),
    ],
)
def test_each_broken_part_fails_its_own_check(
    stack: Stack,
    broken: str,
    failed: str,
    found: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(smoke, "DELETION_SECONDS", 1)
    token = stack.access["tokens"]["client_a"]
    with ThreadingHTTPServer(("127.0.0.1", 0), BrokenProxy) as server:
        server.broken, server.base = broken, stack.access["base_url"]  # pyright: ignore
        server.token = f"Bearer {token}"  # pyright: ignore
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            api = f"http://127.0.0.1:{server.server_port}"
            assert smoke.main({"API": api, "TOKEN": token}) == 1
        finally:
            server.shutdown()
            thread.join()
    lines = capsys.readouterr().out.splitlines()
    [line] = [line for line in lines if line.startswith("FAIL")]
    assert line.startswith(f"FAIL {failed} ")
    assert found in line
    assert "→" in line
    assert f"failed ({failed})" in lines[-1]


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({}, "set API and TOKEN"),
        ({"API": "https://api.example"}, "set API and TOKEN"),
        ({"API": "http://api.example", "TOKEN": SECRET}, "must begin with https"),
        ({"API": "ftp://api.example", "TOKEN": SECRET}, "must begin with https"),
        ({"API": "http://127.0.0.1", "TOKEN": "two words"}, "no bearer token"),
        ({"API": "http://127.0.0.1", "TOKEN": SECRET, "DEADLINE": "soon"}, "whole seconds"),
    ],
)
def test_missing_options_are_one_sentence(
    environ: dict[str, str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert smoke.main(environ) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert reason in printed.err
    assert SECRET not in printed.err


@pytest.mark.parametrize("behaviour", [{"message": "Not Found"}, b"<html>", "hang up", "echo"])
def test_another_server_fails_by_check_and_never_gets_the_token_printed(
    behaviour: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with listening() as server:
        web = server.web = Web("")
        if behaviour == "hang up":
            web.hang_up()
        elif behaviour == "echo":
            web.answer({"code": SECRET, "detail": f"Bearer {SECRET}\x1b[2J"}, 400)
        else:
            web.answer(behaviour)
        api = f"http://127.0.0.1:{server.server_port}"
        assert smoke.main({"API": api, "TOKEN": SECRET, "API_KEY": SECRET}) == 1
    printed = capsys.readouterr()
    assert "FAIL health" in printed.out
    assert "failed (health, openapi" in printed.out
    assert SECRET not in printed.out + printed.err
    assert "\x1b" not in printed.out


def test_the_token_goes_to_the_api_only(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, str]] = []
    send = requests.Session.send

    def note(self: Any, request: Any, **options: Any) -> Any:
        if "Authorization" in request.headers:
            sent.append((request.method, request.url))
        return send(self, request, **options)

    monkeypatch.setattr(requests.Session, "send", note)
    api = stack.access["base_url"]
    assert smoke.main({"API": api, "TOKEN": stack.access["tokens"]["client_a"]}) == 0
    assert sent
    assert all(url.startswith(f"{api}/v1/") for _, url in sent)
