"""How much memory a worker takes by the size of its stack, and a sweep by its number of runs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

EXPERIMENT = """\
title = "Many cheap runs"
learning_rates = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0]
[problem]
name = "digits"
hidden = []
batch_size = 32
[training]
steps = 10
record_every = 1
[seeds]
tuning = 0
reporting = {seeds}
[optimizers.SGD]
[optimizers.Nesterov]
[optimizers.AdaGrad]
[optimizers.RMSprop]
[optimizers.Adam]
"""

# Returns the peak of the resident memory of a process in MiB. On Linux, getrusage counts that of the
# process that started it, too.
PEAK = """\
import re, resource, sys
from pathlib import Path
def peak():
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
"""

# Runs a sweep with one worker in this process, and prints its peak.
SWEEP = f"""\
{PEAK}
from optimlab.cli import app
try:
    app(["sweep", sys.argv[1], "--jobs", "1", "--results", sys.argv[2]])
finally:
    print(peak())
"""


# Trains one stack of the default experiment for an epoch, and prints its peak.
STACK = f"""\
{PEAK}
import numpy as np
from optimlab import Adam
from optimlab.problems import Digits
from optimlab.training import train
runs = int(sys.argv[1])
train(Digits(bias=False), Adam(learning_rate=np.full((runs, 1), 0.001, np.float32)), range(runs), [19])
print(peak())
"""


def report(*, quick: bool) -> str:
    """Return the section in markdown, with two tables of peaks."""
    stacks = (1, 50) if quick else (1, 10, 50, 100, 400)
    lines = [
        "## Memory",
        "",
        "Peak resident memory of a process that trains one stack, batch 64, Adam.",
        "",
        "| runs in the stack | peak, MiB |",
        "|---:|---:|",
        *(f"| {runs} | {_last_number(['-c', STACK, str(runs)])} |" for runs in stacks),
        "",
        "Peak resident memory of a sweep with one worker, training and tables included.",
        "",
        "| runs | peak, MiB |",
        "|---:|---:|",
    ]
    sizes = (4, 40) if quick else (40, 400)
    return "\n".join([*lines, *(f"| {55 * seeds:,} | {_peak(seeds)} |" for seeds in sizes)])


def _peak(seeds: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cheap.toml"
        file.write_text(EXPERIMENT.format(seeds=seeds), encoding="utf-8")
        return _last_number(["-c", SWEEP, str(file), str(Path(folder) / "results")])


def _last_number(arguments: list[str]) -> int:
    """Return the last number that a Python process prints."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])
