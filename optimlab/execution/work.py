"""What a worker does: it trains a stack, and says how far it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from optimlab.errors import UserError
from optimlab.execution.compilation import compile_once, load_compiled
from optimlab.execution.stack import LONGEST, Stack, TooLong
from optimlab.execution.witness import train_with_witness
from optimlab.experiment.identity import code_digest, problem_code
from optimlab.experiment.runs import FinishedStack
from optimlab.pool import Clock, Progress, Tell
from optimlab.storage.environment import computing

SECONDS_BETWEEN_MESSAGES = 0.5
SECONDS_TO_MEASURE = 1.0
_ONE_AT_A_TIME = threading.Lock()


def prepare(problems: Sequence[Any], rules: Sequence[str]) -> None:
    """Do once what each worker would do for its first stack: load loops, and read the sources."""
    load_compiled(problems, rules)
    with suppress(UserError):  # the first stack will report it
        problem_code(problems[0])


def train_elsewhere(stack: Stack) -> FinishedStack:
    """Train a stack without reporting progress, such as on another machine."""
    return work(stack, lambda message: None)


def work(stack: Stack, tell: Tell, failures: type[BaseException] = BaseException) -> FinishedStack:
    """Train a stack; refuse if the code here differs from the code that identifies its runs."""
    compile_once([stack.problem], [stack.rule])
    with _ONE_AT_A_TIME:  # the number of BLAS threads is set per process
        finished = train_with_witness(stack, _Follower(tell), failures)
    if code_digest(stack.problem, stack.names, stack.folder) != stack.code:  # all code is loaded by now
        raise UserError(
            "the code changed while the sweep ran, or a worker has another version of it or of a "
            "library; sweep again to use the new one"
        )
    return replace(finished, computed_by=computing())


class _Follower:
    """Reports the progress of a training, and cuts a stack that would take too long."""

    def __init__(self, tell: Tell) -> None:
        self.tell = tell

    def __call__(self, stack: Stack, step: int | None) -> None:
        if step is None:  # time between trainings, and after the last, counts for no run
            self.tell(Clock(None))
            return
        now, runs = time.monotonic(), len(stack.run_ids)
        if step == 0:
            self.tell(Clock(stack.time_limit and stack.time_limit * runs))
            self.start, self.reported, self.is_measured = now, now, runs == 1
        if now - self.reported < SECONDS_BETWEEN_MESSAGES:
            return
        self.reported, share = now, step / stack.record_at[-1]
        if now - self.start >= SECONDS_TO_MEASURE and not self.is_measured:
            self.is_measured, expected = True, (now - self.start) / share
            if expected > LONGEST:  # cutting discards the steps so far
                raise TooLong(max(1, int(runs * LONGEST / expected)))
        self.tell(Progress(runs * share))
