"""Verify: train stored runs again, make the tables again, and compare every bit."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optimlab.errors import UserError
from optimlab.execution.sweep import stacks
from optimlab.execution.workers import local_workers, trained
from optimlab.experiment.runs import FinishedRun
from optimlab.experiment.spec import Experiment
from optimlab.storage.environment import computing, environment
from optimlab.storage.manifest import MANIFEST, Manifest, describe
from optimlab.storage.store import Store
from optimlab.storage.tables import read_records, read_runs

SEEDS = 10**6  # a sample's seed is drawn below this
SAME_FOR_ONE_FILE = (
    *("name", "problem", "network", "steps", "steps_per_epoch", "stuck_loss"),
    *("problems", "optimizers", "seeds", "record_params", "cells", "runs_expected"),
)

Numbers = tuple[FinishedRun, dict[str, np.ndarray]]  # how a run ended, and its traces


@dataclass(frozen=True)
class Verdict:
    """The result of a verification.

    Attributes
    ----------
    runs : number of runs that were trained again.
    stored : number of stored runs.
    seed : the seed of the sample.
    differences : one line per run whose numbers differ.
    changes : what differs between the libraries and kernels that computed those runs and those here, and
        between the machine and versions of the last sweep and these: name → (then, now).
    tables : one line per table that differs from what the parts give.
    """

    runs: int
    stored: int
    seed: int
    differences: list[str]
    changes: dict[str, tuple[Any, Any]]
    tables: list[str]


def verify(
    experiment: Experiment, results: Path, runs: int, seed: int | None, jobs: int | None
) -> Verdict:
    """Train a random sample of the stored runs again and compare them with what is stored.

    The tables, which the page reads, are compared with what the parts and the TOML file give.

    Parameters
    ----------
    experiment : the experiment.
    results : the folder of all results; nothing is written there.
    runs : the size of the sample.
    seed : the seed of the sample; None to draw a new one each time.
    jobs : the number of worker processes; None for one per core.

    Raises
    ------
    UserError
        When no run of the experiment as it is now is stored, the results belong to another file, or a
        sweep is writing there.
    """
    store = Store(results / experiment.name)
    store.refuse_held()
    store.refuse_other(experiment)
    experiment = store.with_rounds(experiment)
    finished = store.finished()
    stored = [run for run in experiment.runs() if run.run_id in finished]
    if not stored:
        raise UserError(f"{store.folder} holds no run of {experiment.file} as it is now; sweep first")
    workers = local_workers(experiment, jobs)
    seed = secrets.randbelow(SEEDS) if seed is None else seed
    indices = random.Random(seed).sample(range(len(stored)), min(runs, len(stored)))  # noqa: S311
    sample = [stored[index] for index in sorted(indices)]
    keep_params = {run.run_id for run in sample if run.keeps_params}
    again: dict[str, Numbers] = {}
    for stack in trained(stacks(experiment, sample, workers.cores), workers):
        for index, end in enumerate(stack.runs):
            rows = stack.traces["run"] == index
            columns = {name: column[rows] for name, column in stack.traces.items()}
            again[end.run_id] = end, _numbers(columns, end.run_id in keep_params)
    now = environment(experiment.packages) | computing()
    differences, then = [], dict((store.manifest() or Manifest()).environment)
    for run, end, traces, computed_by in store.read(sample):
        found = list(_differences((end, _numbers(traces, run.keeps_params)), again[run.run_id]))
        if found:
            more = f", and {len(found) - 1} other numbers" if len(found) > 1 else ""
            name = f"{run.optimizer}, learning rate {run.learning_rate:g}, seed {run.seed}"
            differences.append(f"{name}: {found[0]}{more}")
            then |= {name: value for name, value in computed_by.items() if value != now.get(name)}
    changes = {
        key: (then[key], now[key])
        for key in now.keys() & then.keys() - {"date"}
        if then[key] != now[key]
    }
    return Verdict(
        len(sample), len(stored), seed, differences, changes, list(_wrong_tables(store, experiment))
    )


def _wrong_tables(store: Store, experiment: Experiment) -> Iterator[str]:
    """Yield a message for each table, or manifest entry, that differs from what the parts give."""
    on_disk, right = store.manifest(), describe(experiment, store.folder)
    tables = store.tables()
    if on_disk is None:
        yield f"{MANIFEST} is missing or garbled; the next sweep writes it again"
    elif on_disk.toml == right.toml:
        differ = [name for name in SAME_FOR_ONE_FILE if getattr(on_disk, name) != getattr(right, name)]
        differ += [name for name, value in on_disk.settings.items() if value != right.settings[name]]
        for name in differ:
            yield f"{MANIFEST}: {name} differs from {experiment.file}"
    else:  # the file has changed since the tables were made
        right = on_disk
    if on_disk is None or on_disk.parts != store.digest_of_parts():
        yield f"the tables in {store.folder} are older than its parts; sweep again"
        return
    for name, content in store.made_again(right).items():
        if name not in tables:
            yield f"{name} is missing"
        elif tables[name] != content:
            wrong = _first_difference(name, tables[name], content)
            if wrong:  # otherwise another version of the library wrote it
                yield f"{name}: {wrong}"


def _first_difference(name: str, on_disk: bytes, right: bytes) -> str:
    """Return a message on the first value that differs from the right table's; "" if none does."""
    read = read_runs if name.endswith(".csv") else read_records
    try:
        found, expected = read(on_disk), read(right)
    except ValueError as error:
        return f"it cannot be read: {error}"
    if list(found) != list(expected):
        both = found.columns.symmetric_difference(expected.columns)
        return f"it has other columns: {', '.join(both) or 'in another order'}"
    if len(found) != len(expected):
        return f"it has {len(found):,} rows, and the parts give {len(expected):,}"
    for column in expected:
        pairs = zip(_bits(found[column].to_numpy()), _bits(expected[column].to_numpy()), strict=True)
        for row, (one, other) in enumerate(pairs):
            if one != other:
                values = f"{found[column][row]}, and the parts give {expected[column][row]}"
                return f"{column} of row {row + 1:,} is {values}"
    return ""


def _numbers(traces: dict[str, np.ndarray], keeps_params: bool) -> dict[str, np.ndarray]:
    """Return a run's own columns: without its index, or parameters kept for other runs of its stack."""
    left_out = {"run"} if keeps_params else {"run", "params"}
    return {name: column for name, column in traces.items() if name not in left_out}


def _differences(stored: Numbers, again: Numbers) -> Iterator[str]:
    """Yield a message for every number of a run that differs in any bit."""
    (end, traces), (new_end, new_traces) = stored, again
    for name in ("status", "steps"):
        before, after = getattr(end, name), getattr(new_end, name)
        if before != after:
            yield f"{name} was {before} and is {after}"
    for name in sorted(traces.keys() ^ new_traces.keys()):
        was, now = ("" if name in each else "not " for each in (traces, new_traces))
        yield f"{name} was {was}stored, and is {now}computed now"
    if len(traces["step"]) != len(new_traces["step"]):
        yield f"the number of records was {len(traces['step'])} and is {len(new_traces['step'])}"
        return
    for name, column in traces.items():
        if name not in new_traces:
            continue
        for row in np.flatnonzero(
            [a != b for a, b in zip(_bits(column), _bits(new_traces[name]), strict=True)]
        ):
            step = traces["step"][row]
            yield f"{name} at step {step} was {column[row]} and is {new_traces[name][row]}"
    for name in sorted(end.final.keys() | new_end.final.keys()):
        value, new = end.final.get(name), new_end.final.get(name)
        if repr(value) != repr(new):  # JSON keeps every bit except the sign of a NaN
            yield f"final_{name} was {value!r} and is {new!r}"


def _bits(column: np.ndarray) -> list[bytes]:
    """Return the bytes of each row; a row of recorded parameters is an array."""
    return [np.asarray(row).tobytes() for row in column]
