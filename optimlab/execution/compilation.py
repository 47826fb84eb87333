"""Compile the loops that runs need once per machine, before its workers need them."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from optimlab.compiled_code import cache_folder, usable_folder
from optimlab.data.named import is_own
from optimlab.experiment.identity import digest, files_of
from optimlab.messages import warn
from optimlab.optimizers import RULES
from optimlab.problems.supervised import Supervised
from optimlab.storage.environment import cpu
from optimlab.training import train

SECONDS_TO_WAIT = 60  # for another process, which may have been stopped
DAYS_TO_KEEP = 60


def compile_once(
    problems: Iterable[Any], rules: Iterable[str], say: Callable[..., None] | None = None
) -> None:
    """Compile the loops that problems and rules need, unless they are compiled; other processes wait.

    Parameters
    ----------
    problems : the problems to train on; a user's code is not run here.
    rules : the names of the rules; plug-ins are skipped.
    say : prints, as `print` does, that compiling takes a while; None to print nothing.
    """
    if not _is_compiling():
        return
    folder = usable_folder()
    if folder is None:
        if say:
            where = cache_folder() or "a cache folder"
            warn(f"{where} cannot be written to: every command compiles again, which takes seconds")
        return
    needed = _needed(folder, problems, rules)
    if all(done.exists() for done in needed):
        return
    with suppress(Timeout), FileLock(folder / ".lock", timeout=SECONDS_TO_WAIT):
        _compile([both for done, both in needed.items() if not done.exists()], say)
        for done in needed:
            done.touch()
        _clean(folder)


def load_compiled(problems: Iterable[Any], rules: Iterable[str]) -> None:
    """Load the loops that problems and rules need, as far as they are compiled.

    Compile them where compiled loops cannot be kept.
    """
    if not _is_compiling():
        return
    folder = usable_folder()
    for done, (problem, rule) in _needed(folder or Path(), problems, rules).items():
        if folder is None or done.exists():
            _take_a_step(problem, rule)


def _is_compiling() -> bool:
    """Return whether loops are compiled at all."""
    return os.environ.get("NUMBA_DISABLE_JIT") != "1"


def _needed(folder: Path, problems: Iterable[Any], rules: Iterable[str]) -> dict[Path, tuple[Any, Any]]:
    """Return problems and rules by the files that exist when their loops are compiled."""
    built_in = sorted(RULES.keys() & set(rules)) or ["SGD"]
    return {
        folder / f"{_kind(problem, rule)}.compiled": (problem, RULES[rule])
        for problem, rule in itertools.product(problems, built_in)
        if type(problem).__module__.startswith("optimlab.") and not any(map(is_own, files_of(problem)))
    }


def _kind(problem: Any, rule: str) -> str:
    """Return a digest of what decides which loops are compiled: problem, rule, types and processor."""
    about = [cpu(), rule, problem.dtype, type(problem).__name__]
    if isinstance(problem, Supervised):
        network = problem.network
        names = [name for layer in network.layers for name in (layer.name, *layer.shapes)]
        about += sorted({re.sub(r"\d", "", name) for name in names})
        about += [network.evaluate_with, type(problem.objective).__name__, str(problem.is_resampled)]
    return digest(repr(about))


def _compile(trainings: list[tuple[Any, Any]], say: Callable[..., None] | None) -> None:
    """Take one step of one run for each problem and rule, which compiles all that training calls."""
    from numba.core import event

    class Compiling(event.Listener):
        """Prints a message when the first loop is compiled."""

        since: float | None = None

        def on_start(self, event: Any) -> None:
            if say and self.since is None:
                say("compiling, once:", end=" ")
            self.since = self.since or time.monotonic()

        def on_end(self, event: Any) -> None:
            pass

    listener = Compiling()
    with event.install_listener("numba:compile", listener):
        for problem, rule in trainings:
            _take_a_step(problem, rule)
    if say and listener.since is not None:
        say(f"{time.monotonic() - listener.since:.0f} s")


def _take_a_step(problem: Any, rule: Any) -> None:
    """Train one run for one step, which compiles or loads all loops that training calls."""
    with suppress(Exception):  # the run will report it
        rate = np.ones((1, 1), problem.dtype)
        train(copy(problem), rule(learning_rate=rate), [0], [1])  # a copy: so that workers get no data


def _clean(folder: Path) -> None:
    """Delete loops compiled by other versions and not used for long."""
    for other in folder.parent.iterdir():
        if re.fullmatch(r"[0-9a-f]{16}-numba-.*", other.name) and other != folder:
            with suppress(OSError):
                newest = max(path.stat().st_mtime for path in (other, *other.rglob("*")))
                if newest < time.time() - DAYS_TO_KEEP * 86400:
                    shutil.rmtree(other)
