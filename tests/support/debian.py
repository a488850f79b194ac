"""Server programs that this machine may lack, from Debian packages. The packages are unpacked below
.build and not installed."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from local.settings import ROOT

UNPACKED = ROOT / ".build" / "debian"
# The directory with all shared libraries of a program, below the directory of its first package.
LIBRARIES = "libraries"
# The directories of installed server programs, on Linux and with Homebrew.
PLACES = ("/usr/sbin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")


class ProgramUnavailable(Exception):
    """The program is not installed and cannot be fetched. The text gives the reason."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program and the environment variables that it needs to find its libraries."""

    path: Path
    variables: dict[str, str]


def find_program(name: str, packages: Sequence[str], libraries: Sequence[str]) -> Program:
    """The installed program, or else the one from these packages. `libraries` are prefixes of the
    names of dependencies that must be fetched too. Raises ProgramUnavailable."""
    directory = UNPACKED / packages[0]
    variables = {"LD_LIBRARY_PATH": str(directory / LIBRARIES), "PATH": "/usr/bin:/bin"}
    installed = shutil.which(name, path=":".join(PLACES))
    if installed:
        return Program(Path(installed), variables)
    if not (directory / LIBRARIES).exists():
        _unpack(name, [*packages, *_missing(packages, libraries)], directory)
    found = next(directory.glob(f"usr/*bin/{name}"), None)
    if found is None:
        raise ProgramUnavailable(f"{name} is not in {', '.join(packages)}")
    return Program(found, variables)


def _unpack(name: str, packages: Sequence[str], directory: Path) -> None:
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise ProgramUnavailable(
            f"{name} is not installed, and there is no apt-get to fetch it with"
        )
    directory.mkdir(parents=True, exist_ok=True)
    fetched = subprocess.run(
        ["apt-get", "download", *packages],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if fetched.returncode:
        last = fetched.stderr.strip().rpartition("\n")[2]
        raise ProgramUnavailable(f"{name} is not installed and cannot be fetched: {last}")
    for package in directory.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, directory], check=True, timeout=60)
    # This directory is made last: its existence means that the unpacking is complete.
    collected = directory / f"{LIBRARIES}.part"
    collected.mkdir(exist_ok=True)
    for library in [*directory.glob("usr/lib/*/*.so*"), *directory.glob("lib/*/*.so*")]:
        shutil.copy(library, collected)
    collected.rename(directory / LIBRARIES)


def _missing(packages: Sequence[str], libraries: Sequence[str]) -> set[str]:
    depends = subprocess.run(
        ["apt-cache", "depends", *packages], capture_output=True, text=True, check=False
    ).stdout
    names = {line.rpartition(" ")[2] for line in depends.splitlines() if "Depends:" in line}
    return {name for name in names if name.startswith(tuple(libraries))}
