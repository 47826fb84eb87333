"""Candidates: an optimizer with all its hyper-parameters. They differ along axes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

RATE = "learning_rate"
DEFAULT = 0  # the number of the candidate with the rule's own values
DIGITS = 4  # significant digits of drawn values; more where a span is narrow
TINY = 1e-300

Scaling = Literal["log", "linear", "one_minus_log"]


@dataclass(frozen=True)
class Candidate:
    """An optimizer with values of all its hyper-parameters.

    Attributes
    ----------
    number : its number among the candidates of its optimizer; `DEFAULT` for the textbook candidate.
    learning_rate : its learning rate.
    hyperparameters : all others, including defaults.
    """

    number: int
    learning_rate: float
    hyperparameters: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """All hyper-parameters, including the learning rate."""
        return {RATE: self.learning_rate, **self.hyperparameters}


@dataclass(frozen=True)
class Axis:
    """A tuned hyper-parameter and its values.

    Attributes
    ----------
    name : the hyper-parameter's name.
    levels : the values of a grid or of choices, in order; () for a span of numbers.
    low, high : the ends of a span; otherwise NaN.
    scaling : the scale of a span: "log", "linear" or "one_minus_log", which is uniform in log(1 − x).
    is_whole : whether a span has only whole numbers.
    """

    name: str
    levels: tuple[Any, ...]
    low: float = math.nan
    high: float = math.nan
    scaling: Scaling = "linear"
    is_whole: bool = False

    @property
    def is_span(self) -> bool:
        """Whether its values are all numbers between two ends."""
        return not self.levels

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values that determine the axis."""
        return (self.low, self.high, self.scaling, self.is_whole) if self.is_span else self.levels

    def at(self, share: float) -> Any:
        """Return the value at a position along the axis, in [0, 1).

        Examples
        --------
        >>> Axis("learning_rate", (), 0.001, 1.0, "log").at(0.5)
        0.03162
        >>> Axis("beta2", (), 0.9, 0.9999, "one_minus_log").at(0.5)
        0.996838
        """
        if not self.is_span:
            return self.levels[int(share * len(self.levels))]
        low, high = (self._scaled(end) for end in (self.low, self.high + self.is_whole))
        value = self._unscaled(low + share * (high - low))
        if self.is_whole:
            return int(min(max(math.floor(value), self.low), self.high))
        if self.scaling == "one_minus_log":  # readable digits
            value = round(1 - float(f"{1 - value:.{self._digits(1 - self.low)}g}"), 15)
        else:
            value = float(f"{value:.{self._digits(max(abs(self.low), abs(self.high)))}g}")
        return min(max(value, self.low), self.high)

    def _digits(self, largest: float) -> int:
        """Return how many digits of numbers up to `largest` give the span a hundred values or more."""
        return DIGITS + max(0, math.ceil(math.log10(max(largest / (self.high - self.low), 1))) - 2)

    def share(self, value: float) -> float:
        """Return the position of a value along a span, in [0, 1]."""
        low, high, position = (self._scaled(each) for each in (self.low, self.high, value))
        return (position - low) / (high - low)

    def _scaled(self, value: float) -> float:
        if self.scaling == "one_minus_log":
            return -math.log(max(1 - value, TINY))
        return math.log(max(value, TINY)) if self.scaling == "log" else value

    def _unscaled(self, position: float) -> float:
        if self.scaling == "one_minus_log":
            return 1 - math.exp(-position)
        return math.exp(position) if self.scaling == "log" else position


def tried(numbers: Iterable[int], axes: Sequence[Axis], searched: Sequence[str]) -> list[int]:
    """Return the candidates of a grid or search; not the textbook one if it is tried in addition.

    Parameters
    ----------
    numbers : of all candidates of an optimizer.
    axes : the tuned hyper-parameters.
    searched : the axes of its search; () if the candidates are all points of a grid.
    """
    every = list(numbers)
    is_whole_grid = not searched and len(every) == math.prod(len(axis.levels) for axis in axes)
    return [number for number in every if is_whole_grid or number != DEFAULT]


def combinations(axes: Sequence[Axis]) -> Iterator[dict[str, Any]]:
    """Yield the values of each point of a grid: axis → value. The first axis varies fastest.

    Examples
    --------
    >>> axes = [Axis("learning_rate", (0.1, 1.0)), Axis("momentum", (0, 0.9))]
    >>> [tuple(each.values()) for each in combinations(axes)]
    [(0.1, 0), (1.0, 0), (0.1, 0.9), (1.0, 0.9)]
    """
    names = [axis.name for axis in axes]
    for values in itertools.product(*(axis.levels for axis in reversed(axes))):
        yield dict(zip(names, reversed(values), strict=True))


def candidates(
    tried: Sequence[Mapping[str, Any]],
    fixed: Mapping[str, Any],
    default: Mapping[str, Any] | None,
) -> tuple[Candidate, ...]:
    """Return the candidates of an optimizer, counted from 1; the default, if it has one, comes first.

    Parameters
    ----------
    tried : the values of each candidate on all axes, including the learning rate.
    fixed : the values of all other hyper-parameters.
    default : the rule's defaults of all hyper-parameters, if they are tried, too; otherwise None.
    """
    found = [Candidate(DEFAULT, default[RATE], _others(default))] if default else []
    for number, values in enumerate(tried, start=1):
        whole = {**fixed, **values}
        if whole != default:  # the default is tried already
            found.append(Candidate(number, whole[RATE], _others(whole)))
    return tuple(found)


def _others(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != RATE}
