"""Tiny experiments to sweep: what the tests of configuration, store, sweep and command line share."""

import csv
import io
import os
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from optimlab import cli
from optimlab.execution.sweep import sweep
from optimlab.execution.workers import ThisProcess
from optimlab.experiment import load as config
from optimlab.experiment.load import ExperimentError
from optimlab.experiment.trials import TrialWorker
from optimlab.progress import Progress

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
TINY_PROBLEM = "hidden = []\nbatch_size = 600\n"  # softmax regression, two steps an epoch
WORKER = TrialWorker()
OWN = '[optimizers.Own]\nrule = "own.py:Own"\n'


def document(
    top="learning_rates = [0.1, 0.3]\n",
    problem=TINY_PROBLEM,
    training="epochs = 1\n",
    seeds="tuning = 1\nreporting = 2\n",
    optimizers="[optimizers.SGD]\n",
):
    """Return the text of an experiment, its tables replaced by what is given."""
    return (
        f'title = "Tiny"\n{top}\n[problem]\nname = "digits"\n{problem}\n'
        f"[training]\n{training}\n[seeds]\n{seeds}\n{optimizers}\n"
    )


def plugin(init="pass", gradient_point="pass", step="pass", settings="", top=""):
    """Return the source of gradient descent in a plain class, with a statement more in each method."""
    return f"""
import numpy as np
{top}
class Own:
    def __init__(self, learning_rate=0.1{settings}):
        self.learning_rate = learning_rate

    def init(self, params):
        {init}
        return {{"steps": 0}}

    def gradient_point(self, params, state):
        {gradient_point}
        return params

    def step(self, params, gradient, state):
        state["steps"] += 1
        params -= self.learning_rate * gradient
        {step}
"""


def write(folder, text=None, name="tiny", **plugins):
    """Write an experiment and its plug-ins to a folder; return the experiment's file."""
    folder.mkdir(parents=True, exist_ok=True)
    for module, source in plugins.items():
        (folder / f"{module}.py").write_text(source, encoding="utf-8")
    file = folder / f"{name}.toml"
    file.write_text(document() if text is None else text, encoding="utf-8")
    return file


def share_worker(patch):
    """Have commands check plug-ins in the worker of the tests, instead of starting one for each."""
    for module in ("experiment.load", "listing"):
        patch.setattr(f"optimlab.{module}.TrialWorker", lambda: nullcontext(WORKER))


def load(file, **options):
    """Load an experiment; one worker checks the plug-ins of all tests."""
    return config.load(file, replace(WORKER, **options))


def tiny(folder, text=None, name="tiny", **plugins):
    """Write an experiment and its plug-ins to a folder, and load it."""
    return load(write(folder, text, name, **plugins))


def mistakes_of(file, **options):
    """Return what is wrong with a file, a line a mistake."""
    with pytest.raises(ExperimentError) as caught:
        load(file, **options)
    lines = [f"{m.key}: {m.message}".removeprefix(": ") for m in caught.value.mistakes]
    head = f"{file}: {len(lines)} mistakes" if len(lines) > 1 else ""
    expected = "\n  ".join([head, *lines]) if head else f"{file}: {lines[0]}"
    assert str(caught.value) == expected.replace("a\nb", r"a\nb")  # a name with a line break in it
    return lines


def silent():
    """Return a Progress that nobody sees."""
    return Progress(Console(file=io.StringIO()))


def mostly_slow(cases, quick=1):
    """Return cases for `parametrize` of which `make test` runs only the first `quick` ones."""
    cases = [case if isinstance(case, tuple) else (case,) for case in cases]
    slow = pytest.mark.slow
    return [pytest.param(*case, marks=slow if n >= quick else ()) for n, case in enumerate(cases)]


def run(experiment, results, jobs=1, **options):
    """Sweep without a sound, in this process if it is one job without a time limit."""
    if jobs == 1 and "time_limit" not in options:
        options = {"workers": ThisProcess(), **options}
    return sweep(experiment, results, jobs, silent(), **options)


def call(*words, answer=""):
    """Run the command line in this process; an exception other than an exit is raised."""
    variables = {"COLUMNS": "80", "TERM": "dumb"}
    done = CliRunner().invoke(cli.app, list(map(str, words)), input=answer, env=variables)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def rows_of(results, name="tiny"):
    """Return the rows of runs.csv as texts."""
    with (results / name / "runs.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def command(*words):
    """Return the command line of `optimlab` in an own process."""
    return [sys.executable, "-m", "optimlab", *map(str, words)]


def wait_for(condition, what, seconds=300):
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited too long for {what}"
        time.sleep(0.02)


def optimlab(*words, cwd, **environment):
    """Run the command line in an own process and return what it did."""
    package = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        command(*words),
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
