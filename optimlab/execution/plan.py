"""The plan: what a sweep would run, how long it would take, and how much disk space it needs."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from joblib import delayed

from optimlab.execution.stack import Stack, train_stack
from optimlab.execution.sweep import stacks
from optimlab.execution.workers import ThisProcess, local_workers
from optimlab.experiment.runs import Shard
from optimlab.experiment.spec import Experiment
from optimlab.pool import Pool, in_order, numbered_call
from optimlab.storage.store import Store
from optimlab.storage.tables import TRACE_SCHEMA

SECONDS = 0.3  # the least time to measure each optimizer for
# Disk space besides the traces, which are stored twice: in the parts and in traces.parquet.
PART_BYTES = 12_000
RUN_BYTES = 800


@dataclass(frozen=True)
class Plan:
    """What a sweep would run.

    Attributes
    ----------
    missing, kept : the number of runs to train, and of finished ones.
    stacks : the number of stacks.
    jobs : the number of worker processes.
    seconds : the estimated duration, from a short timed training of each optimizer.
    bytes : disk space, at most: numbers may compress.
    """

    missing: int
    kept: int
    stacks: int
    jobs: int
    seconds: float
    bytes: int


def plan(
    experiment: Experiment,
    results: Path,
    jobs: int | None,
    *,
    fresh: bool = False,
    shard: Shard | None = None,
) -> Plan:
    """Return what a sweep with these arguments would run. Nothing is written.

    Raises
    ------
    UserError
        When the results belong to another file.
    """
    workers = local_workers(experiment, jobs)
    store = Store(results / experiment.name)
    store.refuse_other(experiment)
    experiment = experiment if fresh else store.with_rounds(experiment)
    finished = {} if fresh else store.finished()
    wanted = [run for run in experiment.runs() if shard is None or shard.has(run)]
    missing = [run for run in wanted if run.run_id not in finished]
    kept = len(wanted) - len(missing)
    all_stacks = list(stacks(experiment, missing, workers.cores))
    alike: dict[tuple[str, ...], list[Stack]] = defaultdict(list)
    for stack in all_stacks:
        alike[stack.kind].append(stack)
    timings = [delayed(_seconds)(members[0]) for members in alike.values()]
    with nullcontext() if isinstance(workers, ThisProcess) else Pool(numbered_call, 1) as pool:
        timed = list(in_order(timings, pool))
    seconds, numbers = 0.0, 0
    for members, of_a_stack in zip(alike.values(), timed, strict=True):
        runs = sum(len(stack.run_ids) for stack in members)
        seconds += of_a_stack * runs / len(members[0].run_ids)
        problems = experiment.problems
        about = next(setting.about for setting in problems if setting.problem == members[0].problem)
        columns = len(TRACE_SCHEMA) + len(about.extra_metrics)
        params = sum(len(stack.params_of) for stack in members) * about.size
        numbers += (runs * columns + params) * (1 + len(members[0].record_at))
    return Plan(
        missing=len(missing),
        kept=kept,
        stacks=len(all_stacks),
        jobs=workers.at_once,
        seconds=seconds / workers.cores,
        bytes=2 * 8 * numbers + PART_BYTES * len(all_stacks) + RUN_BYTES * len(missing),
    )


def _seconds(stack: Stack) -> float:
    """Return the estimated duration of a stack, from as many first steps as can be timed reliably."""
    train_stack(replace(stack, record_at=(1,)), failures=Exception)  # loads the data
    last = stack.record_at[-1]
    steps, seconds = 0, 0.0
    while seconds < SECONDS and steps < last:
        steps = min(last, 4 * steps or 1)
        piece = replace(stack, record_at=(*(at for at in stack.record_at if at < steps), steps))
        start = time.perf_counter()
        train_stack(piece, failures=Exception)
        seconds = time.perf_counter() - start
    return seconds * last / steps
