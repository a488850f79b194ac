"""The batches of /_control: how jobs end, and what is wrong with their results."""

from dataclasses import dataclass, fields

from local.image_model.members import ControlError, read_members, read_number, read_whole

STATES = ("SUCCEEDED", "FAILED", "EXPIRED", "CANCELLED", "stuck")
ORDERS = ("asked", "shuffled")
PLACES = ("both", "response", "metadata")
MOST = 100_000


@dataclass(slots=True)
class Batches:
    """The member `batches` of /_control. Jobs keep the one that was in force at their creation.

    The first group of counts is for each job. The second counts down over all jobs.
    """

    delay_s: float = 0
    state: str = "SUCCEEDED"
    order: str = "asked"
    output_under: str = "both"
    drop_keys: int = 0
    double_keys: int = 0
    foreign_keys: int = 0
    error_lines: int = 0

    lose_create_answer: int = 0
    create_429: int = 0
    download_503: int = 0
    cut_download: int = 0
    empty_pages: int = 0


CHOICES = {"state": STATES, "order": ORDERS, "output_under": PLACES}
COUNTS = [each.name for each in fields(Batches) if each.type is int]


def read_batches(where: str, value: object) -> Batches:
    """Parse `batches`; ControlError if it is not valid. A null member counts as absent."""
    members = read_members(where, value, {each.name for each in fields(Batches)})
    batches = Batches(delay_s=read_number(where, members, "delay_s", most=86_400) or 0)
    for name, choices in CHOICES.items():
        choice = members.get(name)
        if choice is not None:
            if choice not in choices:
                raise ControlError(f"{where}.{name} must be one of {', '.join(choices)}")
            setattr(batches, name, choice)
    for name in COUNTS:
        setattr(batches, name, read_whole(where, members, name, least=0, most=MOST) or 0)
    return batches
