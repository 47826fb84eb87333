"""The optimizer protocol, what a rule may know about its task, and the legal ranges.

An optimizer is a few elementwise lines over an array of parameters, one row per run (R, P), or a
single run (P,). It never mentions R. Its hyper-parameters are numbers, or columns (R, 1) where the
runs of a stack differ. What it keeps between steps is in a state that the caller holds:

>>> import numpy as np
>>> from optimlab.optimizers import SGD
>>> params = np.array([1.0, -2.0])
>>> optimizer = SGD(learning_rate=0.1, momentum=0.5)
>>> state = optimizer.init(params)
>>> for _ in range(2):
...     gradient = 2 * optimizer.gradient_point(params, state)
...     optimizer.step(params, gradient, state)
>>> params
array([ 0.54, -1.08])

Any class of this form is an optimizer: a constructor of keyword-only hyper-parameters, among them
``learning_rate``, and the three methods ``init``, ``gradient_point`` and ``step``. An experiment
names a plug-in as ``"file.py:ClassName"``. Sums and norms go over the last axis only
(``axis=-1, keepdims=True``), so that no run sees another.

Two things are optional. A rule that needs more than the parameters' shape defines
``init(params, task)``; see `Task`. A rule whose result is not the point that it trains, such as an
average, defines ``eval_params(params, state)``, which returns the point at which to take the metrics.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

Array = np.ndarray
State = dict[str, Any]
Hyperparameter = float | Array


class Optimizer(Protocol):
    """The methods that the training loop calls."""

    learning_rate: Hyperparameter

    def init(self, params: Array) -> State:
        """Return the state before the first step, for parameters of this shape and dtype."""

    def gradient_point(self, params: Array, state: State) -> Array:
        """Return the point, of the shape of `params`, at which to take the next gradient."""

    def step(self, params: Array, gradient: Array, state: State) -> None:
        """Move `params` in place, given the gradient at `gradient_point`; update `state`."""


class Layout(Protocol):
    """The position of each named array of a problem in the flat row of parameters (P,).

    Attributes
    ----------
    shapes : name → shape, in the order of the row; a layer's matrix is (inputs, outputs).
    slices : name → slice of the row.
    weights : the names of the arrays that weight decay acts on: not biases or normalization.
    """

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]: ...

    @property
    def slices(self) -> Mapping[str, slice]: ...

    @property
    def weights(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Task:
    """What a rule may know about the training.

    Attributes
    ----------
    layout : the layout of the flat row.
    steps : the number of steps of the training.
    steps_per_epoch : the number of steps that go through the data once.
    generators : one per row of the parameters, for rules that draw random numbers: row r draws only
        from ``generators[r]``, so that a run's bits depend on its seed and on no other row.
    """

    layout: Layout
    steps: int
    steps_per_epoch: int
    generators: Sequence[np.random.Generator]


def begin(optimizer: Any, params: Array, task: Task | None) -> State:
    """Return an optimizer's initial state; the task is passed to `init` if it accepts one."""
    try:
        inspect.signature(optimizer.init).bind(params, task)
    except (TypeError, ValueError):  # it accepts none, or has no signature
        return optimizer.init(params)
    return optimizer.init(params, task)


def eval_params(optimizer: Any, params: Array, state: State) -> Array:
    """Return the point at which to take the metrics: `params`, unless the optimizer defines another."""
    method = getattr(optimizer, "eval_params", None)
    return params if method is None else method(params, state)


class Range(NamedTuple):
    """The legal values of a hyper-parameter: an interval with open or closed ends, or whole numbers."""

    low: float
    high: float
    low_is_legal: bool
    high_is_legal: bool = False
    is_whole: bool = False

    def __contains__(self, value: object) -> bool:
        if isinstance(value, np.ndarray) and value.size:  # all its numbers; a NaN is outside
            is_legal = value.min() in self and value.max() in self
            return is_legal and (not self.is_whole or bool(np.all(value == np.floor(value))))
        number: Any = value
        above = number >= self.low if self.low_is_legal else number > self.low
        below = number <= self.high if self.high_is_legal else number < self.high
        return bool(above and below and (not self.is_whole or number == np.floor(number)))

    def __str__(self) -> str:
        ends = "[" if self.low_is_legal else "(", "]" if self.high_is_legal else ")"
        return f"{ends[0]}{self.low:g}, {self.high:g}{ends[1]}{' whole' if self.is_whole else ''}"


RANGES = {
    "learning_rate": Range(0, np.inf, low_is_legal=False),
    "momentum": Range(0, 1, low_is_legal=True),
    "rho": Range(0, 1, low_is_legal=True),
    "beta1": Range(0, 1, low_is_legal=True),
    "beta2": Range(0, 1, low_is_legal=True),
    "beta3": Range(0, 1, low_is_legal=True),
    "eps": Range(0, np.inf, low_is_legal=False),  # at eps = 0, a pixel that is always blank gives 0/0
    "weight_decay": Range(0, np.inf, low_is_legal=True),
    "momentum_decay": Range(0, np.inf, low_is_legal=True),
    "alpha": Range(0, np.inf, low_is_legal=True),
    "clip_norm": Range(0, np.inf, low_is_legal=False),
    "clip_value": Range(0, np.inf, low_is_legal=False),
    "trust_coefficient": Range(0, np.inf, low_is_legal=False),
    "initial_distance": Range(0, np.inf, low_is_legal=False),
    "decay": Range(0, 1, low_is_legal=True),
    "slow_step_size": Range(0, 1, low_is_legal=False, high_is_legal=True),
    "sync_period": Range(1, np.inf, low_is_legal=True, is_whole=True),
    "precondition_period": Range(1, np.inf, low_is_legal=True, is_whole=True),
}


def check_hyperparameters(optimizer: Any) -> None:
    """Raise ValueError for the first hyper-parameter that is of another shape, or outside its range.

    Raises
    ------
    ValueError
        With the name, the range and the value: ``beta1 must be in [0, 1), got 1.1``.
    """
    for name, legal in RANGES.items():
        if not hasattr(optimizer, name):
            continue
        value = getattr(optimizer, name)
        if not _is_number(value):
            raise ValueError(f"{name} must be a number in {legal}, got {value!r}")
        if value not in legal:
            raise ValueError(f"{name} must be in {legal}, got {value}")
        if np.size(value) > 1 and np.shape(value)[1:] != (1,):
            got = f"an array of shape {np.shape(value)}"
            raise ValueError(f"{name} must be a number, or a column (R, 1) of one per run, got {got}")


def _is_number(value: Any) -> bool:
    """Return whether a value is a real number or an array of real numbers; a boolean is not."""
    if type(value) in (int, float):
        return True
    is_number = isinstance(value, int | float | np.number | np.ndarray) and np.size(value) > 0
    return is_number and np.asarray(value).dtype.kind in "iuf"


class Rule:
    """Base of most rules: checks the hyper-parameters, and takes the gradient at the parameters."""

    def __post_init__(self) -> None:
        check_hyperparameters(self)

    def gradient_point(self, params: Array, state: State) -> Array:
        return params


class Wrapper:
    """Base of wrappers: checks, and takes gradients and metrics where the wrapped rule does."""

    around: Any

    def __post_init__(self) -> None:
        if isinstance(self.around, type) or not hasattr(self.around, "step"):
            raise TypeError(f"{type(self).__name__} wraps an optimizer, got {self.around!r}")
        check_hyperparameters(self)

    @property
    def learning_rate(self) -> Hyperparameter:
        """The learning rate of the wrapped rule."""
        return self.around.learning_rate

    def gradient_point(self, params: Array, state: State) -> Array:
        return self.around.gradient_point(params, state["around"])

    def eval_params(self, params: Array, state: State) -> Array:
        """Return the point at which the wrapped rule is evaluated."""
        return eval_params(self.around, params, state["around"])
