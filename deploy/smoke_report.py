"""The lines that `make smoke` prints: one for each check, and a summary. No line has a secret."""

import textwrap
from collections.abc import Callable, Iterable

from requests import RequestException

LINE_LENGTH = 300
# Shorter values could be parts of ordinary words.
SECRET_LENGTH = 4


class CheckFailed(Exception):
    """A check failed: what it found, and what to do."""

    def __init__(self, found: str, advice: str) -> None:
        super().__init__(found)
        self.found = found
        self.advice = advice


class Report:
    """Runs checks, prints their lines, and keeps the counts."""

    def __init__(self, secrets: Iterable[str], print_line: Callable[[str], object] = print) -> None:
        self._secrets = [secret for secret in secrets if len(secret) >= SECRET_LENGTH]
        self._print = print_line
        self._outcomes: dict[str, str] = {}

    def check(self, name: str, needs: Iterable[str], run: Callable[[], str]) -> None:
        """Run one check, or skip it if a check that it needs did not pass."""
        missing = [need for need in needs if self._outcomes[need] != "ok"]
        if missing:
            self._line("skip", name, f"needs: {', '.join(missing)}")
            return
        try:
            self._line("ok", name, run())
        except CheckFailed as failure:
            self._line("FAIL", name, failure.found, failure.advice)
        except RequestException as error:
            advice = "does API answer from this machine?"
            self._line("FAIL", name, f"no answer: {one_line(error)}", advice)
        except (AttributeError, KeyError, LookupError, TypeError, ValueError) as error:
            found = f"an answer of another form: {type(error).__name__} {one_line(error)}"
            self._line("FAIL", name, found, "is API the URL of a MasStock stack of this version?")

    def note(self, text: str) -> None:
        """Print progress below the checks."""
        self.say(f"            {text}")

    def say(self, text: str) -> None:
        """Print one line without secrets."""
        line = one_line(text, strip=False)
        for secret in self._secrets:
            line = line.replace(secret, "***")
        self._print(line)

    def summarize(self) -> bool:
        """Print the counts and the names of the failed checks; True if all passed."""
        outcomes = list(self._outcomes.values())
        passed, skipped = outcomes.count("ok"), outcomes.count("skip")
        failed = [name for name, outcome in self._outcomes.items() if outcome == "FAIL"]
        names = f" ({', '.join(failed)})" if failed else ""
        self.say(
            f"{len(outcomes)} checks: {passed} ok, {len(failed)} failed{names}, {skipped} skipped"
        )
        return passed == len(outcomes)

    def _line(self, outcome: str, name: str, found: str, advice: str = "") -> None:
        self._outcomes[name] = outcome
        todo = f" → {advice}" if advice else ""
        self.say(f"{outcome:5}{name:13}{found}{todo}")


def one_line(value: object, *, strip: bool = True) -> str:
    """Return text as one printable line of limited length."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(value))
    if strip:
        text = " ".join(text.split())
        return textwrap.shorten(text, LINE_LENGTH, placeholder=" …")
    return text
