"""The tuned space of each optimizer: its axes, and the values of each candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from optimlab.experiment.candidates import DEFAULT, RATE, Axis, tried
from optimlab.formatting import number
from optimlab.optimizers import RANGES
from optimlab.statistics.ranking import CANDIDATE


@dataclass(frozen=True)
class Space:
    """The tuned space of an optimizer.

    Attributes
    ----------
    axes : the tuned hyper-parameters, the learning rate first.
    candidates : number → its values, at least of all axes.
    searched : the axes of its search; () if the candidates are all points of a grid.
    """

    axes: tuple[Axis, ...]
    candidates: Mapping[int, Mapping[str, Any]]
    searched: Sequence[str] = ()

    @property
    def is_only_rate(self) -> bool:
        """Whether only the learning rate is tuned."""
        return len(self.axes) == 1

    @property
    def tried(self) -> list[int]:
        """The candidates of its grid or search; not the textbook one if it is tried in addition."""
        return tried(self.candidates, self.axes, self.searched)

    def name(self, candidate: int, *, is_default_named: bool = True) -> str:
        """Return a candidate as text: its learning rate and other tuned values."""
        if candidate == DEFAULT and is_default_named:
            return "textbook default"
        values = self.candidates[candidate]
        others = [f"{axis.name} {written(values.get(axis.name))}" for axis in self.axes[1:]]
        return ", ".join([number(values[RATE]), *others])


def written(value: Any) -> str:
    """Return the value of a hyper-parameter as text."""
    return number(value) if isinstance(value, float) else str(value)


def spaces_of(runs: pd.DataFrame, experiment: Mapping[str, Any] | None = None) -> dict[str, Space]:
    """Return optimizer → its tuned space.

    Parameters
    ----------
    runs : the table of runs, with candidates.
    experiment : the content of experiment.json; what it lacks is derived from the table.
    """
    known = (experiment or {}).get("optimizers") or {}
    spaces = {}
    for label, group in runs.groupby("optimizer", sort=False):
        about = known.get(label) or {}
        numbers = {each["number"] for each in about.get("candidates", [])}
        is_declared = bool(numbers) and set(group[CANDIDATE]) <= numbers
        spaces[str(label)] = _declared(about) if is_declared else _read_off(group)
    return spaces


def _declared(about: Mapping[str, Any]) -> Space:
    fixed = about.get("hyperparameters") or {}
    return Space(
        tuple(map(_axis, about.get("axes", []))),
        {each["number"]: {**fixed, **each.get("values", {})} for each in about["candidates"]},
        tuple(about.get("searched", ())),
    )


def _axis(about: Mapping[str, Any]) -> Axis:
    given = {key: value for key, value in about.items() if value is not None and key != "levels"}
    return Axis(**given, levels=tuple(about.get("levels", ())))


def _read_off(runs: pd.DataFrame) -> Space:
    """Return the space of the columns in which an optimizer's runs have different values."""
    cells = runs.drop_duplicates(CANDIDATE).set_index(CANDIDATE).sort_index()
    names = [RATE, *(name for name in RANGES if name != RATE and name in cells)]
    tried = [Axis(name, tuple(sorted(cells[name].dropna().unique()))) for name in names]
    candidates: dict[Any, Any] = cells[names].to_dict("index")
    return Space(tuple(axis for axis in tried if axis.name == RATE or len(axis.levels) > 1), candidates)
