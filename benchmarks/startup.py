"""How long it takes before something happens: `--help`, a sweep's first training, a worker's step."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

# What a sweep of the default experiment does before it trains, in a process of its own.
TO_THE_FIRST_TRAINING = """\
import sys
from pathlib import Path
from optimlab import cli
from optimlab.execution import workers
from optimlab.experiment.load import find, load

def first(*arguments, **options):
    sys.exit(0)

workers.train_with_witness = first
cli.app(["sweep", "digits", "--jobs", "1", "--results", sys.argv[1]])
"""


# What a worker imports and loads; with an argument, it takes a step, too.
A_WORKER = """\
import sys
import numpy as np
from optimlab.execution.witness import train_with_witness
from optimlab.optimizers import Adam
from optimlab.problems import Digits
from optimlab.training import train
problem = Digits(bias=False)
problem.parts
if len(sys.argv) > 1:
    train(problem, Adam(learning_rate=np.full((2, 1), 0.001, np.float32)), [0, 1], [1])
"""


def report(*, quick: bool) -> str:
    """Return the section in markdown."""
    repeats = 2 if quick else 5
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "`optimlab --help`": ["-m", "optimlab", "--help"],
            "`optimlab sweep digits`, to the first training": ["-c", TO_THE_FIRST_TRAINING, folder],
            "a worker, to its first step": ["-c", A_WORKER, "step"],
            "the same without that step: without numba and the loops": ["-c", A_WORKER],
        }
        times = {name: median(_seconds(c) for _ in range(repeats)) for name, c in commands.items()}
        times["to its first step, with the loops to compile"] = _seconds(
            ["-c", A_WORKER, "step"], NUMBA_CACHE_DIR=str(Path(folder) / "loops")
        )
    lines = ["## Start-up", "", "| command | seconds |", "|---|---:|"]
    return "\n".join([*lines, *(f"| {name} | {seconds:.2f} |" for name, seconds in times.items())])


def _seconds(command: list[str], **variables: str) -> float:
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *command], capture_output=True, check=True, env=os.environ | variables
    )
    return time.perf_counter() - start
