"""The progress of an execution on the terminal."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class ProgressBar:
    """A moving bar on a terminal; one line for each change in other outputs."""

    def __init__(self, total: int, console: Console) -> None:
        self._total, self._console = total, console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failures]}", style="red"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("pending", total=total, failures="")

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, status: str, progress: dict[str, Any]) -> None:
        """Show the status and the counts of `progress`."""
        failed, working = progress.get("failed", 0), progress.get("processing", 0)
        done = progress.get("successful", 0) + failed
        failures = f"{failed} failed" if failed else ""
        self._bar.update(self._task, description=status, completed=done, failures=failures)
        if not self._console.is_terminal:
            self._console.print(
                f"{status}: {done} of {self._total} done, {failed} failed, {working} in progress"
            )
