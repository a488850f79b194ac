"""An invalid environment variable is refused by name."""

import pytest

from local.errors import StackError
from local.settings import Settings


@pytest.mark.parametrize(
    "name",
    [
        *("PORT", "CONCURRENCY", "CONCURRENT_EXECUTIONS", "EVENT_RETRY_SECONDS", "SWEEP_SECONDS"),
        *("MODEL_TIMEOUT_SECONDS", "MAX_IMAGE_MEGABYTES"),
    ],
)
@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5", "99999999"])
def test_an_invalid_number_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(StackError, match=name):
        Settings.from_environment({name: value})


@pytest.mark.parametrize(
    "value", ["x", "ftp://a", "http://", "http://a?b", "http://a b", "http://user:pass@a"]
)
def test_an_invalid_model_url_is_refused_by_name(value: str) -> None:
    with pytest.raises(StackError, match="MODEL_URL"):
        Settings.from_environment({"MODEL_URL": value})


def test_a_model_url_has_no_slash_at_its_end() -> None:
    settings = Settings.from_environment({"MODEL_URL": "http://127.0.0.1:8081/"})
    assert settings.model_url == "http://127.0.0.1:8081"
