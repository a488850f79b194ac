"""`make demo`: submit a list of prompts over HTTP, watch it, and collect the images."""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from local import lifecycle
from local.demo.api_client import ApiClient, ApiError
from local.demo.contact_sheet import Tile, draw_contact_sheet
from local.errors import StackError
from local.processes.files import lock_holder
from local.settings import ROOT, Settings

EXAMPLE_PROMPTS = ROOT / "examples" / "prompts.txt"
LARGEST_PROMPT_FILE = 4 * 1024 * 1024
LONGEST_PROMPT = 10_000
DEMO_API_KEY = "demo-key-for-the-stand-in-model"
NO_PROGRESS_SECONDS = 600.0
POLL_SECONDS = 1.0
PROMPTS_A_CORE = 2
ROWS_SHOWN = 30
INTERRUPTED = 130

type Json = dict[str, Any]


class DemoError(Exception):
    """Why the demo ends early; the message is the one line people see."""


class Stack(Protocol):
    """What the demo needs of the local stack."""

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
    """Return where the demo leaves its files: `demo` below $LOCAL_DIR."""
    return ROOT / (os.environ.get("LOCAL_DIR") or ".local") / "demo"


class LocalStack:
    """The stack of $LOCAL_DIR."""

    def __init__(self) -> None:
        self._settings = Settings.from_environment()

    def is_running(self) -> bool:
        """Whether a supervisor lives, ready or not."""
        return lock_holder(self._settings.lock_file) is not None

    def up(self) -> Json:
        """Start the stack unless it runs, and return stack.json."""
        if self._settings.concurrency is None and not self._settings.real_model:
            # The stand-in paints on this machine's own cores, and so starts every environment:
            # more at once is slower, and the first image late.
            os.environ["CONCURRENCY"] = str(PROMPTS_A_CORE * (os.cpu_count() or 1))
        return lifecycle.up(self._settings)

    def down(self) -> None:
        """Stop the stack; the data stays."""
        lifecycle.down(self._settings)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind like Ctrl-C, so that the stack is taken down then too."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def _running(stack: Stack, stay: bool, console: Console) -> Iterator[Json]:
    """Bring the stack up, and down again if it was not up before and nobody asked to stay."""
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
            console.print("Taking the stack down …")
            stack.down()


# Prompts


def read_prompts(path: Path) -> list[str]:
    """Return the prompts of a file; DemoError if it has none or cannot be used."""
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_PROMPT_FILE + 1)
    except OSError as error:
        raise DemoError(f"cannot read the prompts in {path}: {error.strerror}") from None
    if len(raw) > LARGEST_PROMPT_FILE:
        raise DemoError(f"{path} is too long: over {LARGEST_PROMPT_FILE // 1024**2} MB of prompts")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DemoError(f"{path} is not UTF-8 text") from None
    prompts = split_prompts(text)
    if not prompts:
        raise DemoError(f"{path} holds no prompt")
    for number, prompt in enumerate(prompts, 1):
        if len(prompt) > LONGEST_PROMPT:
            raise DemoError(
                f"{path}: prompt {number} is too long:"
                f" {len(prompt):,} characters, {LONGEST_PROMPT:,} are allowed"
            )
    return prompts


def split_prompts(text: str) -> list[str]:
    """Return one prompt a line, or one a block where blank lines separate blocks of lines."""
    text = re.sub(r"\r\n?", "\n", text).strip()
    blocks = [block.strip() for block in re.split(r"\n\s*\n", text)]
    if len(blocks) > 1 and any("\n" in block for block in blocks):
        prompts = blocks
    else:
        prompts = [line.strip() for line in text.split("\n")]
    return [prompt for prompt in prompts if prompt]


# The run


def run(
    access: Json, prompts: Sequence[str], directory: Path, console: Console, *, stay: bool = False
) -> None:
    """Submit, watch, collect and report one execution; DemoError unless it completed."""
    directory.mkdir(parents=True, exist_ok=True)
    summary = directory / "summary.json"
    summary.unlink(missing_ok=True)
    api = ApiClient(access["base_url"], access["tokens"]["client_a"])

    workflow = _find_workflow(api)
    started = time.monotonic()
    execution_id = _submit(api, workflow["id"], prompts)
    console.print(f"Submitted {len(prompts)} prompts to “{workflow['name']}” as {execution_id}")
    execution = _watch(api, execution_id, len(prompts), console)
    seconds = round(time.monotonic() - started, 1)

    rows = list(api.items(f"/v1/executions/{execution_id}/results", limit=200))
    console.print(_results_table(rows, console.width))
    folder = directory / execution_id
    folder.mkdir(exist_ok=True)
    tiles = _collect(api, execution_id, rows, folder)
    images = [tile.image for tile in tiles if tile.image]
    sheet = _save_sheet(directory, folder, tiles)

    record = {
        "execution_id": execution_id,
        "status": execution["status"],
        "output_data": _counts(execution["output_data"]),
        "images": [os.path.relpath(image, ROOT) for image in images],
        "seconds": seconds,
    }
    _write(summary, json.dumps(record, indent=2).encode() + b"\n")

    console.print(f"{execution['status']} in {seconds} s: {len(images)} of {len(rows)} images")
    for label, path in (("images", folder), ("contact sheet", sheet), ("summary", summary)):
        console.print(f"  {label + ':':15}{_short(path)}", soft_wrap=True)
    if stay:
        _print_curls(access, workflow["id"], execution_id, console)
    lost = sum(row["status"] == "completed" for row in rows) - len(images)
    if lost:
        raise DemoError(f"{lost} finished images could not be downloaded")
    if execution["status"] != "completed":
        reason = execution.get("error_message") or execution.get("error_code") or "no reason given"
        raise DemoError(f"the execution ended as {execution['status']}: {reason}")


def _find_workflow(api: ApiClient) -> Json:
    for workflow in api.items("/v1/workflows"):
        kind = workflow["config"].get("workflow_type")
        if kind == "nano_banana" and workflow["status"] == "active":
            return workflow
    raise DemoError("there is no active nano_banana workflow to run")


def _submit(api: ApiClient, workflow_id: str, prompts: Sequence[str]) -> str:
    body = {
        "workflow_id": workflow_id,
        "prompts": list(prompts),
        "api_key": os.environ.get("GEMINI_API_KEY") or DEMO_API_KEY,
    }
    return api.post("/v1/executions", body, str(uuid.uuid4())).json()["id"]


def _watch(api: ApiClient, execution_id: str, total: int, console: Console) -> Json:
    """Poll until the execution has ended; DemoError when nothing moves for too long."""
    seen: tuple[object, ...] = ()
    moved = time.monotonic()
    with _Meter(total, console) as meter:
        while True:
            answer = api.get(f"/v1/executions/{execution_id}")
            execution = answer.json()
            progress = execution.get("progress") or {}
            now = (execution["status"], *sorted(progress.items()))
            if now != seen:
                seen, moved = now, time.monotonic()
                meter.show(execution["status"], progress)
            if execution["status"] not in ("pending", "processing"):
                return execution
            idle = time.monotonic() - moved
            if idle > NO_PROGRESS_SECONDS:
                raise DemoError(
                    f"execution {execution_id} made no progress for {idle:.0f} s"
                    f" (it is {execution['status']})"
                )
            time.sleep(min(answer.retry_after(POLL_SECONDS), NO_PROGRESS_SECONDS))


class _Meter:
    """A live bar on a terminal, a line for each change anywhere else."""

    def __init__(self, total: int, console: Console) -> None:
        self._total, self._console = total, console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failures]}", style="red"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("pending", total=total, failures="")

    def __enter__(self) -> "_Meter":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, status: str, progress: Json) -> None:
        failed, working = progress.get("failed", 0), progress.get("processing", 0)
        done = progress.get("successful", 0) + failed
        failures = f"{failed} failed" if failed else ""
        self._bar.update(self._task, description=status, completed=done, failures=failures)
        if not self._console.is_terminal:
            self._console.print(
                f"{status}: {done} of {self._total} done, {failed} failed, {working} in progress"
            )


# What came of it


def _results_table(rows: Sequence[Json], width: int) -> Table:
    """Return the first rows and every failure; the caption counts what is left out."""
    shown = [row for at, row in enumerate(rows) if at < ROWS_SHOWN or row["status"] != "completed"]
    hidden = len(rows) - len(shown)
    table = Table(caption=f"… and {hidden} more, all completed" if hidden else None)
    table.add_column("#", justify="right")
    table.add_column(
        "Prompt", max_width=min(56, max(20, width - 56)), no_wrap=True, overflow="ellipsis"
    )
    table.add_column("Status")
    table.add_column("Error", max_width=44, overflow="fold")
    table.add_column("ms", justify="right")
    for row in shown:
        style = "green" if row["status"] == "completed" else "red"
        error = ": ".join(
            str(row[name]) for name in ("error_code", "error_message") if row.get(name)
        )
        took = row.get("processing_time_ms")
        table.add_row(
            str(row["batch_index"]),
            Text(" ".join(row["prompt_text"].split())),
            Text(row["status"], style),
            Text(error),
            "" if took is None else f"{took:,}",
        )
    return table


def _collect(
    api: ApiClient, execution_id: str, rows: Sequence[Json], folder: Path
) -> list[Tile]:  # fmt: skip
    """Download every finished image into the folder and return a tile for each row."""

    def collect(row: Json) -> Tile:
        index, prompt = row["batch_index"], row["prompt_text"]
        if row["status"] != "completed":
            return Tile(index, prompt, failure=row.get("error_code") or row["status"])
        try:
            image = api.download(f"/v1/executions/{execution_id}/results/{index}/image")
        except ApiError as error:
            print(f"demo: image {index}: {error}", file=sys.stderr)
            return Tile(index, prompt, failure="download failed")
        path = folder / f"{index:03d}.{_extension(image)}"
        _write(path, image)
        return Tile(index, prompt, path)

    with ThreadPoolExecutor(8) as pool:
        tiles = list(pool.map(collect, rows))
    return sorted(tiles, key=lambda tile: tile.index)


def _extension(image: bytes) -> str:
    if image.startswith(b"\xff\xd8\xff"):
        return "jpg"
    return "webp" if image[:4] == b"RIFF" and image[8:12] == b"WEBP" else "png"


def _counts(output: dict[str, Any] | None) -> dict[str, int] | None:
    """The three counts; the summary's readers compare it as a whole."""
    return output and {name: output[name] for name in ("successful", "failed", "total")}


def _save_sheet(directory: Path, folder: Path, tiles: Sequence[Tile]) -> Path:
    painted = sum(tile.image is not None for tile in tiles)
    title = f"{painted} of {len(tiles)} images  ·  execution {folder.name}"
    sheet = folder / "contact_sheet.png"
    draw_contact_sheet(title, tiles).save(sheet, "PNG", compress_level=3)
    latest = directory / "contact_sheet.png"
    shutil.copyfile(sheet, latest)
    return latest


def _short(path: Path) -> Path:
    """Return the path as one would type it from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _write(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever sees half of it."""
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(content)
    partial.replace(path)


def _print_curls(access: Json, workflow_id: str, execution_id: str, console: Console) -> None:
    executions, tokens = f"{access['base_url']}/v1/executions", access["tokens"]
    body = {"workflow_id": workflow_id, "prompts": ["a red kite"], "api_key": DEMO_API_KEY}
    console.print(
        f"""
The stack stays up until `make down`. Submit, watch, fetch an image, and look as another tenant:

A='Authorization: Bearer {tokens["client_a"]}'
B='Authorization: Bearer {tokens["client_b"]}'
curl -s -H "$A" -H 'Content-Type: application/json' -d '{json.dumps(body)}' {executions}
curl -s -H "$A" {executions}/{execution_id}
curl -sL -H "$A" {executions}/{execution_id}/results/0/image -o image.png
curl -s -H "$B" {executions}/{execution_id}
""",
        markup=False,
        soft_wrap=True,
    )
