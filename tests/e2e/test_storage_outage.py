"""A short outage of S3 in the middle of a batch. tests/crash has the long one."""

from pathlib import Path

import pytest

from tests.support.storage_outage import check_that_an_outage_costs_no_image

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
# Longer than the SDK's own retries last.
OUTAGE_SECONDS = 10


def test_a_refused_image_is_stored_later_and_not_painted_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory: Path = tmp_path_factory.mktemp("outage")
    plans: Path = tmp_path_factory.mktemp("outage-plans")
    check_that_an_outage_costs_no_image(directory, plans, OUTAGE_SECONDS)
