"""A stack whose functions crash at the step that a prompt names."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Stack, own_stack

FAULTS = Path(__file__).parent / "faults"
# The claim of a killed function lasts 45 s longer; see `BESIDE_MODEL_SECONDS`.
MODEL_TIMEOUT_SECONDS = 15


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("stack")
    plans = tmp_path_factory.mktemp("plans")
    with own_stack(
        directory,
        FAULTS_DIR=str(FAULTS),
        FAULTS_PLANS=str(plans),
        MODEL_TIMEOUT_SECONDS=str(MODEL_TIMEOUT_SECONDS),
    ) as stack:
        yield stack
