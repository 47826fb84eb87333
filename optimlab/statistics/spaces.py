"""What is tuned of each optimizer: its axes, and where each candidate is on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from optimlab.experiment.candidates import DEFAULT, RATE, Axis
from optimlab.formatting import number
from optimlab.optimizers import RANGES
from optimlab.statistics.ranking import CANDIDATE


@dataclass(frozen=True)
class Space:
    """What is tuned of an optimizer.

    Attributes
    ----------
    axes : the tuned hyper-parameters, the learning rate first.
    candidates : number → its values, of all axes at least.
    """

    axes: tuple[Axis, ...]
    candidates: Mapping[int, Mapping[str, Any]]

    @property
    def is_only_rate(self) -> bool:
        """Whether nothing but the learning rate is tuned."""
        return len(self.axes) == 1

    def name(self, candidate: int, *, is_default_named: bool = True) -> str:
        """Return a candidate in words: its learning rate, and what else is tuned."""
        if candidate == DEFAULT and is_default_named:
            return "textbook default"
        values = self.candidates[candidate]
        others = [f"{axis.name} {written(values.get(axis.name))}" for axis in self.axes[1:]]
        return ", ".join([f"{values[RATE]:g}", *others])


def written(value: Any) -> str:
    """Return the value of a hyper-parameter for people."""
    return number(value) if isinstance(value, float) else str(value)


def spaces_of(runs: pd.DataFrame, experiment: Mapping[str, Any] | None = None) -> dict[str, Space]:
    """Return optimizer → what is tuned of it.

    Parameters
    ----------
    runs : the table of runs, with candidates.
    experiment : what experiment.json says; where it does not say it, it is read off the table.
    """
    known = (experiment or {}).get("optimizers") or {}
    spaces = {}
    for label, own in runs.groupby("optimizer", sort=False):
        about = known.get(label) or {}
        numbers = {each["number"] for each in about.get("candidates", [])}
        is_told = bool(numbers) and set(own[CANDIDATE]) <= numbers
        spaces[str(label)] = _told(about) if is_told else _read_off(own)
    return spaces


def _told(about: Mapping[str, Any]) -> Space:
    fixed = about.get("hyperparameters") or {}
    return Space(
        tuple(map(_axis, about.get("axes", []))),
        {each["number"]: {**fixed, **each.get("values", {})} for each in about["candidates"]},
    )


def _axis(about: Mapping[str, Any]) -> Axis:
    given = {key: value for key, value in about.items() if value is not None and key != "levels"}
    return Axis(**given, levels=tuple(about.get("levels", ())))


def _read_off(runs: pd.DataFrame) -> Space:
    """Return what the columns of an optimizer's runs have different values of."""
    cells = runs.drop_duplicates(CANDIDATE).set_index(CANDIDATE).sort_index()
    names = [RATE, *(name for name in RANGES if name != RATE and name in cells)]
    tried = [Axis(name, tuple(sorted(cells[name].dropna().unique()))) for name in names]
    candidates: dict[Any, Any] = cells[names].to_dict("index")
    return Space(tuple(axis for axis in tried if axis.name == RATE or len(axis.levels) > 1), candidates)
