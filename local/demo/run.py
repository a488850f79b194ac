"""The command `make demo`: submit the prompts of a file, wait, and collect the images.

It starts the stack unless one runs, and stops a stack that it started. STAY=1 leaves it running.
"""

import argparse
import contextlib
import functools
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from local import lifecycle
from local.demo import execution, report
from local.demo.api_client import ApiClient, ApiError
from local.demo.output import Output, save_image
from local.demo.progress_bar import ProgressBar
from local.demo.prompts import EXAMPLE_PROMPTS, PromptFile, read_prompts
from local.errors import DemoError, StackError
from local.settings import ROOT, Settings

DEMO_API_KEY = "demo-key-for-the-stand-in-model"
PROMPTS_PER_CORE = 2
INTERRUPTED = 130

type Json = dict[str, Any]


class Stack(Protocol):
    """The parts of the local stack that the demo uses."""

    def is_running(self) -> bool: ...

    def up(self) -> Json: ...

    def down(self) -> None: ...


def main(argv: Sequence[str], stack: Stack | None = None) -> int:
    """Run the demo and return the exit code: 0 only if the execution completed."""
    parser = argparse.ArgumentParser(prog="python -m local demo", description=__doc__)
    parser.add_argument("prompts", nargs="?", help="a file of prompts (default: $PROMPTS)")
    chosen = parser.parse_args(argv).prompts or os.environ.get("PROMPTS") or EXAMPLE_PROMPTS
    stay = os.environ.get("STAY", "") not in ("", "0")
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    try:
        prompts = read_prompts(Path(chosen))
        with _terminable(), _running(stack or LocalStack(), stay, console) as access:
            run(access, prompts, demo_directory(), console, stay=stay)
    except (DemoError, ApiError, StackError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def demo_directory() -> Path:
    """Return the directory of the demo's files: `demo` below LOCAL_DIR."""
    return ROOT / (os.environ.get("LOCAL_DIR") or ".local") / "demo"


class LocalStack:
    """The stack of LOCAL_DIR."""

    def __init__(self) -> None:
        self._settings = Settings.from_environment()

    def is_running(self) -> bool:
        """True if a stack runs or starts."""
        return lifecycle.running(self._settings)

    def up(self) -> Json:
        """Start the stack unless it runs, and return stack.json."""
        if self._settings.concurrency is None and not self._settings.real_model:
            # The stand-in paints on this machine's cores. More environments would start later and
            # paint more slowly.
            os.environ["CONCURRENCY"] = str(PROMPTS_PER_CORE * (os.cpu_count() or 1))
        return lifecycle.up(self._settings)

    def down(self) -> None:
        """Stop the stack; the data stays."""
        lifecycle.down(self._settings)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP interrupt the demo as Ctrl-C does, so that it stops the stack."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def _running(stack: Stack, stay: bool, console: Console) -> Iterator[Json]:
    """Start the stack; stop it at the end unless it ran before or `stay` is true.

    An interrupt stops it even with `stay`.
    """
    was_running = stack.is_running()
    if not was_running:
        console.print("Starting the stack …")
    leave = was_running or stay
    access = stack.up()
    try:
        yield access
    except KeyboardInterrupt:
        leave = was_running
        raise
    finally:
        if not leave:
            console.print("Stopping the stack …")
            stack.down()


def run(
    access: Json,
    prompts: Sequence[str] | PromptFile,
    directory: Path,
    console: Console,
    *,
    stay: bool = False,
) -> None:
    """Submit one execution, wait, and write and print its results.

    Raises DemoError if the execution did not complete or an image could not be downloaded.
    """
    output = Output(directory)
    api = ApiClient(access["base_url"], access["tokens"]["client_a"])

    workflow = execution.find_workflow(api)
    started = time.monotonic()
    api_key = os.environ.get("GEMINI_API_KEY") or DEMO_API_KEY
    tier = os.environ.get("TIER") or None
    body = execution.body_of(api, workflow["id"], prompts, api_key, tier)
    prices = execution.prices(api, body) if tier else None
    if prices:
        console.print(report.prices_text(prices))
    submitted = execution.submit(api, body)
    execution_id, count = submitted["id"], submitted["prompt_count"]
    console.print(f"Submitted {count} prompts to “{workflow['name']}” as {execution_id}")
    with ProgressBar(count, console) as bar:
        ended = execution.wait_for_end(api, execution_id, bar.show)
    seconds = round(time.monotonic() - started, 1)

    results = execution.fetch_results(api, execution_id)
    console.print(report.results_table(results, console.width))
    folder = output.folder(execution_id)
    save = functools.partial(save_image, folder)
    tiles = execution.collect_images(api, execution_id, results, save)
    images = [tile.image for tile in tiles if tile.image]
    output.write_sheet(execution_id, tiles)
    output.write_summary(ended, images, seconds, prices)

    console.print(f"{ended['status']} in {seconds} s: {len(images)} of {len(results)} images")
    if prices:
        console.print(report.saving_text(prices, ended["cost_microusd"]))
    report.print_paths(console, folder, output.sheet, output.summary)
    if stay:
        report.print_calls(console, access, workflow["id"], DEMO_API_KEY)
    lost = sum(result["status"] == "completed" for result in results) - len(images)
    if lost:
        raise DemoError(f"{lost} finished images could not be downloaded")
    if ended["status"] != "completed":
        reason = ended.get("error_message") or ended.get("error_code") or "no reason given"
        raise DemoError(f"the execution ended as {ended['status']}: {reason}")
