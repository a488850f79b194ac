"""The files of the demo below LOCAL_DIR: summary.json, the images and the contact sheet."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from local.demo.contact_sheet import Tile, draw_contact_sheet
from local.settings import ROOT

COUNTS = ("successful", "failed", "total")


class Output:
    """`directory`/summary.json and contact_sheet.png are of the last run.

    `directory`/<execution id> holds the images and the contact sheet of one execution.
    """

    def __init__(self, directory: Path) -> None:
        """Create the directory and delete the summary of an earlier run."""
        self.directory = directory
        self.summary = directory / "summary.json"
        self.sheet = directory / "contact_sheet.png"
        directory.mkdir(parents=True, exist_ok=True)
        self.summary.unlink(missing_ok=True)

    def folder(self, execution_id: str) -> Path:
        """Return the folder of an execution and create it."""
        folder = self.directory / execution_id
        folder.mkdir(exist_ok=True)
        return folder

    def write_sheet(self, execution_id: str, tiles: Sequence[Tile]) -> None:
        """Draw the contact sheet into the folder of the execution, and copy it to `sheet`."""
        painted = sum(tile.image is not None for tile in tiles)
        title = f"{painted} of {len(tiles)} images  ·  execution {execution_id}"
        sheet = self.folder(execution_id) / self.sheet.name
        draw_contact_sheet(title, tiles).save(sheet, "PNG", compress_level=3)
        shutil.copyfile(sheet, self.sheet)

    def write_summary(
        self,
        execution: dict[str, Any],
        images: list[Path],
        seconds: float,
        prices: dict[str, Any] | None = None,
    ) -> None:
        """Write summary.json. Its image paths are relative to the root of the repository.

        `prices` are the expected cost by tier.
        """
        counts = execution["output_data"]
        record = {
            "execution_id": execution["id"],
            "status": execution["status"],
            "output_data": counts and {name: counts[name] for name in COUNTS},
            "images": [os.path.relpath(image, ROOT) for image in images],
            "seconds": seconds,
        }
        if prices is not None:
            record |= {
                "tier": execution["tier"],
                "cost_microusd": execution["cost_microusd"],
                "prices_microusd": prices,
            }
        write_whole(self.summary, json.dumps(record, indent=2).encode() + b"\n")


def save_image(folder: Path, index: int, image: bytes) -> Path:
    """Write an image as `<index>.<extension of its format>` and return the path."""
    path = folder / f"{index:03d}.{_extension(image)}"
    write_whole(path, image)
    return path


def _extension(image: bytes) -> str:
    if image.startswith(b"\xff\xd8\xff"):
        return "jpg"
    return "webp" if image[:4] == b"RIFF" and image[8:12] == b"WEBP" else "png"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file atomically: a reader sees the whole content or no file."""
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(content)
    partial.replace(path)
