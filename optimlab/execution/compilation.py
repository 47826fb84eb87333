"""Compiling: the loops that runs need are compiled once for a machine, before its workers need them."""

from __future__ import annotations

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

from optimlab.experiment.identity import digest
from optimlab.messages import warn
from optimlab.nn.compiled import cache_folder, usable_folder
from optimlab.problems.supervised import Supervised
from optimlab.storage.environment import cpu

SECONDS_TO_WAIT = 60  # for another process, which may have been stopped
DAYS_TO_KEEP = 60


def compile_once(problems: Iterable[Any], say: Callable[..., None] | None = None) -> None:
    """Compile the loops that problems need, unless that has been done; other processes wait.

    Parameters
    ----------
    problems : those of optimlab's own kind; others compile what they need by themselves.
    say : prints, as `print` does, that it takes a while; None to say nothing.
    """
    for problem in problems:
        if not isinstance(problem, Supervised) or os.environ.get("NUMBA_DISABLE_JIT") == "1":
            continue
        folder = usable_folder()
        if folder is None:
            if say:
                where = cache_folder()
                warn(f"{where} cannot be written to: every process compiles anew, which takes seconds")
            return
        done = folder / f"{_kind(problem)}.compiled"
        if done.exists():
            continue
        with suppress(Timeout), FileLock(folder / ".lock", timeout=SECONDS_TO_WAIT):
            if not done.exists():
                _compile(problem, say)
                done.touch()
                _clean(folder)


def _kind(problem: Supervised) -> str:
    """Return a digest of what decides which loops a problem needs, for which types and processor."""
    network, loss = problem.network, type(problem.objective).__name__
    names = [name for layer in network.layers for name in (layer.name, *layer.shapes)]
    layers = sorted({re.sub(r"\d", "", name) for name in names})
    return digest(
        f"{cpu()} {problem.dtype} {layers} {network.evaluate_with} {loss} {problem.is_resampled}"
    )


def _compile(problem: Any, say: Callable[..., None] | None) -> None:
    """Take a step and evaluate, by one run: that compiles all that training calls."""
    from numba.core import event

    class Compiling(event.Listener):
        """Says that something is compiled, when it is the first."""

        since: float | None = None

        def on_start(self, event: Any) -> None:
            if say and self.since is None:
                say("compiling, once:", end=" ")
            self.since = self.since or time.monotonic()

        def on_end(self, event: Any) -> None:
            pass

    listener = Compiling()
    with (
        event.install_listener("numba:compile", listener),
        np.errstate(all="ignore"),
        suppress(Exception),  # the runs will say so
    ):
        own = copy(problem)  # whose data no worker is sent
        params, model = own.init([0])
        own.loss_and_gradient(params, next(iter(own.batches([0]))), model)
        own.evaluate(params, model)
    if say and listener.since is not None:
        say(f"{time.monotonic() - listener.since:.0f} s")


def _clean(folder: Path) -> None:
    """Delete what other versions have compiled, and have not for long."""
    for other in folder.parent.iterdir():
        if re.fullmatch(r"[0-9a-f]{16}-numba-.*", other.name) and other != folder:
            with suppress(OSError):
                newest = max(path.stat().st_mtime for path in (other, *other.rglob("*")))
                if newest < time.time() - DAYS_TO_KEEP * 86400:
                    shutil.rmtree(other)
