"""Checks the output of `sam build`: `python -m deploy.artifacts BUILD_DIRECTORY ARCHITECTURE`.

Prints size and hash of each artifact, refuses artifacts that Lambda would refuse, and restricts
the built template to the architecture of its wheels. `--move-to DIRECTORY` then replaces the
earlier build there.
"""

import argparse
import hashlib
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

LAYER = "CommonLayer"
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
UNZIPPED_LIMIT = 250 * 1024 * 1024
MOVE_ATTEMPTS = 20


class NotDeployable(Exception):
    """An artifact that Lambda would refuse, or that would fail in Lambda."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A directory that becomes a zip file."""

    path: Path

    @property
    def name(self) -> str:
        """The logical id in the template."""
        return self.path.name

    def files(self) -> Iterator[Path]:
        """Every file, sorted by name."""
        return iter(sorted(path for path in self.path.rglob("*") if path.is_file()))

    @property
    def size(self) -> int:
        """Unzipped size in bytes."""
        return sum(path.stat().st_size for path in self.files())

    @property
    def zipped_size(self) -> int:
        """Zipped size in bytes; the exact value depends on the version of zlib."""
        buffer = BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in self.files():
                archive.writestr(str(path.relative_to(self.path)), path.read_bytes())
        return len(buffer.getvalue())

    @property
    def sha256(self) -> str:
        """Hash of names and contents: equal inputs give the same hash on every machine."""
        digest = hashlib.sha256()
        for path in self.files():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(self.path).as_posix()}\0{content}\n".encode())
        return digest.hexdigest()


def read_artifacts(build: Path) -> list[Artifact]:
    """The layer first, then the functions by name."""
    found = [Artifact(path) for path in sorted(build.iterdir()) if path.is_dir()]
    return sorted(found, key=lambda artifact: artifact.name != LAYER)


def refuse_undeployable(artifacts: list[Artifact]) -> None:
    """Raises NotDeployable if bytecode is missing or a function with its layer is too big."""
    layer = next((artifact.size for artifact in artifacts if artifact.name == LAYER), 0)
    for artifact in artifacts:
        for source in artifact.files():
            if source.suffix == ".py" and not _bytecode_of(source).exists():
                raise NotDeployable(f"{source} has no bytecode")
        total = artifact.size + (layer if artifact.name != LAYER else 0)
        if total > UNZIPPED_LIMIT:
            raise NotDeployable(f"{artifact.name} and its layer are {total} bytes unzipped")


def _bytecode_of(source: Path) -> Path:
    tag = f"cpython-{sys.version_info.major}{sys.version_info.minor}"
    return source.parent / "__pycache__" / f"{source.stem}.{tag}.pyc"


def fix_architecture(template: Path, architecture: str) -> None:
    """Makes the architecture of the wheels the only value that the built template allows."""
    text, found = re.subn(
        r"(?m)^(  Architecture:\n    Type: String\n    Default: ).*\n"
        r"    AllowedValues:\n(?:    - .*\n)+",
        rf"\g<1>{architecture}\n    AllowedValues:\n    - {architecture}\n",
        template.read_text(),
    )
    if found != 1:
        raise NotDeployable(f"{template} has no parameter Architecture of the expected form")
    template.write_text(text)


def replace_build(new: Path, target: Path) -> None:
    """Moves `new` to `target` and deletes the earlier build there. Both must have the same parent
    directory, because the template has relative paths."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".replaced-") as directory:
        for attempt in range(MOVE_ATTEMPTS):
            with suppress(FileNotFoundError):
                target.rename(Path(directory) / str(attempt))
            # Another `make package` may move its build here at this moment.
            with suppress(OSError):
                new.rename(target)
                return
        shutil.rmtree(new)
    raise NotDeployable(f"other builds replace {target} at the same time")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make package", description=__doc__)
    parser.add_argument("build", type=Path)
    parser.add_argument("architecture")
    parser.add_argument("--move-to", type=Path, metavar="DIRECTORY")
    options = parser.parse_args(arguments)
    artifacts = read_artifacts(options.build)
    try:
        refuse_undeployable(artifacts)
        fix_architecture(options.build / "template.yaml", options.architecture)
    except NotDeployable as error:
        print(f"package: {error}", file=sys.stderr)
        return 1
    print(f"{options.architecture:18}{'unzipped':>10}{'zipped':>10}  sha256")
    for artifact in artifacts:
        unzipped, zipped = (n / 1_000_000 for n in (artifact.size, artifact.zipped_size))
        print(f"{artifact.name:18}{unzipped:7.2f} MB{zipped:7.2f} MB  {artifact.sha256}")
    if options.move_to is not None:
        try:
            replace_build(options.build, options.move_to)
        except NotDeployable as error:
            print(f"package: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
