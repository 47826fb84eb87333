"""A stack of runs: a few numbers that are sent to a worker, and a few tables that come back."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from threadpoolctl import threadpool_limits

from optimlab.errors import raised
from optimlab.experiment.registry import load_rule, load_schedule, names_of
from optimlab.experiment.runs import FinishedRun, FinishedStack
from optimlab.metrics import metric_of
from optimlab.optimizers import RULES
from optimlab.problems.base import Problem
from optimlab.schedules import Scheduled
from optimlab.training import METRICS, NO_KEEPER, PROBLEM_METRICS, Keeper, Recording, train

LONGEST = 20.0  # seconds that a stack should take: a killed sweep loses the stacks in progress


class Keepers(Protocol):
    """What makes a `Keeper` per run, such as `optimlab.execution.checkpoint.Checkpoints`."""

    def of(self, run_id: str, rule: Any) -> Keeper:
        """Return the keeper of a run that this rule trains from its start."""


@dataclass(frozen=True)
class Stack:
    """Runs of one problem and one optimizer, which differ by learning rate and seed.

    Attributes
    ----------
    labels : of the problem and of the optimizer, in the experiment.
    problem : the problem to optimize.
    rule, folder : arguments of `optimlab.experiment.registry.load_rule`.
    hyperparameters : all except the learning rate.
    record_at : the steps to record; the last one ends the training.
    run_ids, learning_rates, seeds : one per run.
    params_of : the run_ids of the runs whose parameters are recorded.
    code : the digest of the code that the runs are identified by.
    time_limit : seconds that a run may take, and a stack in proportion; None for no limit.
    witness : the index of the run that is also trained alone; see `optimlab.execution.witness`.
    schedules : hyper-parameter → the argument of `optimlab.experiment.registry.load_schedule`.
    keepers : of checkpoints of runs that are trained alone; None for no checkpoints.
    """

    labels: tuple[str, str]
    problem: Problem
    rule: str
    folder: Path
    hyperparameters: dict[str, Any]
    record_at: tuple[int, ...]
    run_ids: tuple[str, ...]
    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...]
    code: str
    params_of: frozenset[str] = frozenset()
    time_limit: float | None = None
    witness: int | None = None
    schedules: dict[str, dict[str, Any]] = field(default_factory=dict)
    keepers: Keepers | None = None

    @property
    def kind(self) -> tuple[str, ...]:
        """The problem and the optimizer, as a key that stacks of the same kind share.

        Each candidate of a plug-in is a separate kind: its code may depend on the hyper-parameters.
        """
        own = repr(self.hyperparameters) if any(":" in name for name in self.names) else ""
        return *self.labels, own

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the rule and of the plug-in schedules."""
        return names_of(self.rule, self.schedules)

    @property
    def indices_with_params(self) -> list[int]:
        """The indices of the runs whose parameters are recorded."""
        return [index for index, run_id in enumerate(self.run_ids) if run_id in self.params_of]

    def only(self, index: int) -> Stack:
        """Return a stack of the run at this index alone."""
        return self.part(slice(index, index + 1))

    def part(self, indices: slice) -> Stack:
        """Return a stack of the runs at these indices."""
        return replace(
            self,
            run_ids=self.run_ids[indices],
            learning_rates=self.learning_rates[indices],
            seeds=self.seeds[indices],
            witness=None,
        )

    def pieces(self, size: int, start: int = 0) -> list[Stack]:
        """Return the runs from index `start` in stacks of at most this size."""
        return [self.part(slice(at, at + size)) for at in range(start, len(self.run_ids), size)]


Follow = Callable[[Stack, int | None], None]


class TooLong(Exception):  # noqa: N818 - a request, not an error
    """Raised by `follow`: train only the first `runs` runs of the stack."""

    def __init__(self, runs: int) -> None:
        super().__init__(runs)
        self.runs = runs


def train_stack(
    stack: Stack,
    follow: Follow = lambda stack, step: None,
    failures: type[BaseException] = BaseException,
) -> FinishedStack:
    """Train a stack on one thread. If it raises, its runs are trained one by one, and only some fail.

    That changes no numbers, since a run does not depend on the rest of its stack. The working directory
    is restored at the end, since a plug-in may change it.

    Parameters
    ----------
    stack : the runs to train.
    follow : called with the stack, or the part of it, that is being trained and the number of steps
        taken: 0 when everything is loaded and training begins, None when it has ended, also by an
        exception. It may raise `TooLong`.
    failures : the exceptions that fail a run and nothing else.

    Returns
    -------
    The finished stack; only its first runs if `follow` asked for that, or if training one by one took
    longer than `LONGEST`.
    """
    with threadpool_limits(limits=1), chdir("."):
        return _train_stack(stack, follow, failures)


def _train_stack(stack: Stack, follow: Follow, failures: type[BaseException]) -> FinishedStack:
    try:
        return _finish(stack, _train(stack, follow))
    except TooLong as cut:
        return _train_stack(stack.part(slice(cut.runs)), follow, failures)
    except failures as error:
        reason = raised(error)
        if len(stack.run_ids) == 1:
            return failed(stack, reason)
    parts, end = [], time.monotonic() + LONGEST
    for alone in stack.pieces(1):
        parts.append(_train_stack(alone, follow, failures))
        if time.monotonic() > end:
            break
    return replace(join(parts), fell_back=reason)


def _train(stack: Stack, follow: Follow) -> Recording:
    problem, seeds, alone = stack.problem, stack.seeds, len(stack.run_ids) == 1
    rule = load_rule(stack.rule, stack.folder, stack.hyperparameters)
    column = np.array(stack.learning_rates, problem.dtype)[:, None]
    if stack.time_limit:  # importing and loading must not count as a run's time
        train(problem, RULES["SGD"](learning_rate=column[:1]), seeds[:1], (1,))
    follow(stack, 0)
    try:
        values = {"learning_rate": column, **stack.hyperparameters}
        schedules = {name: load_schedule(about, stack.folder) for name, about in stack.schedules.items()}
        optimizer = Scheduled(rule, values, schedules) if schedules else rule(**values)
        keeper = stack.keepers.of(stack.run_ids[0], optimizer) if alone and stack.keepers else NO_KEEPER
        return train(
            problem,
            optimizer,
            seeds,
            stack.record_at,
            stack.indices_with_params,
            lambda step: follow(stack, step),
            keeper,
        )
    finally:
        follow(stack, None)


def _finish(stack: Stack, recording: Recording) -> FinishedStack:
    """Turn a recording into each run's end and the traces, ordered by run."""
    runs = []
    for index, run_id in enumerate(stack.run_ids):
        final = {name: float(recording.metrics[name][-1, index]) for name in _finals(stack.problem)}
        diverged_at = int(recording.diverged_at[index])
        if diverged_at >= 0:
            reason = f"the loss or a parameter was not finite after step {diverged_at}"
            run = FinishedRun(run_id, "diverged", reason, max(diverged_at - 1, 0), final)
        elif final["train_loss"] >= stack.problem.stuck_loss:
            baseline = f"{stack.problem.baseline} ({stack.problem.stuck_loss:.4g})"
            reason = f"the final training loss is no better than {baseline}"
            run = FinishedRun(run_id, "stuck", reason, stack.record_at[-1], final)
        else:
            run = FinishedRun(run_id, "ok", "", stack.record_at[-1], final)
        runs.append(run)
    records, count = len(recording.steps), len(runs)
    traces = {
        "run": np.repeat(np.arange(count, dtype=np.int32), records),
        "step": np.tile(recording.steps, count),
        "epoch": np.tile(recording.steps / stack.problem.steps_per_epoch, count),
    }
    traces.update({name: values.T.ravel() for name, values in recording.metrics.items()})
    if stack.params_of:
        traces["params"] = np.full(count * records, None)
        for kept, index in enumerate(stack.indices_with_params):
            for row in range(records):
                traces["params"][index * records + row] = recording.kept_params[row, kept]
    return FinishedStack(runs, traces, cost=recording.cost)


def _finals(problem: Problem) -> list[str]:
    """Return the metrics whose final values are kept."""
    return [*PROBLEM_METRICS, *(name for name in problem.extra_metrics if metric_of(name))]


def failed(stack: Stack, reason: str) -> FinishedStack:
    """Return the stack with every run failed, and no traces."""
    final = dict.fromkeys(_finals(stack.problem), np.nan)
    runs = [FinishedRun(run_id, "failed", reason, 0, final) for run_id in stack.run_ids]
    empty = {name: np.empty(0) for name in ("epoch", *METRICS, *stack.problem.extra_metrics)}
    if stack.params_of:
        empty["params"] = np.empty(0, object)
    return FinishedStack(runs, empty | {"run": np.empty(0, np.int32), "step": np.empty(0, np.int64)})


def join(parts: list[FinishedStack]) -> FinishedStack:
    """Return finished stacks as one, with their runs numbered consecutively."""
    runs = [run for part in parts for run in part.runs]
    starts = np.cumsum([0] + [len(part.runs) for part in parts[:-1]])
    indices = [part.traces["run"] + start for part, start in zip(parts, starts, strict=True)]
    traces = {name: np.concatenate([part.traces[name] for part in parts]) for name in parts[0].traces}
    computed_by = next((part.computed_by for part in parts if part.computed_by), {})
    traces["run"] = np.concatenate(indices).astype(np.int32)
    cost = next((part.cost for part in parts if part.cost), None)
    return FinishedStack(runs, traces, computed_by, cost)
