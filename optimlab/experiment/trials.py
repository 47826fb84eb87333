"""Checks of user code in a worker, since it may crash its process or never end."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any, NamedTuple

from optimlab.experiment.validation import Mistake
from optimlab.pool import Clock, Pool, Tell

SECONDS_TO_CHECK = 60.0  # a plug-in


def plugin_pool() -> Pool:
    """Return the pool for `load`: its worker starts when there is a plug-in to check."""
    return Pool(check_in_worker, 1)


class Trial(NamedTuple):
    """A check that runs user code: its subject, its key and the names of the code."""

    check: Callable[[], tuple[Any, list[Mistake]]]
    key: str
    names: str


def try_out(
    trials: Mapping[str, Trial], pool: Pool, seconds: float
) -> dict[str, tuple[Any, list[Mistake]]]:
    """Return label → the result of its check in a worker; None and a mistake if the worker is lost."""
    tasks = ((label, trial, seconds, Path.cwd()) for label, trial in trials.items())
    checked = {}
    for event in pool.run(lambda: next(tasks, None)):
        label, trial, *_ = event.task
        if event.kind == "done":
            checked[label] = event.value
            continue
        what = (
            "ends or crashes its process when it is loaded or tried out"
            if event.kind == "died"
            else f"takes longer than {seconds:g} s to be loaded and tried out; perhaps it never ends"
        )
        checked[label] = None, [Mistake(trial.key, f"{trial.names} {what}")]
    return checked


def check_in_worker(task: tuple[str, Trial, float, Path], tell: Tell) -> tuple[Any, list[Mistake]]:
    """Return the result of a check; any exception of user code becomes a mistake."""
    _, trial, seconds, folder = task
    tell(Clock(seconds))
    try:
        with chdir(folder):  # user code may change the working directory
            return trial.check()
    except BaseException as error:
        raised = traceback.format_exception_only(error)[-1].strip()
        return None, [Mistake(trial.key, f"{trial.names} cannot be tried out: {raised}")]
