"""Checks a deployed stack from outside: `make smoke API=https://… TOKEN=…`.

It paints two small images, which the image model charges for, and deletes its execution at the end.
Environment:
  API          the URL of the stack (the output ApiUrl)
  TOKEN        a bearer token of an active user; it is never printed
  WORKFLOW     id of the workflow; without it, the first active workflow
  API_KEY      key of the image model, if the workflow requires one; it is never printed
  CLIENT       id of the client that pays; only for administrators, who must name it
  OTHER_TOKEN  a token of another client's user, which must get 404 for this execution
  DEADLINE     seconds until both images must be painted (600)
"""

import os
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from deploy.smoke_report import CheckFailed, Report, one_line
from deploy.stack_client import Answer, StackClient, is_loopback

PROMPTS = [
    "a small red circle on a white background",
    "a small blue square on a white background",
]
DEADLINE_SECONDS = 600
DELETION_SECONDS = 90
STAND_IN_KEY = "any-key-for-the-stand-in"
MAGIC = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/webp": b"RIFF",
}
GUIDE = "docs/deploy.md"
ADVICE = {
    "unauthenticated": "use a fresh token of JwtIssuer whose `aud` is JwtAudience, and check"
    f" JwtJwksUrl or JwtSecretArn ({GUIDE}, step 4)",
    "account_inactive": "the user or the client is not active in the database",
    "not_provisioned": f"create the user with the token's `sub` as id ({GUIDE}, step 7)",
    "database_unavailable": f"compare the identity key of stack and database ({GUIDE}, step 6),"
    " then look at the api's log (docs/runbook.md)",
    "storage_unavailable": "look at the api's log: the bucket or the permission is missing",
    "identity_provider_unavailable": "JwtJwksUrl must answer to the api function",
    "budget_exceeded": "raise the client's monthly_budget_microusd",
    "invalid_api_key": "API_KEY is refused by the image model",
    "quota_exhausted": "the daily quota of API_KEY is used up",
    "model_unavailable": "API_KEY may not use the workflow's model; choose another WORKFLOW",
    "provider_rate_limited": "the image model's rate limit is reached; try again later",
}


@dataclass(frozen=True, slots=True)
class Options:
    """The environment variables of the command."""

    api: str
    token: str
    workflow: str | None
    api_key: str | None
    client: str | None
    other_token: str | None
    deadline: float

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Options":
        """Read the options; ValueError with one sentence if one is missing or wrong."""
        api = environ.get("API", "").strip().rstrip("/")
        token = environ.get("TOKEN", "").strip().removeprefix("Bearer ").strip()
        if not api or not token:
            raise ValueError("set API and TOKEN: make smoke API=https://… TOKEN=…")
        parts = urlsplit(api)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(api)):
            raise ValueError("API must begin with https://, because the token is sent there")
        if not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError("TOKEN contains characters that no bearer token has")
        deadline = environ.get("DEADLINE") or str(DEADLINE_SECONDS)
        if not deadline.isdecimal() or not 1 <= int(deadline) <= 86400:
            raise ValueError("DEADLINE must be whole seconds from 1 to 86400")
        key = environ.get("API_KEY")
        if not key and is_loopback(api):
            # The local stack has the stand-in model, or uses this variable itself.
            key = environ.get("GEMINI_API_KEY") or STAND_IN_KEY
        return cls(
            api,
            token,
            environ.get("WORKFLOW") or None,
            key or None,
            environ.get("CLIENT") or None,
            environ.get("OTHER_TOKEN", "").strip().removeprefix("Bearer ") or None,
            float(deadline),
        )

    @property
    def secrets(self) -> list[str]:
        """The values that must not appear in the output."""
        return [value for value in (self.token, self.api_key, self.other_token) if value]


@dataclass(slots=True)
class Smoke:
    """The checks. Each returns what it found, or raises CheckFailed. They share what they learn."""

    options: Options
    stack: StackClient
    report: Report
    is_admin: bool = False
    workflow_id: str = ""
    prompts_key: str = ""
    execution_id: str = ""
    image_urls: list[str] = field(default_factory=list)

    def run(self) -> bool:
        """Run every check whose needs were met; True if all passed."""
        checks: list[tuple[str, tuple[str, ...], Callable[[], str]]] = [
            ("health", (), self.health),
            ("openapi", (), self.openapi),
            ("no token", (), self.no_token),
            ("token", (), self.token),
            ("client", ("token",), self.client),
            ("workflow", ("token",), self.workflow),
            ("dry run", ("client", "workflow"), self.dry_run),
            ("upload", ("client", "workflow"), self.upload),
            ("submit", ("dry run",), self.submit),
            ("watch", ("submit",), self.watch),
            ("images", ("watch",), self.images),
            ("etag", ("submit",), self.etag),
            ("not yours", ("submit",), self.not_yours),
            ("delete", ("submit",), self.delete),
            ("images gone", ("images", "delete"), self.images_gone),
        ]
        for name, needs, check in checks:
            self.report.check(name, needs, check)
        return self.report.summarize()

    def health(self) -> str:
        answer = self.stack.call("GET", "/health", token=None)
        advice = ADVICE["database_unavailable"] if answer.status == 503 else "is API the ApiUrl?"
        if answer.status != 200 or answer.json.get("status") != "ok":
            raise CheckFailed(answer.problem, advice)
        return f"200 after {answer.seconds:.2f} s"

    def openapi(self) -> str:
        answer = self.stack.call("GET", "/openapi.json", token=None)
        document = answer.json
        if answer.status != 200 or "/v1/executions" not in document.get("paths", {}):
            raise CheckFailed(answer.problem, "is API the ApiUrl? Deploy again if it is")
        return f"{document['info']['title']} {document['info']['version']}"

    def no_token(self) -> str:
        answer = self.stack.call("GET", "/v1/me", token=None)
        if (answer.status, answer.code) != (401, "unauthenticated"):
            raise CheckFailed(answer.problem, "a request without a token must get 401")
        return "a request without a token gets 401"

    def token(self) -> str:
        me = self._expect(200, self.stack.call("GET", "/v1/me"), "use another TOKEN")
        self.is_admin = me["role"] == "admin"
        client = f" of {me['client_name']}" if me.get("client_name") else ""
        return f"{me['name']}, {me['role']}{client}"

    def client(self) -> str:
        if not self.is_admin:
            if self.options.client:
                return "the user's own client pays; CLIENT is only for administrators"
            return "the user's own client pays"
        if not self.options.client:
            raise CheckFailed(
                "an administrator must name the client that pays",
                "add CLIENT=<id of a client>, or use a client user's TOKEN",
            )
        answer = self.stack.call("GET", f"/v1/clients/{quote(self.options.client, safe='')}")
        client = self._expect(200, answer, "CLIENT must be the id of a client")
        if client["status"] != "active":
            raise CheckFailed(f"{client['name']} is {client['status']}", "choose another CLIENT")
        return f"{client['name']} pays"

    def workflow(self) -> str:
        if self.options.workflow:
            path = f"/v1/workflows/{quote(self.options.workflow, safe='')}"
            answer = self.stack.call("GET", path)
            found = self._expect(200, answer, "WORKFLOW must be the id of a workflow")
        else:
            answer = self.stack.call("GET", "/v1/workflows?limit=200")
            items = self._expect(200, answer, "look at the api's log")["items"]
            active = [item for item in items if item["status"] == "active"]
            if not active:
                raise CheckFailed("there is no active workflow", f"create one ({GUIDE}, step 7)")
            found = active[0]
        if found["status"] != "active":
            raise CheckFailed(
                f"{found['name']} is {found['status']}", "activate it, or choose another WORKFLOW"
            )
        if found["config"].get("requires_api_key", True) and not self.options.api_key:
            raise CheckFailed(
                f"{found['name']} requires the key of the image model",
                "add API_KEY=<key>, or choose another WORKFLOW",
            )
        self.workflow_id = found["id"]
        return f"{found['name']} ({found['config'].get('model', 'default model')})"

    def dry_run(self) -> str:
        estimate = self._estimate({"prompts": PROMPTS})
        cost = estimate.get("estimate_microusd")
        price = "no price known" if cost is None else f"about US$ {cost / 1_000_000:.4f}"
        if not estimate["fits_budget"]:
            raise CheckFailed(f"{price}, more than the client's budget", ADVICE["budget_exceeded"])
        return f"{estimate['prompts']} prompts, {price}"

    def upload(self) -> str:
        lines = "".join(f'"{prompt}"\n' for prompt in PROMPTS)
        body = {"kind": "prompts", **self._client_member()}
        answer = self.stack.call("POST", "/v1/uploads", body=body)
        form = self._expect(201, answer, "look at the api's log")
        advice = "does the uploads bucket exist, in the stack's region?"
        status, reason = self.stack.upload(form["url"], form["fields"], lines.encode())
        if not 200 <= status < 300:
            raise CheckFailed(f"the form answered {status} {reason}", advice)
        estimate = self._estimate({"prompts_key": form["key"]})
        if estimate["prompts"] != len(PROMPTS):
            raise CheckFailed(f"the api read {estimate['prompts']} prompts of the file", advice)
        return f"{len(lines)} bytes by the presigned form, read back as {len(PROMPTS)} prompts"

    def submit(self) -> str:
        key = {"Idempotency-Key": str(uuid.uuid4())}
        body = self._submission({"prompts": PROMPTS})
        answer = self.stack.call("POST", "/v1/executions", body=body, headers=key)
        execution = self._expect(202, answer, "look at the api's log")
        self.execution_id = execution["id"]
        if answer.headers.get("Location") != self._path():
            raise CheckFailed(
                f"Location is {answer.headers.get('Location')}", f"it must be {self._path()}"
            )
        return f"execution {self.execution_id}"

    def watch(self) -> str:
        began = time.monotonic()
        shown = ""
        while True:
            answer = self.stack.call("GET", self._path())
            execution = self._expect(200, answer, "look at the api's log")
            waited = time.monotonic() - began
            done = execution["progress"]["successful"] + execution["progress"]["failed"]
            state = f"{execution['status']}, {done} of {len(PROMPTS)} prompts done"
            if execution["status"] in ("completed", "failed"):
                break
            if waited > self.options.deadline:
                raise CheckFailed(
                    f"{state} after {waited:.0f} s",
                    "look at the state machine's execution and the generate function's log "
                    "(docs/runbook.md), or set a longer DEADLINE",
                )
            if state != shown:
                shown = state
                self.report.note(f"{state} ({waited:.0f} s)")
            time.sleep(min(answer.retry_after(2), self.options.deadline))
        if execution["progress"]["successful"] != len(PROMPTS):
            raise CheckFailed(f"{state}: {self._reason(execution)}", self._why(execution))
        return f"{len(PROMPTS)} images in {waited:.0f} s"

    def images(self) -> str:
        sizes: list[int] = []
        types: set[str] = set()
        for index in range(len(PROMPTS)):
            path = f"{self._path()}/results/{index}/image"
            answer = self.stack.call("GET", path)
            url = answer.headers.get("Location", "")
            if answer.status != 302 or not url:
                raise CheckFailed(f"{path}: {answer.problem}", "it must be a 302 with a Location")
            status, content_type, content = self.stack.fetch(url)
            host = urlsplit(url).netloc
            magic = next((kind for kind, start in MAGIC.items() if content.startswith(start)), None)
            if status != 200 or magic is None or magic != content_type:
                raise CheckFailed(
                    f"image {index} at {host}: {status} {content_type}, {len(content)} bytes, "
                    f"which begin like {magic or 'no image'}",
                    "the URL must show the image without any header: is the results bucket in the "
                    "stack's region?",
                )
            self.image_urls.append(url)
            sizes.append(len(content))
            types.add(magic)
        return f"{' and '.join(f'{size:,}' for size in sizes)} bytes, {', '.join(sorted(types))}"

    def etag(self) -> str:
        etag = self.stack.call("GET", self._path()).headers.get("ETag")
        if not etag:
            raise CheckFailed("the answer has no ETag", "does a proxy in front of API remove it?")
        answer = self.stack.call("GET", self._path(), headers={"If-None-Match": etag})
        if answer.status != 304:
            raise CheckFailed(
                f"{answer.status} for an unchanged execution", "does a proxy change ETag?"
            )
        return "an unchanged execution gets 304"

    def not_yours(self) -> str:
        unknown = self.stack.call("GET", f"/v1/executions/{uuid.uuid4()}")
        if (unknown.status, unknown.code) != (404, "not_found"):
            raise CheckFailed(unknown.problem, "an unknown execution must get 404")
        if not self.options.other_token:
            return "an unknown id gets 404 (OTHER_TOKEN= checks another client's user)"
        other = self.stack.call("GET", self._path(), token=self.options.other_token)
        if other.status == 200:
            raise CheckFailed(
                "OTHER_TOKEN reads this execution",
                "OTHER_TOKEN must belong to a user of another client; if it does, stop the stack",
            )
        if other.status != 404:
            raise CheckFailed(other.problem, "OTHER_TOKEN must be a valid token")
        return "another client's user gets 404"

    def delete(self) -> str:
        deadline = time.monotonic() + DELETION_SECONDS
        answer = self.stack.call("DELETE", self._path())
        # It has not ended if `watch` failed.
        while answer.status == 409 and time.monotonic() < deadline:
            self.stack.call("POST", f"{self._path()}/cancel", body={})
            time.sleep(2)
            answer = self.stack.call("DELETE", self._path())
        if answer.status != 204:
            raise CheckFailed(answer.problem, f"delete execution {self.execution_id} yourself")
        after = self.stack.call("GET", self._path())
        if after.status != 404:
            raise CheckFailed(f"still there: {after.problem}", "look at the api's log")
        return "the execution is gone"

    def images_gone(self) -> str:
        deadline = time.monotonic() + DELETION_SECONDS
        # If S3 was unavailable, the sweep deletes the images within about a minute.
        while left := [url for url in self.image_urls if self.stack.fetch(url)[0] == 200]:
            if time.monotonic() > deadline:
                raise CheckFailed(
                    f"{len(left)} images still answer",
                    "the api may not delete objects, or the sweep does not run",
                )
            time.sleep(2)
        return "their URLs show nothing any more"

    def _path(self) -> str:
        return f"/v1/executions/{self.execution_id}"

    def _client_member(self) -> dict[str, str]:
        return {"client_id": self.options.client or ""} if self.is_admin else {}

    def _submission(self, prompts: Mapping[str, Any]) -> dict[str, Any]:
        key = {"api_key": self.options.api_key} if self.options.api_key else {}
        return {"workflow_id": self.workflow_id, **self._client_member(), **key, **prompts}

    def _estimate(self, prompts: Mapping[str, Any]) -> dict[str, Any]:
        path = "/v1/executions?dry_run=true"
        answer = self.stack.call("POST", path, body=self._submission(prompts))
        return self._expect(200, answer, "change WORKFLOW, CLIENT or API_KEY as the answer says")

    def _expect(self, status: int, answer: Answer, advice: str) -> dict[str, Any]:
        if answer.status != status:
            raise CheckFailed(answer.problem, ADVICE.get(answer.code, advice))
        return answer.json

    def _reason(self, execution: Mapping[str, Any]) -> str:
        return f"{self._code(execution)}: {execution.get('error_message') or ''}".strip(": ")

    def _code(self, execution: Mapping[str, Any]) -> str:
        if execution.get("error_code"):
            return execution["error_code"]
        failed = self.stack.call("GET", f"{self._path()}/results?status=failed").json
        codes = {item.get("error_code") for item in failed.get("items", [])}
        return ", ".join(sorted(filter(None, codes))) or "no reason"

    def _why(self, execution: Mapping[str, Any]) -> str:
        return ADVICE.get(self._code(execution), "docs/errors.md explains the code")


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Run all checks and return the exit code: 0 only if each one passed."""
    try:
        options = Options.from_environment(environ)
    except ValueError as error:
        print(f"smoke: {error}", file=sys.stderr)
        return 1
    report = Report(options.secrets)
    report.say(f"checks {one_line(options.api)}")
    smoke = Smoke(options, StackClient(options.api, options.token), report)
    try:
        return 0 if smoke.run() else 1
    except KeyboardInterrupt:
        if smoke.execution_id:
            report.say(f"interrupted; execution {smoke.execution_id} is still there")
        return 130
    except requests.RequestException as error:
        report.say(f"no answer: {one_line(error)}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
