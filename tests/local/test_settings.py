"""An invalid environment variable is refused by name."""

import pytest

from local.errors import StackError
from local.settings import Settings


@pytest.mark.parametrize(
    "name", ["PORT", "CONCURRENCY", "CONCURRENT_EXECUTIONS", "EVENT_RETRY_SECONDS", "SWEEP_SECONDS"]
)
@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5", "99999999"])
def test_an_invalid_number_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(StackError, match=name):
        Settings.from_environment({name: value})
