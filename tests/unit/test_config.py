"""masstock.settings: the environment variables of the functions."""

import pytest

from masstock.settings import FanoutSettings, FinalizeSettings, Misconfigured, Settings

FANOUT = {
    "DATABASE_SECRET_ID": "worker",
    "MAX_CONCURRENCY_DEFAULT": "20",
    "MAX_CONCURRENCY_LIMIT": "100",
}
FINALIZE = {
    "DATABASE_SECRET_ID": "worker",
    "RESULTS_BUCKET": "results",
    "UPLOADS_BUCKET": "uploads",
    "STATE_MACHINE_ARN": "arn",
    "ARCHIVE_FUNCTION_ARN": "archive",
    "WEBHOOK_SECRET_ID": "webhook",
}


def refusal(kind: type[Settings], environment: dict[str, str]) -> str:
    with pytest.raises(Misconfigured) as caught:
        kind(environment)
    return str(caught.value)


def test_variables_are_parsed_to_their_types() -> None:
    fanout = FanoutSettings(FANOUT)
    assert (fanout.max_concurrency_default, fanout.max_concurrency_limit) == (20, 100)
    assert FinalizeSettings({**FINALIZE, "ALLOW_PRIVATE_WEBHOOKS": "true"}).allow_private_webhooks
    assert not FinalizeSettings(FINALIZE).allow_private_webhooks


@pytest.mark.parametrize("name", FANOUT)
def test_a_missing_variable_is_named(name: str) -> None:
    environment = {other: value for other, value in FANOUT.items() if other != name}
    assert refusal(FanoutSettings, environment) == f"{name} is missing"


@pytest.mark.parametrize("value", ["", "0", "-1", "2.5", "many", "1_000"])
def test_a_number_must_be_a_number(value: str) -> None:
    told = refusal(FanoutSettings, {**FANOUT, "MAX_CONCURRENCY_LIMIT": value})
    assert told == "MAX_CONCURRENCY_LIMIT must be a whole number above 0"


@pytest.mark.parametrize("value", ["", "yes", "True", "1"])
def test_a_flag_is_true_or_false(value: str) -> None:
    told = refusal(FinalizeSettings, {**FINALIZE, "ALLOW_PRIVATE_WEBHOOKS": value})
    assert told == "ALLOW_PRIVATE_WEBHOOKS must be false or true"


def test_an_error_does_not_contain_the_wrong_value() -> None:
    told = refusal(FanoutSettings, {**FANOUT, "MAX_CONCURRENCY_LIMIT": "hunter2"})
    assert "hunter2" not in told
