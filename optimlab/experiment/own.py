"""User code in an experiment: data, a loss, a layer, or a whole problem.

Only its name, ``"file.py:Name"``, is sent to the workers, which load it.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from optimlab.data.named import File
from optimlab.errors import Interrupted, raised
from optimlab.experiment.registry import load_object
from optimlab.nn.parameters import Layout
from optimlab.problems.base import Problem
from optimlab.problems.own import check_array, layer_of
from optimlab.training import METRICS, PROBLEM_METRICS, has_finite_losses
from optimlab.validation import kind_of

METHODS = ("init", "batches", "loss_and_gradient", "evaluate")
SEEDS = (0, 1, 1000)
STEPS = 3  # of the check of a problem
COLUMNS = ("run", "run_id", "problem", "optimizer", "candidate", "learning_rate", "seed", "role", "step")
TAKEN = {*METRICS, *COLUMNS, "epoch", "params"}  # names that a user's metric must not have
SAME_SLOPE = 0.01  # relative tolerance between a gradient and differences of the loss
MOST_LETTERS = 60  # of a name or a unit

# Attributes that a problem may leave out.
USUAL: dict[str, Any] = {
    "dtype": "float64",
    "steps_per_epoch": 1,
    "stuck_loss": math.inf,
    "baseline": "guessing",
    "loss_unit": "",
    "extra_metrics": (),
}


@dataclass(frozen=True)
class Own:
    """A class or function in a user's file, called with the settings of its table.

    Attributes
    ----------
    name : ``"file.py:Name"``.
    settings : its keyword arguments.
    """

    name: File
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name of the class or function."""
        return self.name.partition(":")[2]

    def made(self, *arguments: Any) -> Any:
        """Return the object that it creates.

        Raises
        ------
        ValueError
            As `optimlab.experiment.registry.load_object` does.
        """
        return load_object(self.name, self.name.folder)(*arguments, **self.settings)

    def build(self, name: str, features: int, dtype: np.dtype) -> Any:
        """Return the layer that it creates for this number of input features."""
        return layer_of(self.made(name, features, dtype), features, dtype)


@dataclass(frozen=True)
class OwnProblem(Own):
    """A user-defined problem; attributes that it lacks have default values."""

    @cached_property
    def problem(self) -> Any:
        """The problem object, created by the user's class."""
        return self.made()

    def __getattr__(self, name: str) -> Any:
        """Return the problem's attribute, or its default."""
        if name.startswith("__"):  # copy and pickle ask for these before there are fields
            raise AttributeError(name)
        found = _given(self.problem, name, USUAL.get(name, USUAL))
        if found is USUAL:
            raise AttributeError(f"{self.name} has no {name}")
        return found

    @cached_property
    def size(self) -> int:
        """The number P of parameters."""
        return int(self.problem.init([0])[0].shape[1])

    @property
    def run_bytes(self) -> int:
        """Approximate working memory of one run in a step, in bytes."""
        return _given(self.problem, "run_bytes", 50 * 8 * self.size)

    def loss_and_gradient(self, params: Any, batch: Any, model: Any) -> tuple[Any, Any]:
        """Return the user's loss and gradient, checked at each step, since they may fail late.

        Raises
        ------
        ValueError
            Where it changes params, or returns arrays of the wrong shape or dtype.
        """
        return _checked_step(self.problem, params, batch, model)

    def evaluate(self, params: Any, model: Any) -> dict[str, Any]:
        """Return the user's metrics, checked like `loss_and_gradient`."""
        return _checked_metrics(self.problem, params, model, self.extra_metrics)

    def cautions(self) -> dict[str, str]:
        """Return warnings about settings that are allowed but rarely intended: key → message."""
        found = self._messages("cautions")
        other = other_slope(self)
        text = f"{self.name}: its gradient is not the gradient of its loss: {other}"
        return {"name": text, **found} if other else found

    def check(self) -> dict[str, str]:
        """Return mistakes that the user's own `check` finds: key → message."""
        return self._messages("check")

    def mistakes(self) -> dict[str, str]:
        """Return all mistakes, found by training some steps; "name" is the key of the problem itself."""
        try:
            problem = self.problem
            missing = [name for name in METHODS if not callable(getattr(problem, name, None))]
            if missing:
                return {"name": f"{self.name} lacks the method {missing[0]}"}
            found, _ = self.check(), self._messages("cautions")
            return found or ({"name": wrong} if (wrong := wrong_problem(self)) else {})
        except Interrupted:
            raise
        except Exception as error:
            return {"name": raised(error)}

    def _messages(self, method: str) -> dict[str, str]:
        """Return key → message, as a method returns it; nothing if the problem lacks the method."""
        call = _given(self.problem, method, dict)
        if not callable(call):
            raise ValueError(f"{self.name}: {method} must be a method, got {kind_of(call)}")
        found = call() or {}
        if not isinstance(found, dict):
            right = "key → message"
            raise ValueError(f"{self.name}: {method} must return {right}, got {kind_of(found)}")
        return {str(key): str(text) for key, text in found.items()}


def _given(problem: Any, name: str, otherwise: Any) -> Any:
    """Return an attribute of a user's object, or `otherwise`; a property's AttributeError is raised.

    The attributes of the protocol, from which a problem may derive, have no values.
    """
    found = inspect.getattr_static(problem, name, USUAL)
    if found is vars(Problem).get(name, problem):
        return otherwise
    if found is USUAL:
        return getattr(problem, name, otherwise)
    return getattr(problem, name)


def wrong_problem(problem: Any) -> str:
    """Return what is wrong with a problem, by training a few steps; "" if nothing is.

    A problem must have the required attributes, return arrays of the right shapes, leave its arguments
    unchanged, and give a run the same numbers in any stack.
    """
    try:
        _check_attributes(problem)
        with np.errstate(all="ignore"):
            together = _walk(problem, SEEDS)
            for row, seed in enumerate(SEEDS):
                for one, several in zip(_walk(problem, (seed,)), together, strict=True):
                    if not np.array_equal(one[0], several[row], equal_nan=True):
                        return "it mixes the runs of a stack: alone, a run has other numbers"
        _check_sizes(problem)
    except ValueError as error:
        return raised(error)
    return ""


def other_slope(problem: Any) -> str:
    """Return how the gradient differs from the slope of the loss along a direction; "" if it does not.

    It is "" also if the loss differs from call to call.
    """
    step = 1e-6 if problem.dtype == "float64" else 1e-2
    seeds = SEEDS[:1]
    params, _ = problem.init(seeds)
    way = np.random.default_rng(0).normal(size=params.shape)
    way /= np.linalg.norm(way)

    def at(distance: float) -> tuple[float, np.ndarray]:
        batch = next(iter(problem.batches(seeds)))
        point = (params + distance * way).astype(params.dtype)
        loss, gradient = problem.loss_and_gradient(point, batch, problem.init(seeds)[1])
        return float(loss[0]), np.array(gradient)

    with np.errstate(all="ignore"):
        (loss, gradient), (again, _) = at(0), at(0)
        slope = (at(step)[0] - at(-step)[0]) / (2 * step)
        claimed = float(np.sum(gradient * way))
    if loss != again or not np.isfinite([slope, claimed]).all():
        return ""
    usual = float(np.linalg.norm(gradient)) / np.sqrt(way.size)
    rounding = 10 * float(np.finfo(params.dtype).eps) * abs(loss) / step
    if abs(slope - claimed) <= SAME_SLOPE * max(abs(slope), abs(claimed), usual) + rounding:
        return ""
    return f"along a direction it gives {claimed:.3g}, but the loss changes by {slope:.3g}"


def _check_attributes(problem: Any) -> None:
    """Raise ValueError if an attribute of a problem is invalid."""
    dtype, steps, names = problem.dtype, problem.steps_per_epoch, problem.extra_metrics
    if not isinstance(dtype, str | np.dtype) or dtype not in ("float32", "float64"):
        raise ValueError(f'dtype must be "float32" or "float64", got {dtype!r:.99}')
    if not isinstance(steps, int | np.integer) or isinstance(steps, bool) or steps < 1:
        raise ValueError(f"steps_per_epoch must be a whole number, 1 or more, got {steps!r:.99}")
    if not _is_number(problem.stuck_loss) or problem.stuck_loss == -math.inf:
        raise ValueError(f"stuck_loss must be a number, got {problem.stuck_loss!r:.99}")
    for name in ("loss_unit", "baseline"):
        text = getattr(problem, name)
        if not isinstance(text, str) or not text.isprintable() or len(text) > MOST_LETTERS:
            right = f"a text of up to {MOST_LETTERS} printable characters"
            raise ValueError(f"{name} must be {right}, got {text!r:.99}")
    _check_names(names)


def _check_names(names: Any) -> None:
    """Raise ValueError unless `extra_metrics` names metrics that are no columns."""
    if not isinstance(names, tuple | list) or len(set(map(str, names))) < len(names):
        raise ValueError(f"extra_metrics must be a list of different names, got {names!r:.99}")
    for name in names:
        if not isinstance(name, str) or not name.isidentifier() or len(name) > MOST_LETTERS:
            right = f"letters, digits and _, {MOST_LETTERS} at most"
            raise ValueError(f"a name in extra_metrics must be {right}, got {name!r:.99}")
        if name in TAKEN:
            raise ValueError(f"extra_metrics names {name}, which is already a column")


def _check_sizes(problem: Any) -> None:
    """Raise ValueError if what a problem says of its parameters is invalid."""
    if not _is_number(problem.run_bytes) or not 1 <= problem.run_bytes < math.inf:
        raise ValueError(f"run_bytes must be a number of bytes, got {problem.run_bytes!r:.99}")
    layout = getattr(problem, "layout", None)
    if layout is not None and (type(layout) is not Layout or layout.size != problem.size):
        right = f"an optimlab.nn.parameters.Layout of {problem.size:,} parameters"
        got = f"one of {layout.size:,}" if type(layout) is Layout else kind_of(layout)
        raise ValueError(f"layout must be {right}, got {got}")
    summary = getattr(problem, "summary", None)
    if summary is not None and not callable(summary):
        raise ValueError(f"summary must be a method that returns text, got {kind_of(summary)}")


def _is_number(value: Any) -> bool:
    """Return whether a value is a real number or infinite, but not beyond float64's range."""
    is_real = isinstance(value, float | int | np.integer | np.floating) and not isinstance(value, bool)
    return is_real and (abs(value) <= sys.float_info.max or abs(value) == math.inf)


def _walk(problem: Any, seeds: Sequence[int]) -> list[np.ndarray]:
    """Return all numbers of a few steps, one row per run; raise ValueError if one is invalid."""
    seen: list[np.ndarray] = []
    begun = problem.init(seeds)
    if not isinstance(begun, tuple) or len(begun) != 2:
        raise ValueError(f"init must return params and model, got {kind_of(begun)}")
    params, model = begun
    right = (len(seeds), *np.shape(params)[1:2])
    if np.ndim(params) != 2 or not np.size(params):
        raise ValueError(f"init must return params (R, P), one row per seed, got {kind_of(params)}")
    check_array("params of init", params, right, problem.dtype)
    if not np.isfinite(params).all():
        raise ValueError("init must return finite params")
    params = params.copy()
    batches = iter(problem.batches(seeds))
    for step in range(1, STEPS + 1):
        kept = params.copy()
        metrics = _checked_metrics(problem, params, model, problem.extra_metrics)
        if step == 1 and not has_finite_losses(metrics).all():
            raise ValueError("the losses of evaluate must be finite at the start")
        seen += [kept, *(np.array(metrics[name]) for name in sorted(metrics))]
        try:
            batch = next(batches)
        except StopIteration:
            raise ValueError(f"batches must be endless, but ends before step {step}") from None
        loss, gradient = _checked_step(problem, params, batch, model)
        if step == 1 and not (np.isfinite(loss).all() and np.isfinite(gradient).all()):
            raise ValueError("the loss and the gradient must be finite at the start")
        seen += [np.array(loss), np.array(gradient)]
        params -= (0.01 * gradient).astype(params.dtype)
    return seen


def _checked_step(problem: Any, params: Any, batch: Any, model: Any) -> tuple[Any, Any]:
    """Return the loss and the gradient, if they are legal and params unchanged."""
    kept = params.copy()
    found = problem.loss_and_gradient(params, batch, model)
    if not isinstance(found, tuple) or len(found) != 2:
        raise ValueError(f"loss_and_gradient must return loss and gradient, got {kind_of(found)}")
    check_array("the loss", found[0], params.shape[:1])
    check_array("the gradient", found[1], params.shape)
    _check_untouched(params, kept)
    return found


def _checked_metrics(problem: Any, params: Any, model: Any, names: Sequence[str]) -> dict[str, Any]:
    """Return the metrics, if they are legal and params unchanged."""
    kept = params.copy()
    metrics: Any = problem.evaluate(params, model)
    if not isinstance(metrics, dict) or "train_loss" not in metrics:
        raise ValueError("evaluate must return a dictionary with a train_loss")
    own = set(metrics) - set(PROBLEM_METRICS)
    if own != set(names):
        text = "evaluate returns more or fewer metrics than extra_metrics names"
        raise ValueError(f"{text}: {', '.join(sorted(map(str, own ^ set(names))))}")
    for name, values in metrics.items():
        check_array(name, values, params.shape[:1])
        outside = values[(values < 0) | (values > 1)]
        if name in PROBLEM_METRICS and name.endswith("_accuracy") and outside.size:
            raise ValueError(f"{name} must be a share, from 0 to 1, got {outside[0]:g}")
    _check_untouched(params, kept)
    return metrics


def _check_untouched(params: Any, kept: Any) -> None:
    if not np.array_equal(params, kept, equal_nan=True):
        raise ValueError("loss_and_gradient and evaluate must leave params as they are")
