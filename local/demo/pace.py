"""The pace of an execution in words: how fast it paints, and why not faster."""

from datetime import datetime
from typing import Any

# `limited_by` of the API → why the execution is not faster. "" needs no reason.
REASONS = {
    "none": "",
    "concurrency": "as many at once as the workflow allows",
    "provider_limit": "limited by the provider",
    "outage": "the provider is down",
    "budget": "waiting for budget",
    "economy_job": "waiting for the provider's economy job",
    "canary": "waiting for a decision about the first images",
}

type Json = dict[str, Any]


def pace_text(pace: Json | None, now: datetime) -> str:
    """Return the pace as one line, for example
    `15 a minute, limited by the provider · ends about 14:05`.

    `pace` is the member of an execution; "" if it is None or says nothing. `now` has a time zone,
    and the times of the line are in that zone.
    """
    if not pace:
        return ""
    rate, limited_by = pace.get("images_per_minute"), pace.get("limited_by") or "none"
    reason = REASONS.get(limited_by, f"limited by {limited_by.replace('_', ' ')}")
    parts = [", ".join(part for part in (f"{rate:g} a minute" if rate else "", reason) if part)]
    if opens := _opening(pace, now):
        parts.append(f"next call at {opens:%H:%M:%S}")
    if ends := _time(pace, "expected_end_at", now):
        day = "" if ends.date() == now.date() else f"{ends:%d %b} "
        parts.append(f"ends about {day}{ends:%H:%M}")
    return " · ".join(part for part in parts if part)


def is_closed(pace: Json | None, now: datetime) -> bool:
    """Tell whether the provider is not called before a later time. `now` has a time zone."""
    return _opening(pace or {}, now) is not None


def _opening(pace: Json, now: datetime) -> datetime | None:
    opens = _time(pace, "opens_at", now)
    return opens if opens and opens > now else None


def _time(pace: Json, name: str, now: datetime) -> datetime | None:
    text = pace.get(name)
    return datetime.fromisoformat(text).astimezone(now.tzinfo) if text else None
