"""Verify: train stored runs again, and compare every bit."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from joblib import effective_n_jobs

from optimlab.environment import environment
from optimlab.errors import UserError
from optimlab.experiment import Experiment
from optimlab.stack import FinishedRun
from optimlab.store import Store
from optimlab.sweep import stacks
from optimlab.workers import trained

Numbers = tuple[FinishedRun, dict[str, np.ndarray]]  # how a run ended, and its traces


@dataclass(frozen=True)
class Verdict:
    """What came of it.

    Attributes
    ----------
    runs : how many runs were trained again.
    stored : how many there are.
    differences : one line for each run that came out differently.
    changes : how the machine and the versions differ from those of the last sweep: name → (then, now).
    """

    runs: int
    stored: int
    differences: list[str]
    changes: dict[str, tuple[Any, Any]]


def verify(experiment: Experiment, results: Path, runs: int, seed: int, jobs: int | None) -> Verdict:
    """Train a random sample of the stored runs again and compare them with what is stored.

    Parameters
    ----------
    experiment : whose runs.
    results : the folder of all results; nothing is written there.
    runs : the size of the sample.
    seed : of the sample.
    jobs : the number of worker processes; None for one a core.

    Raises
    ------
    UserError
        When no run of the experiment, as it is now, is stored.
    """
    store = Store(results / experiment.name)
    finished = store.finished()
    stored = [run for run in experiment.runs() if run.run_id in finished]
    if not stored:
        raise UserError(f"{store.folder} holds no run of {experiment.file} as it is now; sweep first")
    jobs = jobs or effective_n_jobs(-1)
    places = random.Random(seed).sample(range(len(stored)), min(runs, len(stored)))  # noqa: S311
    sample = [stored[place] for place in sorted(places)]
    again: dict[str, Numbers] = {}
    for stack in trained(stacks(experiment, sample, jobs), jobs):
        for place, end in enumerate(stack.runs):
            rows = stack.traces["run"] == place
            again[end.run_id] = end, {name: column[rows] for name, column in stack.traces.items()}
    differences = []
    for run, end, traces in store.read(sample):
        found = list(_differences((end, traces), again[run.run_id]))
        if found:
            more = f", and {len(found) - 1} other numbers" if len(found) > 1 else ""
            whose = f"{run.optimizer}, learning rate {run.learning_rate:g}, seed {run.seed}"
            differences.append(f"{whose}: {found[0]}{more}")
    then, now = store.manifest().get("environment", {}), environment()
    changes = {
        key: (then[key], now[key])
        for key in now.keys() & then.keys() - {"date"}
        if then[key] != now[key]
    }
    return Verdict(len(sample), len(stored), differences, changes)


def _differences(stored: Numbers, again: Numbers) -> Iterator[str]:
    """Yield in words every number of a run that is not the same to the last bit."""
    (end, traces), (new_end, new_traces) = stored, again
    for name in ("status", "steps"):
        before, after = getattr(end, name), getattr(new_end, name)
        if before != after:
            yield f"{name} was {before} and is {after}"
    if len(traces["step"]) != len(new_traces["step"]):
        yield f"{len(traces['step'])} records were stored and {len(new_traces['step'])} came out"
        return
    for name, column in traces.items():
        for row in np.flatnonzero(
            [a != b for a, b in zip(_bits(column), _bits(new_traces[name]), strict=True)]
        ):
            step = traces["step"][row]
            yield f"{name} at step {step} was {column[row]} and is {new_traces[name][row]}"
    for name, value in end.final.items():
        if repr(value) != repr(new_end.final[name]):  # JSON keeps every bit but the sign of a NaN
            yield f"final_{name} was {value!r} and is {new_end.final[name]!r}"


def _bits(column: np.ndarray) -> list[bytes]:
    """Return the bytes of each row; of recorded parameters, a row is an array of its own."""
    return [np.asarray(row).tobytes() for row in column]
