"""`make sam-local`: the functions that `make package` built, in Lambda's own containers.

`sam local start-api` serves HTTP, and `sam local start-lambda` serves the state machine.
PostgreSQL, S3, Step Functions, Secrets Manager and the model are those of a local stack. Needs
Docker and Linux.

SAM serves a copy of the build in LOCAL_DIR. So a later `make package` and a second stack do not
change the files that it reads.
"""

import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from samcli.yamlhelper import yaml_dump, yaml_parse

from local import lifecycle
from local.aws.clients import client
from local.aws.resources import REGION
from local.aws.template import read_template
from local.errors import StackError
from local.processes import children
from local.processes.children import HOST
from local.processes.health import wait_for_health
from local.settings import ROOT, Settings
from local.wiring import (
    API_DATABASE_SECRET,
    INHERITED,
    WORKER_DATABASE_SECRET,
    function_variables,
    template_parameters,
)

READY_SECONDS = 180
END_SECONDS = 60
PULL_SECONDS = 600
COPY_ATTEMPTS = 3
MACHINE = {"aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), "x86_64")
IMAGE = f"public.ecr.aws/lambda/python:3.13-{MACHINE}"
NOT_IN_A_CONTAINER = (*INHERITED, "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID")


def serve(settings: Settings, built: Path, ready: Callable[[str, Path], object]) -> None:
    """Serve the built template until a signal.

    Calls `ready` with the URL and the template that SAM reads once /health is healthy. Raises
    StackError without Docker, base image or build, or if a stack runs in LOCAL_DIR.
    """
    gateway = need_docker()
    _refuse_other_architecture(built)
    functions_port = children.free_port()
    if lifecycle.running(settings):
        raise StackError(
            "A stack runs in LOCAL_DIR already; run `make down` or set another LOCAL_DIR."
        )
    # Both signals end this command orderly. A parent may have set them to be ignored, and children
    # inherit that.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    os.environ["FUNCTIONS_URL"] = f"http://{HOST}:{functions_port}"
    settings = replace(settings, functions_url=os.environ["FUNCTIONS_URL"])
    with ExitStack() as resources:
        resources.callback(lifecycle.down, settings)
        stack = lifecycle.up(settings)
        for url in (stack["s3_endpoint"], stack["model_url"], stack["database_url"]):
            if urlsplit(url).hostname == HOST:
                resources.enter_context(Forwarder(gateway, _port(url)))
        keys_port = json.loads(settings.ports_file.read_text())["inner"]
        resources.enter_context(Forwarder(gateway, keys_port))
        _let_containers_reach_the_database(stack, gateway)
        copied = _copy_build(built.parent, settings.sam_build)
        template = _template(copied, settings, stack, gateway, keys_port)
        api_port = settings.port or children.free_port()
        started = [
            resources.enter_context(
                SamLocal(command, template, port, settings.logs / f"{command}.log")
            )
            for command, port in (("start-lambda", functions_port), ("start-api", api_port))
        ]
        wait_for_health(
            api_port,
            settings.logs / "start-api.log",
            READY_SECONDS,
            alive=lambda: all(process.alive for process in started),
        )
        ready(f"http://{HOST}:{api_port}", template)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


def need_docker() -> str:
    """Return this machine's address inside containers; StackError without daemon or base image.

    Docker pulls a missing base image.
    """
    gateway = docker_gateway()
    if _docker("image", "inspect", IMAGE).returncode == 0:
        return gateway
    print(f"The base image {IMAGE} is missing. Docker pulls it …", file=sys.stderr, flush=True)
    try:
        pulled = _docker("pull", IMAGE, seconds=PULL_SECONDS)
        reason = pulled.stderr.strip().rpartition("\n")[2] if pulled.returncode else ""
    except subprocess.TimeoutExpired:
        reason = f"no end after {PULL_SECONDS} s"
    if reason or pulled.returncode:
        raise StackError(
            f"The base image {IMAGE} is missing, and Docker cannot pull it: {reason}. "
            f"Load it with `docker load` or `docker pull {IMAGE}`."
        )
    return gateway


def _docker(*arguments: str, seconds: float = 30) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, check=False, timeout=seconds
    )


def docker_gateway() -> str:
    """Return this machine's address inside containers; StackError without a Docker daemon."""
    try:
        inspected = subprocess.run(
            ["docker", "network", "inspect", "bridge"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise StackError(
            "sam-local needs a running Docker daemon; see docs/sam-local.md"
        ) from error
    [configuration] = json.loads(inspected.stdout)[0]["IPAM"]["Config"][:1]
    subnet = configuration["Subnet"].partition("/")[0]
    return configuration.get("Gateway") or subnet.removesuffix(".0") + ".1"


class Forwarder:
    """Connects `address`:`port` to the same port on this machine's loopback address."""

    def __init__(self, address: str, port: int) -> None:
        self._port = port
        self._listener = socket.create_server((address, port))

    def __enter__(self) -> "Forwarder":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        # `accept` fails when the listener is closed.
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection((HOST, self._port))
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while received := source.recv(65536):
            target.sendall(received)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def _let_containers_reach_the_database(stack: dict[str, Any], gateway: str) -> None:
    manager = client("secretsmanager", stack["s3_endpoint"])
    for secret, name in (
        (API_DATABASE_SECRET, "api_database_url"),
        (WORKER_DATABASE_SECRET, "worker_database_url"),
    ):
        # The functions require TLS for every host except loopback, and this server has no TLS.
        url = stack[name].replace(f"@{HOST}:", f"@{gateway}:") + "?sslmode=disable"
        manager.put_secret_value(SecretId=secret, SecretString=url)


def _refuse_other_architecture(built: Path) -> None:
    if not built.exists():
        raise StackError("There is no build; run `make package` first.")
    architecture = yaml_parse(built.read_text())["Parameters"]["Architecture"]
    if MACHINE not in architecture["AllowedValues"]:
        raise StackError(f"The build is not for {MACHINE}; run `make package` again.")


def _copy_build(source: Path, target: Path) -> Path:
    """Copy a build and return the copy's template. `make package` may replace the build meanwhile.

    A copy of two builds would be inconsistent, so the copy starts again if the build changed.
    """
    for _ in range(COPY_ATTEMPTS):
        shutil.rmtree(target, ignore_errors=True)
        with suppress(FileNotFoundError, shutil.Error):
            before = (source / "template.yaml").stat()
            shutil.copytree(source, target)
            after = (source / "template.yaml").stat()
            if (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns):
                break
    else:
        raise StackError("The build changed while it was copied; run `make sam-local` again.")
    # The definition of the state machine is not part of the build.
    template = yaml_parse((source / "template.yaml").read_text())
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        if "DefinitionUri" in properties:
            uri = source / properties["DefinitionUri"]
            properties["DefinitionUri"] = str(uri.resolve())
    path = target / "template.yaml"
    path.write_text(yaml_dump(template))
    return path


def _template(
    built: Path, settings: Settings, stack: dict[str, Any], gateway: str, keys_port: int
) -> Path:
    """Write and return a copy of the built template with each function's whole environment.

    SAM passes only those variables to a container that the template names.
    """
    parameters = template_parameters(settings, f"http://{gateway}:{keys_port}/jwks.json")
    variables = {
        function.logical_id: {
            name: value.replace(f"//{HOST}:", f"//{gateway}:")
            for name, value in function_variables(
                function, aws_url=stack["s3_endpoint"], model_url=stack["model_url"]
            ).items()
            if name not in NOT_IN_A_CONTAINER
        }
        for function in read_template(built, parameters).functions
    }
    template = yaml_parse(built.read_text())
    for name, value in {**parameters, "Architecture": MACHINE}.items():
        template["Parameters"][name]["Default"] = value
    for logical_id, values in variables.items():
        template["Resources"][logical_id]["Properties"]["Environment"] = {"Variables": values}
    path = built.with_name("sam-local.yaml")
    path.write_text(yaml_dump(template))
    return path


class SamLocal:
    """A `sam local start-…` process. SIGINT ends it, and it then removes its containers."""

    def __init__(self, command: str, template: Path, port: int, log: Path) -> None:
        self._process = children.spawn(
            [
                *("sam", "local", command, "--template", str(template), "--region", REGION),
                *("--host", HOST, "--port", str(port), "--warm-containers", "LAZY"),
                "--skip-pull-image",
            ],
            log=log,
            cwd=ROOT,
            env={
                **os.environ,
                "AWS_ACCESS_KEY_ID": "local-sam",
                "AWS_SECRET_ACCESS_KEY": "local",
                "SAM_CLI_TELEMETRY": "0",
            },
            death_signal=signal.SIGINT,
        )

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return self._process.poll() is None

    def __enter__(self) -> "SamLocal":
        return self

    def __exit__(self, *_: object) -> None:
        children.end(self._process, signal.SIGINT, END_SECONDS)
