"""A second image provider is one file, one line of the registry and its rows of the catalogue."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
import requests
from PIL import Image

from masstock.catalogue.image_models import prompt_tokens
from masstock_generate.providers import PaintRequest
from tests.e2e.conftest import ROOT, UP_SECONDS, Stack, workflow
from tests.support import fake_provider

# The parts of the repository that a local stack runs.
PARTS = ("functions", "layers", "local", "sql", "statemachine")
PROVIDERS = "functions/generate/masstock_generate/providers"
MODEL = "fake-image-1"
INPUT_PRICE, OUTPUT_PRICE = 3, 2
CATALOGUE_ROW = f"""\
    "{MODEL}": ImageModel(
        input_price=Decimal({INPUT_PRICE}),
        text_price=Decimal(0),
        image_price=Decimal({OUTPUT_PRICE}),
        image_tokens={{"1K": {fake_provider.OUTPUT_TOKENS}}},
        max_reference_images=0,
        provider="fake",
    ),
"""


def insert_after(path: Path, line: str, added: str) -> None:
    text = path.read_text()
    assert text.count(line) == 1, f"{path} has no single {line!r}"
    path.write_text(text.replace(line, line + added))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the second provider."""
    copy = tmp_path_factory.mktemp("second-provider") / "masstock"
    for part in PARTS:
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "template.yaml", copy)
    # Its masstock.pth has paths relative to the link, so this environment imports the copy's code.
    (copy / ".venv").symlink_to((ROOT / ".venv").resolve())

    shutil.copy(fake_provider.__file__, copy / PROVIDERS / "fake.py")
    insert_after(
        copy / PROVIDERS / "__init__.py",
        '    "gemini": "masstock_generate.providers.gemini",\n',
        '    "fake": "masstock_generate.providers.fake",\n',
    )
    insert_after(
        copy / "layers/common/masstock/catalogue/image_models.py",
        "MODELS: Mapping[str, ImageModel] = {\n",
        CATALOGUE_ROW,
    )
    return copy


def run(checkout: Path, *arguments: str) -> str:
    """Runs the copy's Python and returns its output."""
    environment = {**os.environ, "LOCAL_DIR": ".local"}
    for name in ("PORT", "PYTHONPATH"):
        environment.pop(name, None)
    done = subprocess.run(
        [checkout / ".venv/bin/python", *arguments],
        cwd=checkout,
        env=environment,
        check=False,
        timeout=UP_SECONDS,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def second_stack(checkout: Path) -> Iterator[Stack]:
    try:
        run(checkout, "-m", "local", "up")
        yield Stack(checkout / ".local")
    finally:
        run(checkout, "-m", "local", "clean")


def test_the_copys_environment_imports_the_copys_code(checkout: Path) -> None:
    for package in ("masstock", "masstock_generate", "local"):
        path = run(checkout, "-c", f"import {package}; print({package}.__file__)").strip()
        assert Path(path).is_relative_to(checkout)


def test_the_second_provider_paints_an_execution(second_stack: Stack) -> None:
    workflow_id = workflow(second_stack, model=MODEL)
    prompts = ["a red fox", "a blue whale"]
    execution_id = second_stack.submit(prompts, workflow_id=workflow_id)
    execution = second_stack.wait(execution_id, 60)
    assert execution["status"] == "completed"
    images = len(prompts) * OUTPUT_PRICE * fake_provider.OUTPUT_TOKENS
    tokens = sum(prompt_tokens(prompt) for prompt in prompts)
    assert execution["estimate_microusd"] == images + tokens * INPUT_PRICE
    cost = INPUT_PRICE * fake_provider.INPUT_TOKENS + OUTPUT_PRICE * fake_provider.OUTPUT_TOKENS
    for prompt, result in zip(prompts, second_stack.results(execution_id), strict=True):
        image = requests.get(result["result_url"], timeout=10).content
        request = PaintRequest("any-key", MODEL, prompt, [], None, None, 1)
        assert image == fake_provider.paint(request).content
        Image.open(BytesIO(image)).verify()
        assert (result["cost_microusd"], result["model"]) == (cost, MODEL)
    assert second_stack.calls("") == [], "Gemini's stand-in was called"
