"""The progress and the pace of an execution on the terminal."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from local.demo.pace import pace_text

type Json = dict[str, Any]


class ProgressBar:
    """A moving bar above the pace on a terminal; one line for each change in other outputs."""

    def __init__(self, total: int, console: Console) -> None:
        self._total, self._console = total, console
        self._bar = _BarAbovePace(
            TextColumn("{task.description}"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failures]}", style="red"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("pending", total=total, failures="")
        self._printed: tuple[object, ...] = ()

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, execution: Json) -> None:
        """Show the status, the counts and the pace of an execution.

        A new rate or expected end alone prints no line: they change all the time.
        """
        status, progress = execution["status"], execution.get("progress") or {}
        failed, working = progress.get("failed", 0), progress.get("processing", 0)
        by_provider = progress.get("submitted", 0), progress.get("painted_by_provider", 0)
        done = progress.get("successful", 0) + failed
        # A prompt can have several images.
        self._total = progress.get("total") or self._total
        failures = f"{failed} failed" if failed else ""
        pace = execution.get("pace") or {}
        words = pace_text(pace, datetime.now(UTC).astimezone())
        if by_provider[0]:
            words += f" · it has painted {by_provider[1]} of {by_provider[0]}"
        self._bar.pace = words
        self._bar.update(
            self._task, description=status, completed=done, total=self._total, failures=failures
        )
        news = (status, done, failed, working, by_provider, pace.get("limited_by"))
        if self._console.is_terminal or news == self._printed:
            return
        self._printed = news
        counts = f"{done} of {self._total} done, {failed} failed, {working} in progress"
        line = f"{status}: {counts}" + (f" · {words}" if words else "")
        self._console.print(line, soft_wrap=True)


class _BarAbovePace(Progress):
    """A bar, and below it the pace if there is one: both do not fit into 80 columns."""

    pace = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.pace:
            yield Text(self.pace)
