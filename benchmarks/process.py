"""A process for each contender, on one thread and one processor, that waits until it is its turn."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median

import numpy as np

from benchmarks.case import Case
from benchmarks.contenders import Entry

# Read when the libraries are imported: every kind of thread pool has one thread.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
TOLERANCE = 0.001  # of a loss in float32 after some dozen steps, relative: in the median of the runs


class OtherLossesError(Exception):
    """A contender that computes something else."""


class Seat:
    """A contender's process.

    Parameters
    ----------
    entry : the contender.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.pipe, theirs = get_context("spawn").Pipe()
        self.process = get_context("spawn").Process(target=_serve, args=(theirs, entry), daemon=True)
        self.process.start()

    def prepare(self, case: Case) -> float:
        """Make the contender for a case, check its losses, and return how long its first training took.

        Raises
        ------
        OtherLossesError
            When its losses are not optimlab's.
        """
        seconds, difference = self._ask("prepare", case)
        if not difference <= TOLERANCE:
            text = f"{self.entry.name}, {case}: its losses differ from optimlab's by {difference:.1e}"
            raise OtherLossesError(text)
        return seconds

    def train(self) -> float:
        """Return how long a training took."""
        return self._ask("train")

    def evaluate(self) -> float:
        """Return how long an evaluation took."""
        return self._ask("evaluate")

    def _ask(self, *question: object) -> object:
        self.pipe.send(question)
        return self.pipe.recv()


@contextmanager
def seated(entries: list[Entry]) -> Iterator[list[Seat]]:
    """Start a process for each of the contenders, and end them all."""
    os.environ.update(ONE_THREAD)  # inherited
    seats = [Seat(entry) for entry in entries]
    try:
        yield seats
    finally:
        for seat in seats:
            seat.process.kill()


def turns(seats: list[Seat], cases: list[Case], count: int) -> list[tuple[float, float]]:
    """Have the contenders train in turn; return for each the median µs per run and step.

    With it comes how many seconds its first training took. All have the same number of turns, one after
    the other, so that a machine that slows down slows them all.
    """
    first = [seat.prepare(case) for seat, case in zip(seats, cases, strict=True)]
    seconds = np.array([[seat.train() for seat in seats] for _ in range(count)])
    return [
        (median(seconds[:, n]) / (case.runs * case.steps) * 1e6, first[n])
        for n, case in enumerate(cases)
    ]


def _serve(pipe: Connection, entry: Entry) -> None:
    """Answer until the process is killed."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    contender = None
    while True:
        try:
            question, *case = pipe.recv()
        except EOFError:
            return
        if question == "prepare":
            contender = entry.make(*case)
            start = time.perf_counter()
            contender.train()
            first = time.perf_counter() - start
            expected = contender.expected()
            pipe.send((first, float(np.median(np.abs(contender.losses() / expected - 1)))))
            contender.evaluate()
        elif question == "train":
            pipe.send(contender.train())
        else:
            start = time.perf_counter()
            contender.evaluate()
            pipe.send(time.perf_counter() - start)
