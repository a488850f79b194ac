"""The demo says how fast the execution paints, and why not faster."""

import io
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from rich.console import Console

from local.demo.pace import REASONS, is_closed, pace_text
from local.demo.progress_bar import ProgressBar

NOW = datetime(2026, 11, 28, 14, 0, 30, tzinfo=UTC)
# The whole vocabulary of the API's member.
LIMITED_BY = {
    *("none", "concurrency", "provider_limit", "outage", "budget", "economy_job", "canary")
}


def pace(limited_by: str, rate: float | None = None, **times: str) -> dict[str, Any]:
    absent = {"opens_at": None, "expected_end_at": None}
    return {"limited_by": limited_by, "images_per_minute": rate, **absent, **times}


@pytest.mark.parametrize(
    ("member", "text"),
    [
        (None, ""),
        ({}, ""),
        (pace("none"), ""),
        (pace("none", 15.0), "15 a minute"),
        (pace("provider_limit"), "limited by the provider"),
        (
            pace("provider_limit", 15.0, expected_end_at="2026-11-28T14:05:10Z"),
            "15 a minute, limited by the provider · ends about 14:05",
        ),
        (
            pace("concurrency", 14.6, expected_end_at="2026-11-29T01:05:10+00:00"),
            "14.6 a minute, as many at once as the workflow allows · ends about 29 Nov 01:05",
        ),
        (
            pace("outage", 0, opens_at="2026-11-28T14:03:20Z"),
            "the provider is down · next call at 14:03:20",
        ),
        (pace("outage", opens_at="2026-11-28T14:00:29Z"), "the provider is down"),
        (pace("budget"), "waiting for budget"),
        (pace("economy_job"), "waiting for the provider's economy job"),
        (pace("canary"), "waiting for a decision about the first images"),
        (pace("a_later_reason", 3.0), "3 a minute, limited by a later reason"),
        ({"limited_by": "outage"}, "the provider is down"),
    ],
)
def test_the_pace_in_words(member: dict[str, Any] | None, text: str) -> None:
    assert pace_text(member, NOW) == text


def test_every_reason_of_the_api_has_words() -> None:
    assert set(REASONS) == LIMITED_BY
    assert [name for name, words in REASONS.items() if not words] == ["none"]


def test_times_are_in_the_zone_of_the_reader() -> None:
    reader = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    text = pace_text(pace("none", expected_end_at="2026-11-28T14:05:10Z"), reader)
    assert text == "ends about 19:35"


def test_the_provider_is_closed_until_it_opens() -> None:
    closed = pace("outage", opens_at="2026-11-28T14:00:31Z")
    assert is_closed(closed, NOW)
    assert not is_closed(closed, NOW + timedelta(seconds=1))
    assert not is_closed(pace("outage"), NOW)
    assert not is_closed(None, NOW)


def running(done: int, member: dict[str, Any] | None) -> dict[str, Any]:
    progress = {"total": 12, "successful": done, "failed": 0, "processing": 12 - done}
    execution = {"status": "processing", "progress": progress}
    return execution if member is None else {**execution, "pace": member}


def shown(*executions: dict[str, Any], terminal: bool) -> str:
    console = Console(file=io.StringIO(), width=80, force_terminal=terminal)
    with console.capture() as capture, ProgressBar(12, console) as bar:
        for execution in executions:
            bar.show(execution)
    return capture.get()


def test_a_terminal_of_80_columns_shows_bar_and_pace() -> None:
    end = (datetime.now(UTC) + timedelta(minutes=5)).astimezone()
    limited = pace("provider_limit", 15.0, expected_end_at=end.isoformat())
    printed = shown(running(7, limited), terminal=True)
    assert "7/12" in printed
    assert "15 a minute, limited by the provider · ends about " in printed
    assert f"{end:%H:%M}" in printed


@pytest.mark.parametrize("terminal", [True, False])
def test_an_execution_without_pace_shows_its_progress(terminal: bool) -> None:
    printed = shown(running(7, None), terminal=terminal)
    assert (
        "7/12" if terminal else "processing: 7 of 12 done, 0 failed, 5 in progress\n"
    ) in printed
    assert "a minute" not in printed


def test_other_outputs_get_a_line_for_each_count_and_each_reason() -> None:
    printed = shown(
        running(7, pace("provider_limit", 15.0)),
        running(7, pace("provider_limit", 14.0)),
        running(8, pace("provider_limit", 14.0)),
        running(8, pace("outage")),
        running(8, pace("outage")),
        terminal=False,
    )
    assert printed.splitlines() == [
        "processing: 7 of 12 done, 0 failed, 5 in progress · 15 a minute, limited by the provider",
        "processing: 8 of 12 done, 0 failed, 4 in progress · 14 a minute, limited by the provider",
        "processing: 8 of 12 done, 0 failed, 4 in progress · the provider is down",
    ]
