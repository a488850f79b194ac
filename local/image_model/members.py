"""Readers for the members of a /_control body. Each names the place and the reason of a refusal."""

from collections.abc import Mapping, Set

type Members = Mapping[str, object]


class ControlError(ValueError):
    """The body of /_control is not valid; the message names the place and the reason."""


def read_members(where: str, value: object, known: Set[str]) -> Members:
    """Return a JSON object; ControlError for another value or for a member that is not known."""
    if not isinstance(value, dict):
        raise ControlError(f"{where} must be an object")
    if unknown := sorted(value.keys() - known):
        raise ControlError(f"{where} has unknown members: {', '.join(unknown)}")
    return value


def read_number(
    where: str, members: Members, name: str, *, least: float = 0, most: float
) -> float | None:
    """Return a number from `least` to `most`; None if it is null or absent."""
    value = members.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ControlError(f"{where}.{name} must be a number from {least:g} to {most:g}")
    return value


def read_whole(
    where: str, members: Members, name: str, *, least: int, most: int | None = None
) -> int | None:
    """Return a whole number of at least `least` and at most `most`; None if null or absent."""
    value = members.get(name)
    if value is None:
        return None
    if type(value) is not int or value < least or (most is not None and value > most):
        bounds = f"{least} or more" if most is None else f"from {least} to {most}"
        raise ControlError(f"{where}.{name} must be a whole number, {bounds}")
    return value


def read_flag(where: str, members: Members, name: str) -> bool:
    """Return true or false; False if the member is null or absent."""
    value = members.get(name)
    if value is not None and not isinstance(value, bool):
        raise ControlError(f"{where}.{name} must be true or false")
    return value is True
