"""Progress on stderr for whatever takes over a second, if a person is watching.

The core calls back with (what, done, total) or an ImportProgress; nothing is drawn in the first second,
so quick work stays quiet, and nothing at all without a terminal, with --quiet or with --json.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from quire.cli.output import Output
from quire.cli.text import line

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from quire.store.importing_all import ImportProgress

__all__ = ["Meter"]

QUIET_SECONDS = 1.0


class Meter:
    """A progress bar that appears when it is worth it. Call it, or `imported`, as often as you like."""

    def __init__(self, out: Output, title: str) -> None:
        self._out = out
        self._title = title
        self._begun = time.monotonic()
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._wanted = not (out.settings.quiet or out.json)

    def __enter__(self) -> Meter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """`done` of `total` (0 = unknown) of `what`."""
        self._update(f"{self._title}: {line(what, 40)}", done, total, "")

    def imported(self, progress: ImportProgress) -> None:
        """How far an import is. How much there is nobody knows before the end: exports are read once."""
        rate = progress.messages / max(progress.seconds, 0.001)
        facts = f"{progress.messages:,} messages, {rate:,.0f}/s"
        if progress.duplicates:
            facts += f", {progress.duplicates:,} already there"
        title = f"{self._title} #{line(progress.channel, 30)}" if progress.channel else self._title
        self._update(title, 0, 0, facts)

    def _update(self, title: str, done: int, total: int, facts: str) -> None:
        if not self._wanted or time.monotonic() - self._begun < QUIET_SECONDS:
            return
        if self._progress is None:
            self._start()
            if self._progress is None:
                return
        assert self._task is not None
        self._progress.update(self._task, description=title, completed=done, total=total or None, facts=facts)

    def _start(self) -> None:
        console = self._out.errors
        if not console.is_terminal:
            self._wanted = False
            return
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[facts]}", markup=False),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task(self._title, total=None, facts="")
        self._progress.start()
