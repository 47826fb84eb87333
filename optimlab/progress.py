"""Progress: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.text import Text

from optimlab.formatting import duration

SECONDS_BETWEEN_LINES = 5.0
SECONDS_IN_A_NOTEBOOK = 0.5


class RateColumn(ProgressColumn):
    """Runs per second."""

    def render(self, task: Task) -> Text:
        """Return the rate, or nothing while it is unknown."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else rate_text(speed), style="cyan")


def drawing_bar(console: Console) -> Bar:
    """Return the progress bar of a report, shown only on a terminal and removed at the end."""
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


class Progress:
    """Shows the progress of a sweep.

    Parameters
    ----------
    console : the console to print to; on a terminal a bar is drawn, elsewhere lines are printed, of
        which a notebook shows only the last.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.cell: Any = None  # the display that holds the line in a notebook
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            RateColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
        )

    @contextmanager
    def over(self, missing: int, kept: int) -> Iterator[None]:
        """Show the progress of `missing` runs while the block runs; `kept` were finished before."""
        self.total, self.done, self.in_progress = missing, 0, 0.0
        self.last_line = time.monotonic()
        self.first: tuple[float, float] | None = None  # when anything was done, and how much
        kept_text = f", {kept:,} finished before" if kept else ""
        self._print(f"{missing:,} runs to do{kept_text}")
        self.task = self.bar.add_task("training", total=missing or None, visible=missing > 0)
        with self.bar if self.console.is_terminal else nullcontext():
            yield

    def advance(self, runs: int) -> None:
        """Note that `runs` more runs are on disk."""
        self.done += runs
        self._show()

    def follow(self, runs: float) -> None:
        """Note how much of the runs in progress is done: half of a stack of ten counts as five runs."""
        self.in_progress = runs
        self._show()

    def _show(self) -> None:
        done = min(self.done + self.in_progress, self.total)
        self.bar.update(self.task, completed=done)
        now = time.monotonic()
        if self.first is None and done:
            self.first = now, done
        pause = SECONDS_IN_A_NOTEBOOK if self.console.is_jupyter else SECONDS_BETWEEN_LINES
        is_due = now - self.last_line >= pause or self.done == self.total
        if is_due and not self.console.is_terminal:
            self.last_line = now
            parts = self.total < 100 and done != self.done  # of a run, where each one counts
            so_far = f"{done:,.1f}" if parts else f"{int(done):,}"
            self._print(f"{so_far} of {self.total:,} runs{self._speed(now, done)}")

    def _speed(self, now: float, done: float) -> str:
        """Return the rate and the time left as text; "" while they are unknown, and at the end.

        The first report is not counted: until then, workers start and compile.
        """
        since, before = self.first or (now, done)
        if now <= since or done in (before, self.total):
            return ""
        rate = (done - before) / (now - since)
        return f", {rate_text(rate)}, {duration((self.total - done) / rate)} left"

    def _print(self, line: str) -> None:
        """Print a line; in a notebook, replace the previous one."""
        if not self.console.is_jupyter or self.console.quiet:
            self.console.print(line)
            return
        from IPython.display import display

        content = {"text/plain": line}
        if self.cell is None:
            self.cell = display(content, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self.cell.update(content, raw=True)


def rate_text(rate: float) -> str:
    """Return a rate in runs per second as text, per minute if it is below one."""
    return f"{rate:,.0f} runs/s" if rate >= 1 else f"{60 * rate:.2g} runs/min"
