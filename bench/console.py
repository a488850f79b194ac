"""What the console loads and how smoothly it scrolls, in a browser in front of the whole stack.

The references are bounds: 80 KB before the first view, the bytes of the originals, 50 ms.
"""

import io
import json
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from bench import stack as stacks
from bench.measure import CannotRun, Row
from local.aws.clients import client
from local.settings import RESULTS_BUCKET
from masstock_generate.thumbnails import make_thumbnail
from tests.support.browser import NoBrowser, launch

FIRST_PAINT_BYTES = 80_000
ORIGINAL_BYTES = 1_500_000
LONGEST_TASK_MS = 50
GALLERY, MANY = 1000, 10_000
ROUNDS = 3
# The pictures of a gallery repeat after so many.
DISTINCT = 8
STEP = 500
# In each round of the smooth gallery, from another third of its height.
FRAMES = 40
VIEW = {"width": 1440, "height": 900}
# Scrolls through the page, one step in each frame. Answers the milliseconds of the longest frame's
# work: from its first callback until the main thread is free again. A task that the browser itself
# calls long counts too.
SCROLL = """async ([step, pause, from, frames]) => {
  let longest = 0;
  const observer = new PerformanceObserver((list) => {
    for (const task of list.getEntries()) longest = Math.max(longest, task.duration);
  });
  observer.observe({ type: "longtask" });
  const frame = () => new Promise((done) => requestAnimationFrame(() => {
    const began = performance.now();
    setTimeout(() => done(performance.now() - began));
  }));
  const end = Math.min(document.body.scrollHeight, from + step * frames);
  for (let at = from; at < end; at += step) {
    scrollTo(0, at);
    longest = Math.max(longest, await frame());
    if (pause) await new Promise((done) => setTimeout(done, pause));
  }
  observer.disconnect();
  return longest;
}"""


def run(names: list[str], *, full: bool) -> Iterator[Row]:
    """The rows `console_first_paint`, `gallery_bytes` and `gallery_smooth`."""
    with (
        stacks.running("console", concurrency=4) as stack,
        tempfile.TemporaryDirectory() as folder,
        _browser(Path(folder)) as browser,
    ):
        if "console_first_paint" in names:
            yield _first_paint(browser, stack)
        if "gallery_bytes" in names:
            yield _gallery_bytes(browser, stack)
        if "gallery_smooth" in names:
            yield _gallery_smooth(browser, stack)


@contextmanager
def _browser(folder: Path) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        try:
            browser = launch(playwright, folder)
        except NoBrowser as error:
            raise CannotRun(str(error)) from error
        try:
            yield browser
        finally:
            browser.close()


class _Visit:
    """A page without a cache, and the bytes that it received, with headers."""

    def __init__(self, browser: Browser, stack: stacks.Stack, token: str | None) -> None:
        self.base = stack.access["base_url"]
        context = browser.new_context(viewport=VIEW)
        if token is not None:
            script = f"sessionStorage.setItem('token', {json.dumps(token)})"
            context.add_init_script(script)
        self.page: Page = context.new_page()
        self.received = 0
        session = context.new_cdp_session(self.page)
        session.send("Network.enable")
        session.on("Network.loadingFinished", self._count)
        self._close = context.close

    def _count(self, event: dict[str, Any]) -> None:
        self.received += int(event["encodedDataLength"])

    def close(self) -> None:
        self._close()


def _first_paint(browser: Browser, stack: stacks.Stack) -> Row:
    visit = _Visit(browser, stack, stack.access["tokens"]["client_a"])
    visit.page.goto(f"{visit.base}/")
    visit.page.get_by_label("Prompts", exact=True).wait_for()
    visit.page.wait_for_load_state("networkidle")
    received = visit.received
    visit.close()
    return Row(
        "console_first_paint",
        received / 1000,
        FIRST_PAINT_BYTES / 1000,
        "the bound: 80 KB",
        "KB",
        {"view": "new batch, with its lists of workflows and models"},
    )


def _gallery_bytes(browser: Browser, stack: stacks.Stack) -> Row:
    """1,000 images of 1.5 MB: everything that the page receives while it shows all of them."""
    thumbnails = _thumbnails()
    execution = _insert(stack, GALLERY)
    s3 = client("s3", stack.access["s3_endpoint"])

    def put(index: int) -> None:
        s3.put_object(
            Bucket=RESULTS_BUCKET,
            Key=f"{execution}/thumbnails/{index}.webp",
            Body=thumbnails[index % DISTINCT],
            ContentType="image/webp",
        )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, range(GALLERY)))
    visit = _Visit(browser, stack, stack.access["tokens"]["client_a"])
    visit.page.goto(f"{visit.base}/#/batches/{execution}")
    visit.page.locator('[data-index="0"] img.here').wait_for()
    visit.page.wait_for_load_state("networkidle")
    first, shown = visit.received, visit.page.locator(".cell img").count()
    visit.page.evaluate(SCROLL, [STEP, 250, 0, GALLERY])
    visit.page.locator(f'[data-index="{GALLERY - 1}"] img.here').wait_for()
    visit.page.wait_for_load_state("networkidle")
    received = visit.received
    visit.close()
    return Row(
        "gallery_bytes",
        received / 1e6,
        GALLERY * ORIGINAL_BYTES / 1e6,
        "the originals",
        "MB",
        {
            "images": GALLERY,
            "thumbnail_kb": round(sum(map(len, thumbnails)) / DISTINCT / 1000, 1),
            "first_screenful_mb": round(first / 1e6, 3),
            "first_screenful_images": shown,
            "first_screenful_ratio": round(first / (shown * ORIGINAL_BYTES), 4),
        },
    )


def _gallery_smooth(browser: Browser, stack: stacks.Stack) -> Row:
    """The longest task of the page's main thread while it scrolls through 10,000 tiles."""
    picture = "one-picture.webp"
    client("s3", stack.access["s3_endpoint"]).put_object(
        Bucket=RESULTS_BUCKET, Key=picture, Body=_thumbnails(1)[0], ContentType="image/webp"
    )
    execution = _insert(stack, MANY, picture)
    visit = _Visit(browser, stack, stack.access["tokens"]["client_a"])
    visit.page.goto(f"{visit.base}/#/batches/{execution}")
    visit.page.locator('[data-index="0"] img.here').wait_for()
    longest: list[float] = []
    cells = 0
    height = visit.page.evaluate("document.body.scrollHeight")
    for number in range(ROUNDS):
        begin = height * number // ROUNDS
        longest.append(visit.page.evaluate(SCROLL, [STEP, 0, begin, FRAMES]))
        cells = max(cells, visit.page.locator(".cell").count())
    visit.close()
    return Row(
        "gallery_smooth",
        median(longest),
        LONGEST_TASK_MS,
        "the bound: 50 ms",
        "ms",
        {
            "tiles": MANY,
            "tiles_in_the_document": cells,
            "rounds_ms": [round(one, 1) for one in longest],
        },
    )


def _thumbnails(distinct: int = DISTINCT) -> list[bytes]:
    """Thumbnails of photograph-like images whose JPEG files have about 1.5 MB."""
    made: list[bytes] = []
    for number in range(distinct):
        image = Image.effect_noise((1408, 1056), 40).convert("RGB")
        for size, strength in ((11, 0.6), (44, 0.45), (176, 0.3)):
            bands = [Image.effect_noise((size, size * 3 // 4 + number % 3), 90) for _ in range(3)]
            layer = Image.merge("RGB", bands).resize(image.size, Image.Resampling.BICUBIC)
            image = Image.blend(image, layer, strength)
        file = _jpeg(image)
        if abs(len(file) - ORIGINAL_BYTES) > ORIGINAL_BYTES / 4:
            raise CannotRun(f"the original has {len(file)} bytes")
        opened = Image.open(io.BytesIO(file))
        thumbnail = make_thumbnail(opened, opened.width, opened.height)
        assert thumbnail is not None
        made.append(thumbnail)
    return made


def _jpeg(image: Image.Image) -> bytes:
    """The JPEG whose size is nearest to the originals'."""
    files: list[bytes] = []
    for quality in range(80, 101):
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality, subsampling=0)
        files.append(stream.getvalue())
    return min(files, key=lambda file: abs(len(file) - ORIGINAL_BYTES))


def _insert(stack: stacks.Stack, images: int, picture: str | None = None) -> uuid.UUID:
    """An execution of client A whose images all are painted. Their originals are not stored. All
    images are `picture` if it is given, without thumbnails, so that the network plays no part."""
    execution = uuid.uuid4()
    with psycopg.connect(stack.access["database_url"]) as connection:
        found = connection.execute(
            "SELECT id, client_id FROM public.users WHERE email = 'john@client.com'"
        ).fetchone()
        assert found is not None
        user, owner = found
        connection.execute(
            """
            INSERT INTO public.workflow_executions
                (id, workflow_id, client_id, user_id, status, input_data, output_data, started_at,
                 completed_at, duration_seconds, image_count, name)
            VALUES (%(id)s, %(workflow)s, %(client)s, %(user)s, 'completed',
                jsonb_build_object('prompts', (SELECT jsonb_agg('a fox, number ' || number)
                    FROM generate_series(1, %(images)s) number)),
                jsonb_build_object('successful', %(images)s, 'failed', 0, 'total', %(images)s),
                now(), now(), 1, %(images)s, 'A large batch')
            """,
            {
                "id": execution,
                "workflow": stack.workflow_id,
                "client": owner,
                "user": user,
                "images": images,
            },
        )
        connection.execute(
            """
            INSERT INTO public.workflow_batch_results
                (execution_id, batch_index, prompt_index, prompt_text, status, client_id,
                 result_storage_path, mime_type, size_bytes, image_sha256, width, height,
                 has_thumbnail, completed_at)
            SELECT %(id)s, number, number, 'a fox, number ' || number, 'completed', %(client)s,
                coalesce(%(picture)s::text, %(id)s || '/' || number || '_0.jpg'), 'image/jpeg',
                %(bytes)s, encode(sha256(number::text::bytea), 'hex'), 1408, 1056,
                %(picture)s::text IS NULL, now()
            FROM generate_series(0, %(images)s - 1) number
            """,
            {
                "id": execution,
                "client": owner,
                "images": images,
                "bytes": ORIGINAL_BYTES,
                "picture": picture,
            },
        )
    return execution
