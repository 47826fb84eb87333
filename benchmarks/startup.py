"""How long it takes before something happens: `--help`, a sweep's first training, a worker's step."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import pairwise
from statistics import median

from optimlab.execution.work import prepare
from optimlab.pool import Pool, Tell
from optimlab.problems import Digits

COPIES = 10

# What a sweep of the default experiment does before it trains, in a process of its own.
TO_THE_FIRST_TRAINING = """\
import sys
from optimlab import cli
from optimlab.execution import work

def first(*arguments, **options):
    sys.exit(0)

work.train_with_witness = first
cli.app(["sweep", "digits", "--jobs", "1", "--results", sys.argv[1]])
"""


def report(*, quick: bool) -> str:
    """Return the section in markdown."""
    repeats = 2 if quick else 5
    rows: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "`optimlab --help`": ["-m", "optimlab", "--help"],
            "`optimlab sweep digits`, to the first training": ["-c", TO_THE_FIRST_TRAINING, folder],
        }
        for name, command in commands.items():
            rows[name] = median(_seconds(command) for _ in range(repeats))
    times = [_workers() for _ in range(repeats)]
    rows["the workers' common start, loops loaded"] = median(common for common, _ in times)
    rows["each worker, a copy of that"] = median(each for _, each in times)
    lines = ["## Start-up", "", "| command | seconds |", "|---|---:|"]
    return "\n".join([*lines, *(f"| {name} | {seconds:.3f} |" for name, seconds in rows.items())])


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *command], capture_output=True, check=True)
    return time.perf_counter() - start


def _workers() -> tuple[float, float]:
    """Return the seconds to a first worker's first task, and those that each other worker takes."""
    with Pool(_end, 1, partial(prepare, [Digits(bias=False)], ["Adam"])) as pool:
        tasks = iter(range(1 + COPIES))
        moments = [
            time.perf_counter(),
            *(time.perf_counter() for _ in pool.run(lambda: next(tasks, None))),
        ]
    first, *others = (after - before for before, after in pairwise(moments))
    return first, median(others)


def _end(task: int, tell: Tell) -> None:
    """Let the worker die at its first task, so that another one starts."""
    os._exit(1)
