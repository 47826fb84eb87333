"""In turn with another checkout: what has become of a step, an evaluation and the default sweep."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.contenders import ENTRIES, OURS
from benchmarks.process import ONE_THREAD

ROOT = Path(__file__).parents[1]
STEPS, STEPS_OF_WHOLE_SET = 288, 24  # so many that what a training begins with hardly counts

# Trains or evaluates the runs of a case whenever it reads a line, and prints the processor time in µs:
# per run and step, or per run. What is imported is the checkout's: its code, and its benchmark.
SERVER = """\
import os, sys, time
checkout, batch, stack, steps, steps_of_whole_set = sys.argv[1:]
sys.path.insert(0, checkout)
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
time.perf_counter = time.process_time
from threadpoolctl import threadpool_limits
import benchmarks.case
from benchmarks.case import Case
from benchmarks.contenders.ours import Stacked
benchmarks.case.STEPS, benchmarks.case.STEPS_OF_WHOLE_SET = int(steps), int(steps_of_whole_set)
case = Case("Adam", int(batch), int(stack))
contender = Stacked(case)
with threadpool_limits(1):
    contender.train()
    for line in sys.stdin:
        start = time.process_time()
        if line == "step\\n":
            seconds = contender.train() / case.steps
        else:
            contender.evaluate()
            seconds = time.process_time() - start
        print(seconds / case.runs * 1e6, flush=True)
"""


class Seat:
    """A process with the code of a checkout, which waits until it is its turn."""

    def __init__(self, checkout: Path, batch: int, stack: int) -> None:
        numbers = map(str, (batch, stack, STEPS, STEPS_OF_WHOLE_SET))
        command = [sys.executable, "-c", SERVER, str(checkout), *numbers]
        environment = _of(checkout) | ONE_THREAD
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def time(self, what: str) -> float:
        """Return the µs of processor time of a "step" or an "evaluation" per run."""
        assert self.process.stdin
        assert self.process.stdout
        print(what, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def report(before: Path, *, quick: bool, tell: Callable[[str], None]) -> str:
    """Return the section in markdown.

    Parameters
    ----------
    before : the root of the other checkout, which runs in this environment.
    quick : whether to take few turns, and no sweep.
    tell : called with what is being timed.
    """
    rows = []
    for batch, name in ((32, "batch 32"), (64, "batch 64"), (1200, "the whole training set")):
        tell(f"{name}, in turn with {before}")
        rows.append((f"a step, {name}, µs", *_in_turn(before, batch, "step", 3 if quick else 40)))
    tell(f"an evaluation, in turn with {before}")
    rows.append(("an evaluation, µs", *_in_turn(before, 64, "evaluation", 3 if quick else 20)))
    if not quick:
        tell(f"digits, 1 worker, in turn with {before}")
        rows.append(("`sweep digits`, s", _sweep(before), _sweep(ROOT)))
    lines = [
        "## In turn with another checkout",
        "",
        f"{before}: {_commit(before)}. Processor time per run with Adam and the best of the stack sizes",
        "that were tried, the least of all turns; and of `sweep digits --jobs 1`, tables included.",
        "",
        "| | before | now | before / now |",
        "|---|---:|---:|---:|",
        *(f"| {what} | {old:,.1f} | {new:,.1f} | {old / new:.2f} |" for what, old, new in rows),
    ]
    return "\n".join(lines)


def _in_turn(before: Path, batch: int, what: str, turns: int) -> tuple[float, float]:
    """Return the least times of the other checkout and of this one."""
    sizes = next(entry for entry in ENTRIES if entry.name == OURS).sizes(batch)
    seats = {(root, size): Seat(root, batch, size) for size in sizes for root in (before, ROOT)}
    try:
        times = [{key: seat.time(what) for key, seat in seats.items()} for _ in range(turns)]
    finally:
        for seat in seats.values():
            seat.process.kill()
    old, new = (min(turn[root, size] for turn in times for size in sizes) for root in (before, ROOT))
    return old, new


def _sweep(checkout: Path) -> float:
    """Return the processor time of a checkout's default sweep in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as results:
        command = [sys.executable, "-m", "optimlab", "sweep", "digits", "--results", results]
        subprocess.run(
            [*command, "--jobs", "1"], check=True, capture_output=True, cwd=checkout, env=_of(checkout)
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _of(checkout: Path) -> dict[str, str]:
    """Return an environment in which Python imports the checkout's code."""
    return os.environ | {"PYTHONPATH": str(checkout)}


def _commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "log", "-1", "--format=%h, %s"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "not a commit"
