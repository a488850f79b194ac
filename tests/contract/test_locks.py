"""The lock files match their inputs and contain no host names."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = (
    "requirements-dev",
    "bench/requirements",
    "layers/common/requirements",
    "functions/generate/requirements",
)


def requirements(path: Path) -> dict[str, str]:
    """Maps the name of every requirement in a lock file to its pinned version."""
    pins = re.findall(
        r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ ;\\]+)", path.read_text(), re.MULTILINE
    )
    return {name.lower().replace("_", "-"): version for name, version in pins}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_required_package_is_pinned_with_hashes(lock: str) -> None:
    wanted = re.findall(r"^([A-Za-z0-9._-]+)", (ROOT / f"{lock}.in").read_text(), re.MULTILINE)
    pins = requirements(ROOT / f"{lock}.txt")
    missing = [name for name in wanted if name.lower().replace("_", "-") not in pins]
    assert not [name for name in missing if not name.startswith("-")]
    text = (ROOT / f"{lock}.txt").read_text()
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text)
    assert all("--hash=sha256:" in block for block in blocks if "==" in block)


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_files_name_no_hosts(lock: str) -> None:
    assert "://" not in (ROOT / f"{lock}.txt").read_text()


@pytest.mark.parametrize("lock", LOCKS[2:])
def test_deployed_versions_are_the_tested_versions(lock: str) -> None:
    tested = requirements(ROOT / "requirements-dev.txt")
    for name, version in requirements(ROOT / f"{lock}.txt").items():
        assert tested[name] == version, name
