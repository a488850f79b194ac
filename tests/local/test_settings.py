"""Environment variables become settings, or an error that names the variable."""

import pytest

from local.errors import StackError
from local.settings import Settings


@pytest.mark.parametrize("name", ["PORT", "CONCURRENCY", "SWEEP_SECONDS"])
@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5", "99999999"])
def test_nonsense_in_the_environment_is_named(name: str, value: str) -> None:
    with pytest.raises(StackError, match=name):
        Settings.from_environment({name: value})
