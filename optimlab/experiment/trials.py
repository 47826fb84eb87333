"""Checks of user code in a worker, since it may crash its process or never end."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

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
    seconds : the time limit of a trial.
    """

    seconds: float = 60.0
    pool: Pool = field(default_factory=lambda: Pool(_check, 1))

    def __enter__(self) -> TrialWorker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.pool.__exit__(*exception)

    def try_out(self, trials: Mapping[str, Trial]) -> dict[str, tuple[Any, list[Mistake]]]:
        """Return label → the result of its check; None and a mistake if the worker is lost."""
        tasks = ((label, trial, self.seconds, Path.cwd()) for label, trial in trials.items())
        checked = {}
        for event in self.pool.run(lambda: next(tasks, None)):
            label, trial, *_ = event.task
            if event.kind == "done":
                checked[label] = event.value
                continue
            what = (
                "ends or crashes its process when it is loaded or tried out"
                if event.kind == "died"
                else f"takes longer than {self.seconds:g} s to be loaded and tried out; "
                "perhaps it never ends"
            )
            checked[label] = None, [trial.mistake(what)]
        return checked


def _check(task: tuple[str, Trial, float, Path], tell: Tell) -> tuple[Any, list[Mistake]]:
    """Return the result of a check; any exception of user code becomes a mistake."""
    _, trial, seconds, folder = task
    tell(Clock(seconds))
    try:
        with chdir(folder):  # user code may change the working directory
            return trial.check()
    except BaseException as error:
        raised = traceback.format_exception_only(error)[-1].strip()
        return None, [trial.mistake(f"cannot be tried out: {raised}")]
