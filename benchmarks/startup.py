"""How long it takes before something happens: `--help`, and from the command to the first training."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
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


def report(*, quick: bool) -> str:
    """Return the section in markdown."""
    repeats = 2 if quick else 5
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "`optimlab --help`": ["-m", "optimlab", "--help"],
            "`optimlab sweep digits`, to the first training": ["-c", TO_THE_FIRST_TRAINING, folder],
        }
        times = {name: median(_seconds(c) for _ in range(repeats)) for name, c in commands.items()}
    lines = ["## Start-up", "", "| command | seconds |", "|---|---:|"]
    return "\n".join([*lines, *(f"| {name} | {seconds:.2f} |" for name, seconds in times.items())])


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *command], capture_output=True, check=True)
    return time.perf_counter() - start
