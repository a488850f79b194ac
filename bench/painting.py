"""One warm execution environment of generate: the CPU of one image, and the memory of the largest.

The reference for the CPU is the two calls that every image needs: one to the model, one to S3. One
row measures our function without the decoding of the image and without its thumbnail. The other row
is what these two add, against Pillow alone. The function is the built one and its database is
Postgres. The model, S3 and Secrets Manager are stand-ins in this process that answer immediately.
"""

import base64
import io
import json
import random
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice, repeat
from statistics import fmean, median
from typing import Any

from PIL import Image

from bench import environment, functions, stage
from bench.functions import Function, Warm
from bench.measure import CannotRun, Row, Sample, compare, interleave
from bench.processes import MEGABYTE, memory_mb
from bench.stage import PROMPTS, Event, Stage

# The largest image that generate stores: a PNG of this many pixels a side is a little smaller.
LARGEST = 10 * 1024 * 1024
LARGEST_SIDE = 1868
# A JPEG of noise, 1K in size, has about a megabyte at this quality.
SIDE, QUALITY = 1024, 92
QUICK_ROUNDS, FULL_ROUNDS = 58, 198
WARM_UP = 2
# Images per round. The processes alternate, so each round starts with cold processor caches.
IMAGES = 5
MEMORY_ROUNDS, LARGE_IMAGES = 3, 5
FLOOR = "google-genai + boto3 put"
PILLOW = "Pillow's decode, resize and encode"
CPU_ROWS = ("generate_cpu", "thumbnail_cpu")
IDLE = "the same process, idle"


class Model(ThreadingHTTPServer):
    """Answers every call with the same prepared image."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _ModelHandler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.answer = b""

    def paint(self, image: bytes, mime_type: str) -> None:
        """Sets the image."""
        part = {"inlineData": {"mimeType": mime_type, "data": base64.b64encode(image).decode()}}
        self.answer = json.dumps(
            {
                "candidates": [
                    {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}
                ],
                "usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 1290},
                "modelVersion": "gemini-2.5-flash-image",
            }
        ).encode()


def _usual_image() -> bytes:
    stream = io.BytesIO()
    _noise(SIDE).save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def _largest_image() -> bytes:
    stream = io.BytesIO()
    _noise(LARGEST_SIDE).save(stream, "PNG", compress_level=0)
    assert len(stream.getvalue()) <= LARGEST
    return stream.getvalue()


def _noise(side: int) -> Image.Image:
    return Image.frombytes("RGB", (side, side), random.Random(0).randbytes(side * side * 3))


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
    """The rows `generate_cpu` and `thumbnail_cpu`, measured together, and `memory`."""
    with stage.set_up("painting") as scene, _model() as model:
        if not {*CPU_ROWS}.isdisjoint(names):
            yield from _cpu(scene, model, FULL_ROUNDS if full else QUICK_ROUNDS)
        if "memory" in names:
            yield _memory(scene, model)


@contextmanager
def _model() -> Iterator[Model]:
    with Model() as model:
        threading.Thread(target=model.serve_forever, daemon=True).start()
        yield model
        model.shutdown()


def _cpu(scene: Stage, model: Model, rounds: int) -> list[Row]:
    image = _usual_image()
    model.paint(image, "image/jpeg")
    file = environment.SCRATCH / "painting" / "usual.jpg"
    file.write_bytes(image)
    images = (rounds + WARM_UP) * IMAGES
    with (
        _all_painted(scene, 2 * images),
        _warm(functions.ours(scene, "GenerateFunction"), model, _prompts(scene, images)) as ours,
        _warm(functions.without_decoding(scene), model, _prompts(scene, images)) as without,
        _warm(functions.calls_alone(scene), model, [{"prompt": "a cat"}]) as floor,
        _warm(functions.decoding(scene), model, [{"path": str(file)}]) as decoding,
    ):
        ours_next, without_next = iter(range(images)), iter(range(images))
        samples = interleave(
            rounds,
            {
                "ours": lambda: _mean(ours, islice(ours_next, IMAGES)),
                "without": lambda: _mean(without, islice(without_next, IMAGES)),
                "floor": lambda: _mean(floor, repeat(0, IMAGES)),
                "decoding": lambda: _mean(decoding, repeat(0, IMAGES)),
            },
            warm_up=WARM_UP,
        )
    added = [
        Sample(ours.wall - without.wall, ours.cpu - without.cpu)
        for ours, without in zip(samples["ours"], samples["without"], strict=True)
    ]
    return [
        compare("generate_cpu", samples["without"], samples["floor"], FLOOR, clock="cpu"),
        compare(
            "thumbnail_cpu",
            added,
            samples["decoding"],
            PILLOW,
            clock="cpu",
            with_thumbnail_ms_cpu=_milliseconds(samples["ours"]),
            without_ms_cpu=_milliseconds(samples["without"]),
        ),
    ]


def _warm(
    function: Function, model: Model, events: Sequence[Event]
) -> AbstractContextManager[Warm]:
    return function.with_variables(GOOGLE_GEMINI_BASE_URL=model.url).stay(events)


def _mean(process: Warm, positions: Iterable[int]) -> Sample:
    found = [process.call(1, position) for position in positions]
    return Sample(fmean(one.wall for one in found), fmean(one.cpu for one in found))


def _milliseconds(samples: Sequence[Sample]) -> float:
    return round(median(sample.cpu for sample in samples) * 1000, 3)


def _memory(scene: Stage, model: Model) -> Row:
    ours = functions.ours(scene, "GenerateFunction").with_variables(
        GOOGLE_GEMINI_BASE_URL=model.url
    )
    usual, largest = _usual_image(), _largest_image()
    idle: list[float] = []
    peak: list[float] = []
    after: list[float] = []
    for _ in range(MEMORY_ROUNDS):
        with (
            _all_painted(scene, 1 + LARGE_IMAGES),
            ours.stay(_prompts(scene, PROMPTS)) as generate,
        ):
            model.paint(usual, "image/jpeg")
            generate.call(1, 0)
            idle.append(memory_mb(generate.pid))
            model.paint(largest, "image/png")
            for position in range(1, LARGE_IMAGES + 1):
                generate.call(1, position)
            peak.append(memory_mb(generate.pid, "VmHWM"))
            after.append(memory_mb(generate.pid))
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
