"""Other programs open our ZIP files: unzip, Python's zipfile and npm's fflate."""

import json
import os
import subprocess
import zipfile
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from masstock_finalize.zip_stream import ZipStream
from tests.support import node
from tests.support.debian import find_program

CHUNK_BYTES = 64 * 1024
TIME = datetime(2026, 11, 28, 12, 30, 10, tzinfo=UTC)
ENTRIES = {
    "Ünï____.png": os.urandom(3 * CHUNK_BYTES + 1),
    "猫 😀.jpg": os.urandom(1000),
    "x" * 200 + "-8.webp": b"",
    "results.csv": "a,ü\r\n".encode() * 50_000,
}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "archive.zip"
    chunks: list[bytes] = []
    stream = ZipStream(chunks.append, CHUNK_BYTES)
    for name, content in ENTRIES.items():
        stream.add(name, content, TIME)
    size = stream.close()
    assert {len(chunk) for chunk in chunks[:-1]} == {CHUNK_BYTES}
    path.write_bytes(b"".join(chunks))
    assert path.stat().st_size == size
    return path


def unzip(*arguments: str | Path) -> bytes:
    program = find_program("unzip", ["unzip"], ["libbz2"])
    environment = {**program.variables, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [program.path, *arguments], env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_unzip_unpacks_every_entry(archive: Path, tmp_path: Path) -> None:
    unzip("-q", archive, "-d", tmp_path / "files")
    files = {path.name: path.read_bytes() for path in (tmp_path / "files").iterdir()}
    assert files == ENTRIES


def test_python_reads_every_entry(archive: Path) -> None:
    with zipfile.ZipFile(archive) as found:
        assert found.testzip() is None
        assert {name: found.read(name) for name in found.namelist()} == ENTRIES
        assert {info.date_time for info in found.infolist()} == {(2026, 11, 28, 12, 30, 10)}


def test_fflate_reads_every_entry_whole_and_as_a_stream(archive: Path, tmp_path: Path) -> None:
    found = json.loads(node.run(tmp_path, "unzip.mjs", archive))
    digests = [[name, sha256(content).hexdigest()] for name, content in ENTRIES.items()]
    assert sorted(found["whole"]) == sorted(digests)
    assert found["streamed"] == digests


@pytest.mark.slow
def test_an_archive_of_more_than_four_gigabytes_is_zip64(tmp_path: Path) -> None:
    path = tmp_path / "large.zip"
    content = os.urandom(64 * 1024 * 1024)
    with path.open("wb") as file:
        stream = ZipStream(lambda chunk: file.write(chunk) and None, 8 * 1024 * 1024)
        for number in range(66):
            stream.add(f"{number:04}.png", content, TIME)
        size = stream.close()
    assert path.stat().st_size == size > 2**32
    unzip("-tq", path)
    with zipfile.ZipFile(path) as found:
        assert len(found.namelist()) == 66
        assert found.read("0065.png") == content
