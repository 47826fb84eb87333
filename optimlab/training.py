"""The training loop: it advances a stack of runs together.

The runs of a stack share the problem and the optimizer class. They differ in their seeds and in the
hyper-parameters that are columns (R, 1). No number of a run depends on the other runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import index
from typing import Any, Protocol

import numpy as np

from optimlab.nn.compiled import dots
from optimlab.nn.parameters import Layout
from optimlab.optimizers import RANGES, Optimizer, Task, begin, eval_params
from optimlab.problems.base import Problem
from optimlab.problems.seeds import generator
from optimlab.schedules import Scheduled
from optimlab.validation import kind_of

Array = np.ndarray


TIMED = 1000  # steps of a run whose time is measured
PROBES = 100  # steps to check a rule that has moved nothing; it need not write at each of them

PROBLEM_METRICS = (
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "test_loss",
    "test_accuracy",
)
PATH_METRICS = ("gradient_norm", "update_norm", "update_cosine")
METRICS = PROBLEM_METRICS + PATH_METRICS


@dataclass(frozen=True)
class Cost:
    """The cost of a step of a run trained alone.

    Attributes
    ----------
    step_seconds : processor time of a step, without evaluation and recording.
    rule_seconds : the rule's part of it.
    state_bytes : memory of a run's state.
    """

    step_seconds: float
    rule_seconds: float
    state_bytes: float


class Stopwatch:
    """Measures the processor time of a run's first steps.

    It is active only for a single run: in a stack, runs share their time, and measuring takes time.
    """

    def __init__(self, runs: int) -> None:
        self.left = 1 + TIMED if runs == 1 else 0
        self.moments: list[float] = []
        self.steps: list[tuple[float, float]] = []

    def tick(self) -> None:
        """Note the time: before and after the gradient point, and before and after the rule's step."""
        if self.left:
            self.moments.append(time.process_time())
            if len(self.moments) == 4:
                self.add()

    def add(self) -> None:
        """Add the step whose four times were noted: the durations of its gradient and of its rule."""
        begin, point, gradient, end = self.moments
        self.moments.clear()
        self.left -= 1
        self.steps.append((gradient - point, end - gradient + point - begin))

    def cost(self, state: Any) -> Cost | None:
        """Return the cost of a step, without the first, which loads and compiles; None without others.

        The gradient's time is the median over the steps. The rule's is the mean: a rule may do most of
        its work in a few steps (Shampoo's roots, SOAP's basis).
        """
        if len(self.steps) < 2:
            return None
        gradients, rules = np.transpose(self.steps[1:])
        rule = float(rules.mean())
        return Cost(float(np.median(gradients)) + rule, rule, state_bytes(state))


def state_bytes(state: Any) -> int:
    """Return the memory of all arrays in a state."""
    size = getattr(state, "nbytes", None)
    if isinstance(size, int):
        return size
    if isinstance(state, Mapping):
        return sum(map(state_bytes, state.values()))
    if isinstance(state, list | tuple):
        return sum(map(state_bytes, state))
    return state_bytes(getattr(state, "state", None) or ())  # of PyTorch's optimizers


@dataclass(frozen=True)
class Recording:
    """The result of training a stack of R runs.

    Attributes
    ----------
    steps : the recorded steps (K,); step 0 is the starting point.
    metrics : name → (K, R), NaN where the problem has no such metric or a run has diverged.
    diverged_at : (R,) the first step whose loss or, at recorded steps, parameters or other losses were
        not finite; −1 for none.
    params : the final parameters (R, P).
    model : what else training has changed; `Problem.evaluate` takes both.
    kept_params : the parameters at the recorded steps (K, R', P), of the runs in `params_of`.
    cost : the cost of a step of a single run; None for stacks.
    """

    steps: Array
    metrics: dict[str, Array]
    diverged_at: Array
    params: Array
    model: Any
    kept_params: Array
    cost: Cost | None = None


@dataclass
class Moment:
    """A moment of a training: all that determines its continuation, except the batches.

    Attributes
    ----------
    step : the number of steps taken.
    params, model, state : of the problem and of the rule.
    recorder : the records so far.
    """

    step: int
    params: Array
    model: Any
    state: Any
    recorder: dict[str, Any]


class Keeper(Protocol):
    """Stores moments of a training."""

    def found(self) -> Moment | None:
        """Return the moment to resume from; None to begin at the start."""

    def keep(self, moment: Moment) -> None:
        """Store the moment after a step, if one is due."""


class NoKeeper:
    """Stores nothing."""

    def found(self) -> None:
        """Return None: the training begins at the start."""

    def keep(self, moment: Moment) -> None:
        """Do nothing."""


NO_KEEPER = NoKeeper()


def train(
    problem: Problem,
    optimizer: Optimizer | Scheduled,
    seeds: Sequence[int],
    record_at: Sequence[int],
    params_of: Sequence[int] = (),
    follow: Callable[[int], None] = lambda step: None,
    keeper: Keeper = NO_KEEPER,
) -> Recording:
    """Train one run per seed, and return the records.

    Parameters
    ----------
    problem : the problem to optimize.
    optimizer : the rule; hyper-parameters that differ between runs are columns (R, 1). If some are
        scheduled, the rule is built again at each step, and its state is kept.
    seeds : the seed of each run, at least one.
    record_at : the steps to record; the last one ends the training.
    params_of : the indices of the runs whose parameters are recorded.
    follow : called after each step with the number of steps taken; an exception of it ends the training.
    keeper : provides the moment to resume from, and stores later ones.

    Raises
    ------
    TypeError
        If the problem has no `init`, like problems of earlier versions; if it or the optimizer is a
        class; if seeds or steps are not whole numbers; if a plug-in's `gradient_point` or `eval_params`
        does not return an array like the parameters; or if nothing moves because its `step` changes a
        copy.
    ValueError
        If the problem's settings do not go together, there is no seed, a seed or a step is negative, or
        the problem's batches end before the training does.
    """
    _check_objects(problem, optimizer)
    seeds, record_at = _whole("seeds", seeds), _whole("record_at", record_at)
    if not seeds:
        raise ValueError("seeds must have at least one")
    with np.errstate(all="ignore"):  # a run may diverge; the recorder notices
        params, model = problem.init(seeds)
        start = params.copy()
        task = task_of(problem, params, seeds, steps=max(record_at, default=0))
        scheduled = optimizer if isinstance(optimizer, Scheduled) else None
        rule: Any = scheduled.at(1, task.steps) if scheduled else optimizer
        _check_columns(rule, len(params))
        state = begin(rule, params, task)
        recorder = Recorder(record_at, params, getattr(problem, "extra_metrics", ()), params_of)
        recorder.record(0, params, problem.evaluate(params, model))
        moment = keeper.found() or Moment(0, params, model, state, vars(recorder))
        step, params, model, state = moment.step, moment.params, moment.model, moment.state
        vars(recorder).update(moment.recorder)
        watch = Stopwatch(len(params))
        batches = islice(problem.batches(seeds), step, None)
        for step, batch in enumerate(batches, start=step + 1):  # noqa: B020 - continues from step
            if step > recorder.last:
                break
            watch.tick()
            if scheduled:
                rule = scheduled.at(step, task.steps)
            point = rule.gradient_point(params, state)
            if point is not params:
                check_point(rule, point, params, "gradient_point")
            watch.tick()
            loss, gradient = problem.loss_and_gradient(point, batch, model)
            recorder.before(step, params, gradient)
            watch.tick()
            rule.step(params, gradient, state)
            watch.tick()
            recorder.after(step, params, loss)
            if recorder.wants(step):
                result = eval_params(rule, params, state)
                check_point(rule, result, params, "eval_params")
                recorder.record(step, result, problem.evaluate(result, model))
            keeper.keep(Moment(step, params, model, state, vars(recorder)))
            follow(step)
        if step < recorder.last:
            raise ValueError(f"batches must be endless, but ends after {step} steps")
        if np.array_equal(params, start):
            _check_in_place(rule, params, task)
    recording = recorder.recording(eval_params(rule, params, state), model)
    return replace(recording, cost=watch.cost(state))


def _check_objects(problem: Problem, optimizer: Optimizer | Scheduled) -> None:
    for each in (problem, optimizer):
        if isinstance(each, type):
            name = each.__name__
            raise TypeError(f"{name} is a class: give an object of it, such as {name}(…)")
        if isinstance(each, str):
            raise TypeError(f'"{each}" is a name: give an object here, or the name to optimlab.run')
    if not hasattr(problem, "init"):
        raise TypeError(
            f"{type(problem).__name__} has no init: a problem has init(seeds), which returns params and "
            "model, loss_and_gradient(params, batch, model) and evaluate(params, model)"
        )
    wrong: dict[str, str] = getattr(problem, "check", dict)()
    if wrong:
        mistakes = "; ".join(f"{key} {message}" for key, message in wrong.items())
        raise ValueError(f"{type(problem).__name__}: {mistakes}")


def _whole(name: str, numbers: Iterable[int]) -> list[int]:
    """Return an argument's whole numbers, none of them negative."""
    try:
        found = [index(each) for each in numbers]
    except TypeError:
        raise TypeError(f"{name} must be a list of whole numbers, got {numbers!r}") from None
    if any(each < 0 for each in found):
        raise ValueError(f"{name} must not be negative, got {found}")
    return found


def task_of(problem: Problem, params: Array, seeds: Sequence[int], steps: int) -> Task:
    """Return what a rule may know of a training; without a layout, params is one flat array."""
    return Task(
        layout=getattr(problem, "layout", None) or Layout({"params": params.shape[1:]}),
        steps=int(steps),
        steps_per_epoch=getattr(problem, "steps_per_epoch", 1),
        generators=[generator(seed, "optimizer") for seed in seeds],
    )


def check_point(rule: Any, point: Any, params: Array, method: str) -> None:
    """Raise TypeError if a plug-in's point is not like the parameters: broadcast, it would mix runs."""
    if type(point) is np.ndarray and (point.shape, point.dtype) == (params.shape, params.dtype):
        return
    right = f"an array like params, {params.dtype} {params.shape}"
    raise TypeError(f"{type(rule).__name__}.{method} must return {right}, got {kind_of(point)}")


def _check_columns(rule: Any, runs: int) -> None:
    """Raise ValueError if a hyper-parameter is a column of another number of runs."""
    while rule is not None:
        for name in RANGES:
            shape = np.shape(getattr(rule, name, 0))
            if shape[1:] == (1,) and shape[0] not in (1, runs):
                right = f"a number, or a column {(runs, 1)} of one per seed"
                raise ValueError(f"{name} of {type(rule).__name__} must be {right}, got {shape}")
        rule = getattr(rule, "around", None)


def _check_in_place(optimizer: Optimizer, params: Array, task: Task) -> None:
    """Raise TypeError if `step` does not write to params; even an update of zero is written to them.

    It gets read-only zeros and a gradient of ones: writing by numpy raises an exception, and writing in
    another way changes the zeros.
    """
    zeros, ones = np.zeros_like(params), np.ones_like(params)
    zeros.flags.writeable = False
    try:
        state = begin(optimizer, zeros, task)
        for _ in range(PROBES):
            optimizer.gradient_point(zeros, state)
            optimizer.step(zeros, ones.copy(), state)
    except (Exception, SystemExit):
        return
    if not zeros.any():
        raise TypeError(
            "step must change params in place: params -= update, not params = params - update"
        )


class Recorder:
    """Keeps the metrics of the steps to record, and the step at which each run diverged."""

    def __init__(
        self,
        record_at: Sequence[int],
        params: Array,
        extra_metrics: Sequence[str] = (),
        params_of: Sequence[int] = (),
    ) -> None:
        self.steps = np.array(sorted({0, *record_at}))
        self.last = int(self.steps[-1])
        self.rows = {int(step): row for row, step in enumerate(self.steps)}
        runs = len(params)
        self.metrics = {
            name: np.full((len(self.steps), runs), np.nan) for name in (*METRICS, *extra_metrics)
        }
        self.params_of = list(params_of)
        self.kept_params = np.empty(
            (len(self.steps), len(self.params_of), params.shape[1]), params.dtype
        )
        self.diverged_at = np.full(runs, -1)
        self.params_before = params.copy()
        self.last_update = np.full_like(params, np.nan)

    def wants(self, step: int) -> bool:
        """Return whether to record this step."""
        return step in self.rows

    def before(self, step: int, params: Array, gradient: Array) -> None:
        """Before a step: if it is to be recorded, keep what the step will overwrite."""
        if self.wants(step):
            self.metrics["gradient_norm"][self.rows[step]] = norms(gradient)
        if self.wants(step) or self.wants(step + 1):
            self.params_before[...] = params

    def after(self, step: int, params: Array, loss: Array) -> None:
        """After a step: note which runs diverged in it, and its update."""
        if not (finite := np.isfinite(loss)).all():
            self._mark_diverged(step, finite)
        if not (self.wants(step) or self.wants(step + 1)):
            return
        update = params - self.params_before
        if self.wants(step):
            row = self.rows[step]
            self.metrics["update_norm"][row] = norms(update)
            self.metrics["update_cosine"][row] = cosines(update, self.last_update)
        self.last_update = update

    def record(self, step: int, params: Array, metrics: dict[str, Array]) -> None:
        """Record the metrics of the parameters after `step`."""
        row = self.rows[step]
        for name, values in metrics.items():
            self.metrics[name][row] = values
        self.kept_params[row] = params[self.params_of]
        finite = np.isfinite(params).all(axis=1) & has_finite_losses(metrics)
        self._mark_diverged(step, finite)
        for values in self.metrics.values():
            values[row, self.diverged_at >= 0] = np.nan

    def recording(self, params: Array, model: Any) -> Recording:
        """Return all records."""
        return Recording(self.steps, self.metrics, self.diverged_at, params, model, self.kept_params)

    def _mark_diverged(self, step: int, finite: Array) -> None:
        self.diverged_at[~finite & (self.diverged_at < 0)] = step


def has_finite_losses(metrics: dict[str, Array]) -> Array:
    """Return for each run whether all its losses are finite (R,)."""
    losses = [metrics[name] for name in PROBLEM_METRICS if name.endswith("_loss") and name in metrics]
    return np.all(np.isfinite(losses), axis=0)


def norms(rows: Array) -> Array:
    """Return the Euclidean norm (R,) of each row, in float64."""
    return np.sqrt(_dots(rows, rows))


def cosines(first: Array, second: Array) -> Array:
    """Return the cosine (R,) between the rows of two arrays; NaN where one of them is zero."""
    return _dots(first, second) / (norms(first) * norms(second))


def _dots(first: Array, second: Array) -> Array:
    sums = np.empty(len(first))
    dots(np.ascontiguousarray(first), np.ascontiguousarray(second), sums)
    return sums
