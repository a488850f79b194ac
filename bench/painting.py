"""One warm execution environment of generate: the CPU of one image, and the memory of the largest.

The reference for the CPU is the two calls that every image needs: one to the model, one to S3. The
function is the built one and its database is Postgres. The model, S3 and Secrets Manager are
stand-ins in this process that answer immediately.
"""

import base64
import json
import random
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice, repeat
from pathlib import Path
from statistics import fmean, median
from typing import Any

from bench import functions, stage
from bench.functions import Warm
from bench.measure import CannotRun, Row, Sample, compare, interleave
from bench.stage import PROMPTS, Event, Stage

MEGABYTE = 1_000_000
# The largest image that generate stores.
LARGEST = 10 * 1024 * 1024
PNG = b"\x89PNG\r\n\x1a\n"
QUICK_ROUNDS, FULL_ROUNDS = 58, 198
WARM_UP = 2
# Images per round. The processes alternate, so each round starts with cold processor caches.
IMAGES = 5
MEMORY_ROUNDS, LARGE_IMAGES = 3, 5
FLOOR = "google-genai + boto3 put"
IDLE = "the same process, idle"


class Model(ThreadingHTTPServer):
    """Answers every call with the same prepared image."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _ModelHandler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.answer = b""

    def paint(self, size: int) -> None:
        """Sets the size of the image, in bytes."""
        image = PNG + random.Random(0).randbytes(size - len(PNG))
        part = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(image).decode()}}
        self.answer = json.dumps(
            {
                "candidates": [
                    {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}
                ],
                "usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 1290},
                "modelVersion": "gemini-2.5-flash-image",
            }
        ).encode()


class _ModelHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """generateContent."""
        self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Model)
        answer = self.server.answer
        self.send_response(200)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Stay silent."""


def run(names: list[str], *, full: bool) -> Iterator[Row]:
    """The rows `generate_cpu` and `memory`."""
    with stage.set_up("painting") as scene, _model() as model:
        for name in names:
            match name:
                case "generate_cpu":
                    yield _cpu(scene, model, FULL_ROUNDS if full else QUICK_ROUNDS)
                case "memory":
                    yield _memory(scene, model)


@contextmanager
def _model() -> Iterator[Model]:
    with Model() as model:
        threading.Thread(target=model.serve_forever, daemon=True).start()
        yield model
        model.shutdown()


def _cpu(scene: Stage, model: Model, rounds: int) -> Row:
    model.paint(MEGABYTE)
    images = (rounds + WARM_UP) * IMAGES
    events = _prompts(scene, images)
    ours = functions.ours(scene, "GenerateFunction").with_variables(
        GOOGLE_GEMINI_BASE_URL=model.url
    )
    calls_alone = functions.calls_alone(scene).with_variables(GOOGLE_GEMINI_BASE_URL=model.url)
    with (
        _all_painted(scene, images),
        ours.stay(events) as generate,
        calls_alone.stay([{"prompt": "a cat"}]) as floor,
    ):
        positions = iter(range(len(events)))

        def paint(process: Warm, prompts: Iterable[int]) -> Sample:
            found = [process.call(1, prompt) for prompt in prompts]
            return Sample(fmean(one.wall for one in found), fmean(one.cpu for one in found))

        samples = interleave(
            rounds,
            {
                "ours": lambda: paint(generate, islice(positions, IMAGES)),
                "floor": lambda: paint(floor, repeat(0, IMAGES)),
            },
            warm_up=WARM_UP,
        )
    return compare("generate_cpu", samples["ours"], samples["floor"], FLOOR, clock="cpu")


def _memory(scene: Stage, model: Model) -> Row:
    ours = functions.ours(scene, "GenerateFunction").with_variables(
        GOOGLE_GEMINI_BASE_URL=model.url
    )
    idle: list[float] = []
    peak: list[float] = []
    after: list[float] = []
    for _ in range(MEMORY_ROUNDS):
        with (
            _all_painted(scene, 1 + LARGE_IMAGES),
            ours.stay(_prompts(scene, PROMPTS)) as generate,
        ):
            model.paint(MEGABYTE)
            generate.call(1, 0)
            idle.append(_resident(generate))
            model.paint(LARGEST)
            for position in range(1, LARGE_IMAGES + 1):
                generate.call(1, position)
            peak.append(_resident(generate, "VmHWM"))
            after.append(_resident(generate))
    taken = (median(peak) - median(idle)) * MEGABYTE / LARGEST
    return Row(
        "memory",
        median(peak),
        median(idle),
        IDLE,
        "MB",
        # Four copies of it exist: the response body, its text, the base64 string and the bytes.
        {"peak_in_images": round(taken, 1), "after_mb": round(median(after), 1)},
    )


def _resident(process: Warm, which: str = "VmRSS") -> float:
    """Megabytes of memory that the process uses (VmRSS) or used at most (VmHWM)."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(f"{which}:")]
    return int(line.split()[1]) * 1024 / MEGABYTE


def _prompts(scene: Stage, number: int) -> list[Event]:
    """Events of at least `number` prompts that are not painted yet."""
    executions = [
        str(scene.submit("processing", prompts="processing")) for _ in range(-(-number // PROMPTS))
    ]
    return [
        {"execution_id": execution_id, "batch_index": index}
        for execution_id in executions
        for index in range(PROMPTS)
    ]


@contextmanager
def _all_painted(scene: Stage, images: int) -> Iterator[None]:
    """Raises CannotRun unless the block painted so many images: a failure would look fast."""
    query = "SELECT count(*) FROM public.workflow_batch_results WHERE image_sha256 IS NOT NULL"
    [[before]] = scene.execute(query)
    yield
    [[after]] = scene.execute(query)
    if after - before != images:
        raise CannotRun(f"{after - before} of {images} images were painted")
