"""An outage of S3 of a minute in the middle of a batch. tests/e2e has the short one."""

from pathlib import Path

import pytest

from tests.support.storage_outage import check_that_an_outage_costs_no_image

pytestmark = pytest.mark.timeout(400)
OUTAGE_SECONDS = 60


def test_a_refused_image_is_stored_a_minute_later_and_not_painted_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory: Path = tmp_path_factory.mktemp("outage")
    plans: Path = tmp_path_factory.mktemp("outage-files")
    check_that_an_outage_costs_no_image(directory, plans, OUTAGE_SECONDS)
