"""Imports run one way: functions → database → services → schemas, settings → errors, catalogue."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FUNCTIONS = ("api", "fanout", "generate", "finalize")
# The modules with a function's handlers. The steps of the economy tier share generate's package.
HANDLERS = {name: {name} for name in FUNCTIONS} | {"generate": {"generate", "economy"}}
LAYER = ROOT / "layers/common/masstock"
# A room of the layer can import rooms on lower floors, and modules of its own room.
FLOORS = [
    {"catalogue", "coldstart", "limits", "telemetry"},
    {"errors"},
    {"engine_step", "schemas", "settings"},
    {"services"},
    {"database"},
]


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sources(*folders: Path) -> list[Path]:
    # `make bench` installs its peers into bench/.venv; they are not ours.
    return sorted(
        path
        for folder in folders
        for path in folder.rglob("*.py")
        if ".venv" not in path.relative_to(ROOT).parts
    )


def floor_of(module: str) -> int:
    return next(number for number, floor in enumerate(FLOORS) if module in floor)


@pytest.mark.parametrize("path", sources(LAYER), ids=lambda path: str(path.relative_to(LAYER)))
def test_the_layer_imports_downwards(path: Path) -> None:
    room = path.relative_to(LAYER).parts[0].removesuffix(".py")
    if room == "__init__":
        assert not list(imported(path))
        return
    for name in imported(path):
        if name.startswith("masstock."):
            target = name.split(".")[1]
            assert target == room or floor_of(target) < floor_of(room), name


def test_no_import_is_circular() -> None:
    folders = (LAYER, *(ROOT / "functions" / name for name in FUNCTIONS))
    modules = {module_name(path, folder): path for folder in folders for path in sources(folder)}
    graph = {
        name: {target for target in imported(path) if target in modules and target != name}
        for name, path in modules.items()
    }
    # A package's __init__ imports the modules that it registers. These can import the package.
    for name, path in modules.items():
        if path.name == "__init__.py":
            graph[name] = {target for target in graph[name] if not target.startswith(f"{name}.")}
    TopologicalSorter(graph).prepare()


def module_name(path: Path, folder: Path) -> str:
    start = folder.parent if folder == LAYER else folder
    return ".".join(path.relative_to(start).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_function_imports_another(function: str) -> None:
    others = {name for other in FUNCTIONS if other != function for name in top_level(other)}
    for path in sources(ROOT / "functions" / function):
        assert not others & {name.split(".")[0] for name in imported(path)}, path


def top_level(function: str) -> set[str]:
    folder = ROOT / "functions" / function
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    return {path.stem for path in folder.glob("*.py")} | packages


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_has_a_handler_and_one_package_of_its_own(function: str) -> None:
    """Another top-level module could hide one of a library or of another function."""
    assert top_level(function) == HANDLERS[function] | {f"masstock_{function}"}


def test_importing_the_layer_leaves_the_garbage_collector_on() -> None:
    program = "import masstock.limits, gc; print(gc.isenabled())"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"


def test_only_the_handlers_import_coldstart_and_they_do_so_first() -> None:
    handlers = {
        ROOT / f"functions/{name}/{module}.py" for name in FUNCTIONS for module in HANDLERS[name]
    }
    for path in sources(ROOT / "functions", LAYER):
        named = "masstock.coldstart" in set(imported(path))
        assert named == (path in handlers), path
        if named:
            first = next(
                node
                for node in ast.parse(path.read_text()).body
                if isinstance(node, ast.Import | ast.ImportFrom)
            )
            assert isinstance(first, ast.ImportFrom)
            assert first.module == "masstock.coldstart"


def test_deployed_code_imports_only_deployed_code() -> None:
    for path in sources(ROOT / "functions", LAYER):
        assert not {"local", "tests", "sql", "bench", "tools", "deploy"} & {
            n.split(".")[0] for n in imported(path)
        }


@pytest.mark.parametrize(
    ("package", "room"),
    [
        ("google", {"functions/generate/masstock_generate/providers/gemini.py"}),
        (
            "httpx2",
            {
                "functions/generate/masstock_generate/providers/gemini.py",
                "functions/generate/masstock_generate/providers/gemini_batches.py",
            },
        ),
        (
            "PIL",
            {
                "functions/generate/masstock_generate/images.py",
                "functions/generate/masstock_generate/thumbnails.py",
            },
        ),
        (
            "jwt",
            {f"layers/common/masstock/services/{name}.py" for name in ("key_sets", "tokens")},
        ),
        (
            "cryptography",
            {
                "layers/common/masstock/services/lanes.py",
                "layers/common/masstock/services/sealing.py",
            },
        ),
    ],
)
def test_each_dependency_is_imported_in_one_room(package: str, room: set[str]) -> None:
    users = {
        str(path.relative_to(ROOT))
        for path in sources(ROOT / "functions", LAYER)
        if any(name.split(".")[0] == package for name in imported(path))
    }
    assert users == room


def test_only_tenants_sets_the_callers_identity() -> None:
    for path in sources(ROOT / "functions", LAYER):
        if path != LAYER / "database/tenants.py":
            assert "app.enter(" not in path.read_text(), path
        assert "request.jwt.claims" not in path.read_text(), path


def test_only_the_database_room_contains_sql() -> None:
    verbs = ("SELECT ", "INSERT INTO", "UPDATE public", "DELETE FROM")
    for path in sources(ROOT / "functions", LAYER):
        if path.is_relative_to(LAYER / "database"):
            continue
        strings = [
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        assert not [text for text in strings if text.lstrip().startswith(verbs)], path


def test_heavy_imports_stay_inside_functions() -> None:
    """boto3 doubles a cold start and the X-Ray SDK costs more, so no module imports them at its
    top."""
    for path in sources(ROOT / "functions", LAYER):
        for node in ast.parse(path.read_text()).body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            heavy = {"boto3", "botocore", "aws_xray_sdk"}
            assert not heavy & {name.split(".")[0] for name in names}, path


PRODUCT = [
    *(ROOT / name for name in ("functions", "layers", "local", "sql", "deploy", "tools", "bench"))
]


@pytest.mark.parametrize("path", sources(*PRODUCT), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 450
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, node.name


def test_rooms_of_the_local_stack_import_one_way() -> None:
    """`processes` starts and ends processes of any kind; it imports nothing of AWS or the demo."""
    for path in sources(ROOT / "local/processes"):
        rooms = {name.split(".")[1] for name in imported(path) if name.startswith("local.")}
        assert rooms <= {"processes", "errors"}, path
