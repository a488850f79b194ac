"""Imports run one way: functions → queries, storage, auth → db → models, errors, config."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FUNCTIONS = ("api", "fanout", "generate", "finalize")
LAYER = ROOT / "layers/common/masstock"
# A module may import those on lower floors, and nothing of its own floor that is not listed here.
FLOORS = [
    {"authorities", "errors", "https", "image_models", "limits", "telemetry"},
    {"secrets", "webhooks"},
    {"config", "models", "steps"},
    {"auth", "crypto"},
    {"db", "storage"},
    {"queries"},
]
SAME_FLOOR = {("db", "auth"), ("models", "models"), ("queries", "queries")}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sources(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def floor_of(module: str) -> int:
    return next(number for number, floor in enumerate(FLOORS) if module in floor)


@pytest.mark.parametrize("path", sources(LAYER), ids=lambda path: str(path.relative_to(LAYER)))
def test_the_layer_imports_downwards(path: Path) -> None:
    module = path.relative_to(LAYER).parts[0].removesuffix(".py")
    if module == "__init__":
        assert not [name for name in imported(path) if name.startswith("masstock")]
        return
    for name in imported(path):
        if not name.startswith("masstock.") or name == "masstock.imports_done":
            continue
        target = name.split(".")[1]
        assert floor_of(target) < floor_of(module) or (module, target) in SAME_FLOOR, name


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_function_imports_another(function: str) -> None:
    others = {
        path.stem
        for other in FUNCTIONS
        if other != function
        for path in (ROOT / "functions" / other).glob("*.py")
    }
    for path in sources(ROOT / "functions" / function):
        assert not others & {name.split(".")[0] for name in imported(path)}, path


def test_nothing_deployed_imports_local_tests_or_sql() -> None:
    for path in sources(ROOT / "functions", LAYER):
        assert not {"local", "tests", "sql", "bench"} & {n.split(".")[0] for n in imported(path)}


def test_module_names_are_unique() -> None:
    stems = [path.stem for name in FUNCTIONS for path in (ROOT / "functions" / name).glob("*.py")]
    assert len(stems) == len(set(stems))


@pytest.mark.parametrize(
    ("package", "room"),
    [
        ("google", {"functions/generate/gemini.py"}),
        ("httpx2", {"functions/generate/gemini.py"}),
        ("jwt", {"layers/common/masstock/auth.py"}),
        ("cryptography", {"layers/common/masstock/crypto.py"}),
    ],
)
def test_each_dependency_has_one_room(package: str, room: set[str]) -> None:
    users = {
        str(path.relative_to(ROOT))
        for path in sources(ROOT / "functions", LAYER)
        if any(name.split(".")[0] == package for name in imported(path))
    }
    assert users == room


def test_only_db_sets_the_callers_identity() -> None:
    for path in sources(ROOT / "functions", LAYER):
        if path != LAYER / "db.py":
            assert "app.enter" not in path.read_text(), path
        assert "request.jwt.claims" not in path.read_text(), path


def test_sql_stands_in_queries_only() -> None:
    verbs = ("SELECT ", "INSERT INTO", "UPDATE public", "DELETE FROM")
    for path in sources(ROOT / "functions", LAYER):
        if path.parent == LAYER / "queries" or path in (
            LAYER / "db.py",
            ROOT / "functions/api/routes/health.py",
        ):
            continue
        strings = [
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        assert not [text for text in strings if text.lstrip().startswith(verbs)], path


def test_heavy_imports_stay_inside_functions() -> None:
    """boto3 doubles a cold start, the X-Ray SDK costs more: nothing imports them at the top."""
    for path in sources(ROOT / "functions", LAYER):
        for node in ast.parse(path.read_text()).body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            heavy = {"boto3", "botocore", "aws_xray_sdk"}
            assert not heavy & {name.split(".")[0] for name in names}, path
