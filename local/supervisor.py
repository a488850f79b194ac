"""The supervisor: the process that starts every other process of the stack and ends them.

PostgreSQL, `local.aws`, `local.image_model` and every execution environment are its children. The
functions' pools, the HTTP API and the inner endpoints run in its threads.
"""

import contextlib
import functools
import json
import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from local import database
from local.aws.clients import client
from local.aws.credentials import CredentialsEndpoint
from local.aws.event_queue import RETRY_SECONDS, EventQueue
from local.aws.http_api import HttpApi
from local.aws.lambda_api import InnerEndpoints
from local.aws.pool import ConcurrencyLimit, Pools
from local.aws.resources import Template
from local.aws.timer import Timer
from local.entry import LocalEntry
from local.errors import StackError
from local.image_model.painter import paint
from local.keys import USERS, Keys
from local.processes import children
from local.processes.children import HOST
from local.processes.files import lock, write_private
from local.processes.health import wait_for_health
from local.processes.postgres import PostgresServer
from local.processes.servers import ThreadedServer
from local.processes.services import Service
from local.settings import RESULTS_BUCKET, ROOT, Settings
from local.wiring import (
    aws_configuration,
    bypass_proxies,
    function_variables,
    template_parameters,
)

logger = logging.getLogger(__name__)

LOOK_AFTER_SECONDS = 0.5
# The stack is ready without warm environments too, so that a broken function does not prevent it.
WARM_UP_SECONDS = 30
# If CONCURRENT_EXECUTIONS throttles the api, the local gateway waits so long before it answers 503,
# so that a client can watch a batch. The gateway of AWS answers 503 at once.
GATEWAY_PATIENCE_SECONDS = 20
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

type Report = Callable[[dict[str, Any]], None]


class Stopped(BaseException):
    """SIGTERM, SIGINT or SIGHUP arrived."""


def supervise(settings: Settings, report: Report) -> int:
    """Run the stack until a stop signal and return the exit status.

    Calls `report` with {"ready": True} when the stack is ready, or with {"error": reason}.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    os.environ.update(bypass_proxies())
    for number in STOP_SIGNALS:
        signal.signal(number, _stop)
    try:
        lock(settings.lock_file)
        with contextlib.ExitStack() as resources:
            stack = Stack(settings, resources)
            stack.start()
            report({"ready": True})
            stack.look_after()
    except Stopped:
        pass
    except StackError as error:
        report({"error": str(error)})
        logger.info("Not started: %s", error)
        return 1
    except Exception as error:
        report({"error": f"{type(error).__name__}: {error}; see {settings.logs}/supervisor.log"})
        logger.exception("The stack ends")
        return 1
    return 0


def _stop(number: int, frame: FrameType | None) -> None:
    # A second signal must not interrupt the end of the stack.
    for other in STOP_SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise Stopped


class Stack:
    """All parts of the running stack; `resources` ends them in reverse order."""

    def __init__(self, settings: Settings, resources: contextlib.ExitStack) -> None:
        self._settings = settings
        self._resources = resources
        self._keys = Keys(settings.directory / "keys")
        self._ports = _Ports(settings)
        self._postgres: PostgresServer | None = None
        self._services: list[Service] = []

    def start(self) -> None:
        """Start every part; return when /health answers 200 and stack.json is written."""
        settings = self._settings
        settings.logs.mkdir(parents=True, exist_ok=True)
        settings.stack_file.unlink(missing_ok=True)
        api_port = self._ports.take_api_port()
        owner_url = self._start_postgres()

        # Imported here, because importing SAM CLI takes seconds, in which PostgreSQL starts.
        from local.aws.template import read_template

        inner_port = self._ports.take("inner")
        aws_port = self._ports.take("aws")
        inner_url, aws_url = (f"http://{HOST}:{port}" for port in (inner_port, aws_port))
        template = read_template(
            ROOT / "template.yaml", template_parameters(settings, f"{inner_url}/jwks.json")
        )
        model = self._start_model()
        urls = database.prepare(owner_url, self._keys)
        embedded = settings.database_url is None
        seeded = database.seed(owner_url, embedded=embedded)
        if embedded:
            database.end_claims(owner_url)

        credentials = CredentialsEndpoint()
        variables = {
            function.logical_id: function_variables(
                function,
                aws_url=aws_url,
                model_url=settings.model_url or (None if settings.real_model else model.url),
                credentials=(
                    credentials.variables(inner_url, function.log_name)
                    if settings.snap_start
                    else None
                ),
            )
            for function in template.functions
        }
        pools, events = self._start_pools(template, variables)
        self._serve(InnerEndpoints(pools, events, self._keys.key_set(), credentials), inner_port)
        configuration = aws_configuration(
            settings, template, self._keys, urls, settings.functions_url or inner_url
        )
        aws = self._start_service(
            "local.aws", [str(aws_port)], aws_port, stdin=json.dumps(configuration)
        )
        model.wait_until_ready()
        aws.wait_until_ready()
        pools.warm_up()
        if seeded:
            paint_missing_images(urls.owner, aws_url)
        invoke = functools.partial(
            pools[template.default_route].invoke, patience=GATEWAY_PATIENCE_SECONDS
        )
        entry = LocalEntry(HttpApi(invoke), self._tokens(), api_port, practice=settings.practice)
        base_url = self._serve(entry, api_port)
        wait_for_health(api_port, settings.logs)
        pools.wait_for_starts(WARM_UP_SECONDS)
        self._start_timers(template, pools, events)
        self._write_stack_file(base_url, urls, settings.model_url or model.url, aws_url)

    def _start_pools(
        self, template: Template, variables: dict[str, dict[str, str]]
    ) -> tuple[Pools, EventQueue]:
        settings = self._settings
        limit = ConcurrencyLimit(settings.concurrent_executions)
        pools = Pools(template.functions, variables, settings.logs, settings.pool_capacity, limit)
        self._resources.callback(pools.close)
        pools.start()
        events = EventQueue(
            settings.logs / "dead-letters.jsonl", settings.event_retry_seconds or RETRY_SECONDS
        )
        self._resources.callback(events.stop)
        return pools, events

    def _start_timers(self, template: Template, pools: Pools, events: EventQueue) -> None:
        for schedule in template.schedules:
            seconds = self._settings.sweep_seconds or schedule.seconds
            timer = Timer(events, pools[schedule.function], schedule.event, seconds)
            self._resources.callback(timer.stop)
            timer.start()

    def look_after(self) -> None:
        """Start dead processes again, until a stop signal."""
        tick = threading.Event()
        while not tick.wait(LOOK_AFTER_SECONDS):
            for service in self._services:
                service.revive()
            if self._postgres is not None:
                self._postgres.revive()

    def _start_postgres(self) -> str:
        if self._settings.database_url is not None:
            return self._settings.database_url
        self._postgres = self._settings.postgres(self._ports.preferred("postgres"))
        self._resources.callback(self._postgres.stop)
        url = self._postgres.start()
        self._ports.remember("postgres", self._postgres.port)
        return database.create_database(url)

    def _start_model(self) -> Service:
        port = self._ports.take("model")
        arguments = ["--host", HOST, "--port", str(port)]
        return self._start_service("local.image_model", arguments, port)

    def _start_service(
        self, module: str, arguments: list[str], port: int, stdin: str = ""
    ) -> Service:
        log = self._settings.logs / f"{module.removeprefix('local.')}.log"
        service = Service(module, arguments, port=port, root=ROOT, log=log, stdin=stdin)
        self._resources.callback(service.stop)
        service.start()
        self._services.append(service)
        return service

    def _serve(self, application: Callable, port: int) -> str:
        server = ThreadedServer(application, port)
        self._resources.callback(server.stop)
        return server.url

    def _tokens(self) -> dict[str, str]:
        return {name: self._keys.mint(user) for name, user in USERS.items()}

    def _write_stack_file(
        self, base_url: str, urls: database.DatabaseUrls, model_url: str, aws_url: str
    ) -> None:
        self._ports.save()
        stack = {
            "base_url": base_url,
            "database_url": urls.owner,
            "api_database_url": urls.api,
            "worker_database_url": urls.worker,
            "model_url": model_url,
            "s3_endpoint": aws_url,
            "bucket": RESULTS_BUCKET,
            "console_url": f"{base_url}/",
            "tokens": self._tokens(),
            "pid": os.getpid(),
        }
        self._resources.callback(self._settings.stack_file.unlink, missing_ok=True)
        write_private(self._settings.stack_file, json.dumps(stack, indent=2) + "\n")


class _Ports:
    """Ports by name. A restart takes the same ports if they are free, so old URLs stay valid."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ports: dict[str, int] = {}
        with contextlib.suppress(FileNotFoundError, ValueError):
            self._ports = json.loads(settings.ports_file.read_text())

    def take_api_port(self) -> int:
        """Return PORT, or any free port without PORT; StackError if PORT is in use."""
        port = self._settings.port
        if port is None:
            return self.take("api")
        if not children.is_free(port):
            raise StackError(f"PORT {port} is in use; choose another one or leave PORT unset.")
        return port

    def take(self, name: str) -> int:
        """Return a free port and record it under the name."""
        self._ports[name] = children.free_port(self.preferred(name))
        return self._ports[name]

    def preferred(self, name: str) -> int | None:
        """Return the port that the last start recorded under the name."""
        return self._ports.get(name)

    def remember(self, name: str, port: int | None) -> None:
        """Record a port for the next start."""
        if port is not None:
            self._ports[name] = port

    def save(self) -> None:
        """Write the ports to LOCAL_DIR/ports.json."""
        write_private(self._settings.ports_file, json.dumps(self._ports))


def paint_missing_images(owner_url: str, aws_url: str) -> None:
    """Paint an image for every completed result without one. The demo data has rows, but no
    images."""
    s3 = client("s3", aws_url)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=RESULTS_BUCKET)
    present = {item.get("Key") for page in pages for item in page.get("Contents", [])}
    for key, prompt in database.completed_images(owner_url):
        if key not in present:
            s3.put_object(
                Bucket=RESULTS_BUCKET, Key=key, Body=paint(prompt), ContentType="image/png"
            )
