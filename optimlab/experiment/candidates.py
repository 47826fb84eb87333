"""Candidates: an optimizer with all its hyper-parameters; a grid of them, one for each combination."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RATE = "learning_rate"
DEFAULT = 0  # the number of the candidate with the rule's own values


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
    """A hyper-parameter that is tuned, and the values that it may take, in order."""

    name: str
    values: tuple[Any, ...]


def combinations(axes: Sequence[Axis]) -> Iterator[dict[str, Any]]:
    """Yield the values of each point of a grid: axis → value. The first axis varies fastest.

    Examples
    --------
    >>> axes = [Axis("learning_rate", (0.1, 1.0)), Axis("momentum", (0, 0.9))]
    >>> [tuple(each.values()) for each in combinations(axes)]
    [(0.1, 0), (1.0, 0), (0.1, 0.9), (1.0, 0.9)]
    """
    names = [axis.name for axis in axes]
    for values in itertools.product(*(axis.values for axis in reversed(axes))):
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
