"""The body of /_control: which rules, limits, outages and batches it replaces."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from local.image_model.batches import Batches, read_batches
from local.image_model.limits import Limit, read_limit
from local.image_model.members import ControlError, Members, read_members
from local.image_model.outages import Outage, read_outage
from local.image_model.rules import Rule, read_rule


@dataclass(frozen=True, slots=True)
class Control:
    """What a /_control body replaces. None leaves a member as it is."""

    rules: list[Rule] | None = None
    limits: list[Limit] | None = None
    outages: list[Outage] | None = None
    batches: Batches | None = None


NAMES = ("rules", "limits", "outages", "batches")


def read_control(body: bytes) -> Control:
    """Parse a /_control body; ControlError if any part of it is not valid."""
    try:
        control = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ControlError(f"the body is not JSON: {error}") from None
    members = read_members("the body", control, set(NAMES))
    if not members:
        raise ControlError(f"the body must have at least one of {', '.join(NAMES)}")
    return Control(
        _read_list(members, "rules", read_rule),
        _read_list(members, "limits", read_limit),
        _read_list(members, "outages", read_outage),
        read_batches("batches", members["batches"]) if "batches" in members else None,
    )


def _read_list[T](members: Members, name: str, read: Callable[[str, object], T]) -> list[T] | None:
    if name not in members:
        return None
    values = members[name]
    if not isinstance(values, list):
        raise ControlError(f"{name} must be a list")
    return [read(f"{name}[{number}]", value) for number, value in enumerate(values)]
