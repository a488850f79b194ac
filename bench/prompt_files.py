"""How long the api takes to read and check a list of prompts from a CSV file, beside csv.reader."""

import csv
import io
from collections.abc import Iterator
from uuid import UUID, uuid4

from bench.measure import CannotRun, Row, Sample, compare, interleave, timed
from masstock.limits import PROMPTS_LIMIT
from masstock.schemas.requests import ExecutionCreate
from masstock.schemas.workflow_config import WorkflowConfig
from masstock.services.storage import Uploads
from masstock_api.checks import find_mistakes
from masstock_api.prompt_lists.reading import read_prompts

QUICK_ROUNDS, FULL_ROUNDS = 30, 100
CLIENT = UUID(int=1)
CONFIG = WorkflowConfig(
    workflow_type="nano_banana", model="gemini-2.5-flash-image", max_prompts=PROMPTS_LIMIT
)
HEADER = ["prompt", "custom_id", "aspect_ratio", "image_size", "images", "seed", "product", "notes"]
# A few sentences, as the makers of image models advise: about 400 characters.
PROMPT = (
    "A hand-thrown ceramic coffee mug stands on wet black slate. A low sunrise lights it from "
    "behind and draws a long soft shadow towards the camera. A thin curl of steam rises from the "
    "coffee. On the mug is a paper label with the words “good morning” in a light type. Shallow "
    "depth of field, muted earth colours, editorial product photograph for a small café, number "
)


class Uploaded(Uploads):
    """An uploaded file in memory."""

    def __init__(self, content: bytes) -> None:
        super().__init__("uploads")
        self._content = content

    def read_prompts(self, key: str) -> bytes:
        return self._content


def run(names: list[str], *, full: bool) -> Iterator[Row]:
    """The row `prompt_files`."""
    content = spreadsheet()
    uploads = Uploaded(content)
    submission = ExecutionCreate(
        workflow_id=uuid4(), prompts_key=f"{CLIENT}/prompts/{uuid4()}.csv", api_key="x" * 8
    )

    def ours() -> None:
        listed = read_prompts(submission, CLIENT, uploads)
        mistakes = find_mistakes(
            submission, listed, CONFIG, has_platform_key=False, allow_private_webhooks=False
        )
        if mistakes or len(listed.prompts) != PROMPTS_LIMIT:
            raise CannotRun(f"the file was refused: {mistakes[:3]}")

    def alone() -> None:
        text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="")
        list(csv.reader(text, delimiter=";"))

    samples: dict[str, list[Sample]] = interleave(
        FULL_ROUNDS if full else QUICK_ROUNDS,
        {"ours": lambda: timed(ours), "alone": lambda: timed(alone)},
    )
    yield compare(
        names[0],
        samples["ours"],
        samples["alone"],
        "list(csv.reader(…)) alone",
        clock="cpu",
        rows=PROMPTS_LIMIT,
        columns=len(HEADER),
        bytes=len(content),
    )


def spreadsheet() -> bytes:
    """The longest list as a spreadsheet saves it: with a byte order mark and semicolons. Every
    tenth prompt has two lines."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow(HEADER)
    for number in range(PROMPTS_LIMIT):
        prompt = f"{PROMPT}{number}" + "\nSeen from above." * (number % 10 == 0)
        cells = [prompt, f"{number:05}", "16:9", "1K", 1, number, "mug", "a note"]
        writer.writerow(cells)
    return b"\xef\xbb\xbf" + text.getvalue().encode()
