"""Candidates: an optimizer with all its hyper-parameters. They differ in some of them, the axes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

RATE = "learning_rate"
DEFAULT = 0  # the number of the candidate with the rule's own values
DIGITS = 4  # of values that are drawn
TINY = 1e-300

Scaling = Literal["log", "linear", "one_minus_log"]


@dataclass(frozen=True)
class Candidate:
    """What is tried of an optimizer.

    Attributes
    ----------
    number : its name among the candidates of its optimizer, `DEFAULT` for the textbook one.
    learning_rate : its own.
    hyperparameters : all others, defaults included.
    """

    number: int
    learning_rate: float
    hyperparameters: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """All hyper-parameters, the learning rate among them."""
        return {RATE: self.learning_rate, **self.hyperparameters}


@dataclass(frozen=True)
class Axis:
    """A hyper-parameter that is tuned, and the values that it may take.

    Attributes
    ----------
    name : of the hyper-parameter.
    levels : those of a grid or of choices, in order; () of a span of numbers.
    low, high : the ends of a span; NaN where there is none.
    scaling : of a span: "log", "linear" or "one_minus_log", which draws log(1 − x) evenly.
    is_whole : whether a span holds only whole numbers.
    """

    name: str
    levels: tuple[Any, ...]
    low: float = math.nan
    high: float = math.nan
    scaling: Scaling = "linear"
    is_whole: bool = False

    @property
    def is_span(self) -> bool:
        """Whether it holds all numbers between two ends."""
        return not self.levels

    @property
    def ends(self) -> tuple[Any, ...]:
        """What its values are decided by."""
        return (self.low, self.high, self.scaling, self.is_whole) if self.is_span else self.levels

    @property
    def size(self) -> float:
        """How many values it has."""
        whole = self.high - self.low + 1 if self.is_whole else math.inf
        return whole if self.is_span else len(self.levels)

    def at(self, share: float) -> Any:
        """Return the value at a share of the way through it, in [0, 1).

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
        if self.scaling == "one_minus_log":  # digits that people can read
            value = round(1 - float(f"{1 - value:.{DIGITS}g}"), 15)
        else:
            value = float(f"{value:.{DIGITS}g}")
        return min(max(value, self.low), self.high)

    def share(self, value: float) -> float:
        """Return which share of the way through a span a value is."""
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
    tried : the values of each candidate's axes, the learning rate among them.
    fixed : the values of all other hyper-parameters.
    default : the rule's own values of all hyper-parameters, tried as well; None where they are not.
    """
    found = [Candidate(DEFAULT, default[RATE], _others(default))] if default else []
    for number, values in enumerate(tried, start=1):
        whole = {**fixed, **values}
        if whole != default:  # which is tried already
            found.append(Candidate(number, whole[RATE], _others(whole)))
    return tuple(found)


def _others(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != RATE}
