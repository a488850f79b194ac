"""docs/errors.md lists every error code."""

import re
from pathlib import Path

from masstock import errors
from masstock_api.problems import STATUS

CATALOGUE = (Path(__file__).parents[2] / "docs/errors.md").read_text()


def rows(heading: str) -> dict[str, list[str]]:
    """Maps each code in the table under a heading to the other cells of its row."""
    section = CATALOGUE.split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if re.match(r"\| `", line)
    ]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_every_problem_is_documented_with_its_status() -> None:
    documented = {code: int(cells[0]) for code, cells in rows("Problems").items()}
    assert documented == {kind.code: status for kind, status in STATUS.items()}


def test_every_outcome_is_documented_with_its_retries() -> None:
    documented = {code: cells[:2] for code, cells in rows("Outcomes of a prompt").items()}
    assert documented == {
        code: [str(kind.max_retries), "yes" if kind.retryable else "no"]
        for code, kind in errors.outcomes().items()
    }


def test_every_outcome_says_what_happened_and_what_to_do() -> None:
    advice = rows("What to do about an outcome")
    assert list(advice) == list(errors.outcomes())
    assert all(len(cells) == 3 and all(cells) for cells in advice.values())


def test_every_error_is_either_a_problem_or_an_outcome() -> None:
    for kind in errors.AppError.__subclasses__():
        assert kind in STATUS or kind is errors.Outcome, kind


def test_codes_are_unique() -> None:
    kinds = [*STATUS, *errors.outcomes().values()]
    assert len({kind.code for kind in kinds}) == len(kinds)


def test_meanings_are_the_texts_that_callers_see() -> None:
    documented = {code: cells[1] for code, cells in rows("Problems").items()}
    documented |= {code: cells[2] for code, cells in rows("Outcomes of a prompt").items()}
    kinds = [*STATUS, *errors.outcomes().values()]
    assert documented == {kind.code: kind.__doc__ for kind in kinds}
