"""What an optimizer is: the protocol, and the legal ranges of hyper-parameters.

An optimizer is a few elementwise lines over an array of parameters, one row per run (R, P), or one
run alone (P,). It never mentions R. Its hyper-parameters are numbers, or columns (R, 1) where the
runs of a stack differ. What it remembers between steps lives in a state that the caller holds:

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

Any class of this shape is an optimizer: a constructor of keyword-only hyper-parameters, among them
``learning_rate``, and the three methods ``init``, ``gradient_point`` and ``step``. An experiment
names one of your own as ``"file.py:ClassName"``. Sums and norms go over the last axis alone
(``axis=-1, keepdims=True``): no run may see another.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

Array = np.ndarray
State = dict[str, Any]
Hyperparameter = float | Array


class Optimizer(Protocol):
    """What the training loop asks of an optimizer."""

    learning_rate: Hyperparameter

    def init(self, params: Array) -> State:
        """Return the state before the first step, for parameters of this shape and dtype."""

    def gradient_point(self, params: Array, state: State) -> Array:
        """Return the point, of the shape of `params`, at which the next gradient is wanted."""

    def step(self, params: Array, gradient: Array, state: State) -> None:
        """Move `params` in place, given the gradient at `gradient_point`; update `state`."""


class Range(NamedTuple):
    """The legal values of a hyper-parameter: an interval with an open or a closed lower end."""

    low: float
    high: float
    low_is_legal: bool

    def __contains__(self, value: object) -> bool:
        values = np.asarray(value)
        above = values >= self.low if self.low_is_legal else values > self.low
        return bool(np.all(above & (values < self.high)))

    def __str__(self) -> str:
        return f"{'[' if self.low_is_legal else '('}{self.low:g}, {self.high:g})"


RANGES = {
    "learning_rate": Range(0, np.inf, low_is_legal=False),
    "momentum": Range(0, 1, low_is_legal=True),
    "rho": Range(0, 1, low_is_legal=True),
    "beta1": Range(0, 1, low_is_legal=True),
    "beta2": Range(0, 1, low_is_legal=True),
    "eps": Range(0, np.inf, low_is_legal=False),  # at eps = 0 a pixel that is always blank gives 0/0
}


def check_hyperparameters(optimizer: Any) -> None:
    """Raise ValueError for the first hyper-parameter outside its range in `RANGES`.

    Raises
    ------
    ValueError
        With the name, the range and the value: ``beta1 must be in [0, 1), got 1.1``.
    """
    for name, legal in RANGES.items():
        if not hasattr(optimizer, name):
            continue
        value = getattr(optimizer, name)
        is_number = isinstance(value, int | float | np.number | np.ndarray) and np.size(value) > 0
        if not is_number or np.asarray(value).dtype.kind not in "iuf":
            raise ValueError(f"{name} must be a number in {legal}, got {value!r}")
        if value not in legal:
            raise ValueError(f"{name} must be in {legal}, got {value}")
