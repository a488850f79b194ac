"""`make package` builds artifacts that are complete, lean, precompiled and reproducible."""

import marshal
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest

from deploy import artifacts
from tests.contract.conftest import HERE, ROOT, sam_build

ELF_MACHINES = {"x86_64": 0x3E, "arm64": 0xB7}
HANDLERS = {
    "ApiFunction": "api",
    "FanoutFunction": "fanout",
    "GenerateFunction": "generate",
    "EconomyFunction": "economy",
    "FinalizeFunction": "finalize",
    "ArchiveFunction": "finalize",
}
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "POWERTOOLS_SERVICE_NAME": "masstock",
    "POWERTOOLS_METRICS_NAMESPACE": "MasStock",
}


@pytest.fixture(scope="module")
def build_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build from another checkout, at another time, for the other architecture."""
    root = tmp_path_factory.mktemp("checkout")
    for name in ("layers", "functions", "statemachine"):
        shutil.copytree(ROOT / name, root / name, copy_function=shutil.copyfile)
    shutil.copy(ROOT / "template.yaml", root)
    (root / ".venv").symlink_to(ROOT / ".venv")
    other = next(name for name in ELF_MACHINES if name != HERE)
    return sam_build(root, root / "build", other)


def sources(build: Path) -> Iterator[Path]:
    return (path for path in sorted(build.rglob("*.py")))


def distributions(directory: Path) -> set[str]:
    return {path.name for path in directory.glob("*.dist-info")}


def test_every_function_and_the_layer_are_built(build: Path) -> None:
    assert {path.name for path in build.iterdir() if path.is_dir()} == {"CommonLayer", *HANDLERS}
    artifacts.refuse_undeployable(artifacts.read_artifacts(build))


def test_every_module_has_unchecked_bytecode(build: Path) -> None:
    for source in sources(build):
        compiled = (source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc").read_bytes()
        flags = int.from_bytes(compiled[4:8], "little")
        assert flags == 0b01, source
        code: CodeType = marshal.loads(compiled[16:])
        unpacked = "/opt" if "CommonLayer" in source.parts else "/var/task"
        inside = source.relative_to(build).parts[1:]
        assert code.co_filename == "/".join([unpacked, *inside])


def test_artifacts_contain_no_development_files(build: Path) -> None:
    for path in build.rglob("*"):
        assert path.name not in {"tests", "test", "boto3", "botocore", "requirements.txt", "bin"}
        assert path.suffix not in {".pyi", ".h", ".pxd"}, path


def test_each_package_is_in_one_artifact(build: Path) -> None:
    layer = distributions(build / "CommonLayer/python")
    generate = distributions(build / "GenerateFunction")
    assert any(name.startswith("pydantic-") for name in layer)
    assert any(name.startswith("google_genai-") for name in generate)

    def names(found: set[str]) -> set[str]:
        return {re.sub(r"-[0-9].*", "", name) for name in found}

    assert not names(layer) & names(generate)
    for function in HANDLERS.keys() - {"GenerateFunction", "EconomyFunction"}:
        assert not distributions(build / function)


@pytest.mark.parametrize("which", ["build", "build_elsewhere"])
def test_all_wheels_have_the_same_architecture(which: str, request: pytest.FixtureRequest) -> None:
    wanted = HERE if which == "build" else next(name for name in ELF_MACHINES if name != HERE)
    libraries = [
        path
        for path in request.getfixturevalue(which).rglob("*.so*")
        if path.is_file() and path.read_bytes()[:4] == b"\x7fELF"
    ]
    assert len(libraries) > 10
    for path in libraries:
        machine = int.from_bytes(path.read_bytes()[18:20], "little")
        assert machine == ELF_MACHINES[wanted], path


def build_with(target: Path, parameter: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What a user of SAM types, without `make`."""
    kept = {name: value for name, value in os.environ.items() if name != "ARCHITECTURE"}
    return subprocess.run(
        [
            *(ROOT / ".venv/bin/sam", "build", "--build-dir", target),
            *("--parameter-overrides", f"Architecture={parameter}"),
        ],
        cwd=ROOT,
        env={**kept, **variables, "SAM_CLI_TELEMETRY": "0"},
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ELF_MACHINES)
def test_the_parameter_alone_chooses_the_architecture(architecture: str, tmp_path: Path) -> None:
    done = build_with(tmp_path / "build", architecture)
    assert done.returncode == 0, done.stderr[-3000:]
    compiled = list((tmp_path / "build").rglob("*.so"))
    assert compiled
    for path in compiled:
        machine = int.from_bytes(path.read_bytes()[18:20], "little")
        assert machine == ELF_MACHINES[architecture], path


def test_a_contradicting_variable_is_refused(tmp_path: Path) -> None:
    done = build_with(tmp_path / "build", "arm64", ARCHITECTURE="x86_64")
    assert done.returncode != 0
    assert "`make package ARCHITECTURE=x86_64`" in done.stderr


def test_a_new_build_replaces_the_earlier_one_whole(tmp_path: Path) -> None:
    for name in ("build", "new"):
        (tmp_path / name / "ApiFunction").mkdir(parents=True)
        (tmp_path / name / "template.yaml").write_text(name)
    (tmp_path / "build/left-over").write_text("")
    artifacts.replace_build(tmp_path / "new", tmp_path / "build")
    assert {path.name for path in tmp_path.iterdir()} == {"build"}
    assert {path.name for path in (tmp_path / "build").iterdir()} == {
        "ApiFunction",
        "template.yaml",
    }
    assert (tmp_path / "build/template.yaml").read_text() == "new"


def test_a_failed_package_leaves_the_earlier_build(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    for name in ("layers", "functions", "statemachine", "deploy"):
        shutil.copytree(ROOT / name, clone / name)
    for name in ("template.yaml", "samconfig.toml", "Makefile", "requirements-dev.txt"):
        shutil.copy2(ROOT / name, clone)
    (clone / ".venv").symlink_to((ROOT / ".venv").resolve())
    (clone / ".aws-sam/build").mkdir(parents=True)
    (clone / ".aws-sam/build/template.yaml").write_text("earlier")
    (clone / "functions/fanout/fanout.py").write_text("def")
    done = subprocess.run(
        ["make", "package", f"ARCHITECTURE={HERE}"],
        cwd=clone,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode != 0
    assert "fanout.py" in done.stderr
    assert (clone / ".aws-sam/build/template.yaml").read_text() == "earlier"
    assert [path.name for path in (clone / ".aws-sam").glob("build*/")] == ["build"]


def test_the_same_inputs_give_the_same_bytes(build: Path, build_elsewhere: Path) -> None:
    """Compares our code and every pure package with the other build, byte by byte. In a package
    with compiled parts, it compares the Python files."""

    def hashes(root: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.suffix in {".py", ".pyc", ".pem"} and path.is_file()
        }

    first, second = hashes(build), hashes(build_elsewhere)
    assert len(first) > 1500
    assert {name for name in first if first[name] != second.get(name)} == set()
    for artifact in artifacts.read_artifacts(build):
        for path in artifact.files():
            assert path.stat().st_mtime == 315532800, path


def test_the_report_hash_depends_only_on_content(build: Path, tmp_path: Path) -> None:
    copy = tmp_path / "FanoutFunction"
    shutil.copytree(build / "FanoutFunction", copy, copy_function=shutil.copyfile)
    original = artifacts.Artifact(build / "FanoutFunction")
    assert artifacts.Artifact(copy).sha256 == original.sha256
    (copy / "fanout.py").write_text("edited")
    assert artifacts.Artifact(copy).sha256 != original.sha256


def test_a_module_without_bytecode_is_refused(build: Path, tmp_path: Path) -> None:
    copy = tmp_path / "FanoutFunction"
    shutil.copytree(build / "FanoutFunction", copy)
    (copy / "forgotten.py").write_text("")
    with pytest.raises(artifacts.NotDeployable, match=r"forgotten\.py"):
        artifacts.refuse_undeployable([artifacts.Artifact(copy)])


def test_a_build_can_be_deployed_only_for_its_architecture(build: Path, tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    shutil.copy(build / "template.yaml", template)
    artifacts.fix_architecture(template, HERE)
    before, after = (build / "template.yaml").read_text(), template.read_text()
    assert f"    Default: {HERE}\n    AllowedValues:\n    - {HERE}\n  " in after
    other = next(name for name in ELF_MACHINES if name != HERE)
    assert after.count(other) == before.count(other) - (1 if HERE == "arm64" else 2)


# Fails if an import compiles a source file.
IMPORT = """
import sys
sys.path[:0] = {paths!r}
from importlib.machinery import SourceFileLoader
compiled = []
compile_source = SourceFileLoader.source_to_code
def note(self, data, path, **options):
    compiled.append(path)
    return compile_source(self, data, path, **options)
SourceFileLoader.source_to_code = note
reached = []
sys.addaudithook(lambda event, arguments: event == "socket.connect" and reached.append(arguments))
import {module}
assert not compiled, compiled
# A snapshot would keep an open connection.
assert not reached, reached
foreign = [m.__file__ for m in list(sys.modules.values())
           if getattr(m, "__file__", None) and "site-packages" in m.__file__]
assert not foreign, foreign
"""


def import_cpu(build: Path, function: str) -> float:
    """Seconds of CPU of a process with only the imports of a cold start."""
    paths = [str(build / function), str(build / "CommonLayer/python")]
    script = f"import sys; sys.path[:0] = {paths!r}\nimport {HANDLERS[function]}"
    # -S: import from the artifacts only. -B: write no bytecode for the next run.
    arguments = [sys.executable, "-I", "-S", "-B", "-c", script]
    pid = os.posix_spawn(sys.executable, arguments, ENVIRONMENT)
    _, status, usage = os.wait4(pid, 0)
    assert status == 0
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("function", HANDLERS)
def test_imports_use_only_bytecode_of_the_artifacts(build: Path, function: str) -> None:
    paths = [str(build / function), str(build / "CommonLayer/python")]
    script = IMPORT.format(paths=paths, module=HANDLERS[function])
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", script],
        env=ENVIRONMENT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_package_of_generate_can_decode_an_image(build: Path) -> None:
    """The library is imported at the first image, so no import of a cold start would miss it."""
    paths = [str(build / "GenerateFunction"), str(build / "CommonLayer/python")]
    script = (
        f"import io, sys; sys.path[:0] = {paths!r}\n"
        "from PIL import Image\n"
        "from masstock_generate.images import inspect_image\n"
        "stream = io.BytesIO(); Image.new('RGB', (48, 32)).save(stream, 'WEBP')\n"
        "print(inspect_image(stream.getvalue(), 10_000).width)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", script],
        env=ENVIRONMENT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "48\n", done.stderr


def test_processes_restored_from_one_snapshot_draw_different_random_numbers() -> None:
    script = (
        "import random, masstock.coldstart, snapshot_restore_py as hooks\n"
        "masstock.coldstart.imports_done()\n"
        "snapshot = random.getstate()\n"
        "def restore():\n"
        "    random.setstate(snapshot)\n"
        "    [hook(*args, **kw) for hook, args, kw in hooks.get_after_restore()]\n"
        "    return random.random()\n"
        "assert restore() != restore()\n"
    )
    subprocess.run(
        [sys.executable, "-c", script],
        env={
            **ENVIRONMENT,
            "PYTHONPATH": str(ROOT / "layers/common"),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
        },
        check=True,
        timeout=30,
    )


def test_bytecode_makes_a_cold_import_at_least_1_7_times_cheaper(
    build: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "without bytecode"
    shutil.copytree(build, bare, ignore=shutil.ignore_patterns("__pycache__"))
    # Alternating runs and the minimum of each, because other load on the machine affects both.
    with_bytecode, without = zip(
        *((import_cpu(build, "ApiFunction"), import_cpu(bare, "ApiFunction")) for _ in range(3)),
        strict=True,
    )
    assert min(without) / min(with_bytecode) >= 1.7
