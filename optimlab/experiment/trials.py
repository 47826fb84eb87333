"""Checks of user code in a worker, since it may crash its process or never end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from optimlab.errors import raised
from optimlab.formatting import join_words
from optimlab.pool import Clock, Pool, Tell
from optimlab.validation import Mistake


class Trial(NamedTuple):
    """A check that runs user code: the check, the key of its subject, and the names of the code."""

    check: Callable[[], tuple[Any, list[Mistake]]]
    key: str
    names: Sequence[str]

    def mistake(self, what: str) -> Mistake:
        """Return the mistake that its code, which is named, does something wrong."""
        code = self.names[0] if len(self.names) == 1 else f"one of {join_words(self.names)}"
        return Mistake(self.key, f"{code} {what}")


@dataclass(frozen=True)
class TrialWorker:
    """A worker for `Trial`; its process starts with the first one, and ends with the context.

    Attributes
    ----------
    seconds : the processor time that a trial may take, whatever the load of the machine.
    waiting : the time that it may take in all, since it may sleep, or wait for another process.
    """

    seconds: float = 60.0
    waiting: float = 600.0
    pool: Pool = field(default_factory=lambda: Pool(_check, 1))

    def __enter__(self) -> TrialWorker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.pool.__exit__(*exception)

    def try_out(self, trials: Mapping[str, Trial]) -> dict[str, tuple[Any, list[Mistake]]]:
        """Return label → the result of its check; None and a mistake if the worker is lost."""
        limits = self.seconds, self.waiting
        tasks = ((label, trial, limits, Path.cwd()) for label, trial in trials.items())
        checked = {}
        for event in self.pool.run(lambda: next(tasks, None)):
            label, trial, *_ = event.task
            if event.kind == "done":
                checked[label] = event.value
                continue
            what = (
                "ends or crashes its process when it is loaded or tried out"
                if event.kind == "died"
                else f"takes more than {self.seconds:g} s of processor time, or {self.waiting:g} s "
                "in all, to be loaded and tried out; perhaps it never ends"
            )
            checked[label] = None, [trial.mistake(what)]
        return checked


def _check(task: tuple[str, Trial, tuple[float, float], Path], tell: Tell) -> tuple[Any, list[Mistake]]:
    """Return the result of a check; any exception of user code becomes a mistake."""
    _, trial, limits, folder = task
    try:
        with limited(*limits, tell), chdir(folder):  # user code may change the working directory
            return trial.check()
    except BaseException as error:
        return None, [trial.mistake(f"cannot be tried out: {raised(error)}")]


@contextmanager
def limited(seconds: float, waiting: float, tell: Tell) -> Iterator[None]:
    """Have this worker killed if the block takes so much processor time, or so long in all."""
    tell(Clock(waiting))
    ends, is_over = time.process_time() + seconds, threading.Event()

    def watch() -> None:
        left = seconds
        while left > 0 and not is_over.wait(left):
            left = ends - time.process_time()
        if left <= 0:
            tell(Clock(0))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()  # what it tells must not follow the answer
