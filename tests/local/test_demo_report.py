"""The table and the contact sheet show every failure and have a limited size."""

import io
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from local.demo.contact_sheet import Tile, draw_contact_sheet
from local.demo.report import results_table


def test_a_long_table_shows_the_first_rows_and_every_failure() -> None:
    rows = [
        {
            "batch_index": index,
            "prompt_text": f"prompt-{index} [bold]",
            "status": "failed" if index in (3, 90) else "completed",
            "error_code": "no_image" if index in (3, 90) else None,
            "error_message": None,
            "processing_time_ms": None,
        }
        for index in range(100)
    ]
    console = Console(file=io.StringIO(), width=120)
    with console.capture() as capture:
        console.print(results_table(rows, 120))
    printed = capture.get()
    assert "prompt-29 [bold]" in printed
    assert "prompt-30 " not in printed
    assert "prompt-90 " in printed
    assert printed.count("no_image") == 2
    assert "69 more" in printed


@pytest.mark.parametrize("count", [0, 1, 12, 300, 2000])
def test_a_contact_sheet_has_a_limited_size(tmp_path: Path, count: int) -> None:
    picture = tmp_path / "picture.png"
    Image.new("RGB", (40, 30), "red").save(picture)
    tiles = [
        Tile(index, "w" * 500, picture) if index % 3 else Tile(index, "", failure="no_image")
        for index in range(count)
    ]
    sheet = draw_contact_sheet("a title", tiles)
    assert 40 < sheet.width <= 4000
    assert 40 < sheet.height <= 4500


def test_a_file_that_is_not_an_image_is_shown_as_failed(tmp_path: Path) -> None:
    broken = tmp_path / "000.png"
    broken.write_bytes(b"nothing of the kind")
    unpainted = draw_contact_sheet("", [Tile(0, "a kite", failure="not_an_image")])
    found = draw_contact_sheet("", [Tile(0, "a kite", broken)])
    assert found.size == unpainted.size
    assert found.getpixel((60, 120)) == unpainted.getpixel((60, 120)) == (247, 227, 223)
