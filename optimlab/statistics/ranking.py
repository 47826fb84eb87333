"""What a run is worth, which learning rate is chosen by that, and which runs are then reported.

A run that diverged or failed counts as infinitely bad instead of being dropped, so every quantile
is an order statistic of all the runs, and may be infinite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from optimlab.statuses import WITH_LOSS

Array = np.ndarray

CANDIDATE = "learning_rate"  # what tells the candidates of an optimizer apart
CELL = ["optimizer", CANDIDATE]
SETTINGS = ("tuned", "default")  # how the learning rate was come by


@dataclass(frozen=True)
class Basis:
    """What the numbers of an experiment rest on.

    Attributes
    ----------
    loss : the split whose final loss decides, "validation", or "train" where there is no validation.
    accuracy : the split whose accuracy is reported, "test" or the next best; None without any.
    tuning, reporting : the roles of the seeds that choose learning rates and that give the numbers;
        the same where the experiment has seeds of one role only.
    """

    loss: str
    accuracy: str | None
    tuning: str
    reporting: str


def basis(runs: pd.DataFrame) -> Basis:
    """Return what can be judged by, given which columns and roles the table of runs has."""

    def filled(column: str) -> bool:
        return column in runs and bool(runs[column].notna().any())

    roles = set(runs["role"].unique())
    return Basis(
        loss="validation" if filled("final_validation_loss") else "train",
        accuracy=next(
            (split for split in ("test", "validation", "train") if filled(f"final_{split}_accuracy")),
            None,
        ),
        tuning="tuning" if "tuning" in roles else "reporting",
        reporting="reporting" if "reporting" in roles else "tuning",
    )


def quantile(values: Any, level: float) -> float:
    """Return a quantile, by linear interpolation, of numbers that may be infinite.

    Parameters
    ----------
    values : numbers (N,); NaN where there are none.
    level : in [0, 1].

    References
    ----------
    Hyndman & Fan (1996), Sample quantiles in statistical packages, definition 7.
    """
    values = np.sort(np.asarray(values, dtype=float))
    if not len(values):
        return np.nan
    place = level * (len(values) - 1)
    below, above = values[math.floor(place)], values[math.ceil(place)]
    if below == above or not place % 1:
        return float(below)
    if np.isinf(below):  # between the two infinities there is no number
        return 0.0 if np.isinf(above) else float(below)
    return float(below + (place % 1) * (above - below))


def final_losses(runs: pd.DataFrame) -> pd.Series:
    """Return each run's final loss, infinite where the run diverged, failed or left no number."""
    losses = runs[f"final_{basis(runs).loss}_loss"].astype(float).fillna(np.inf)
    return losses.where(runs["status"].isin(WITH_LOSS), np.inf)


def scores(runs: pd.DataFrame) -> pd.Series:
    """Return what orders the runs: the final loss, but no stuck run is better than an ok one."""
    losses = final_losses(runs)
    worst_ok = losses[(runs["status"] == "ok") & np.isfinite(losses)].max()
    return losses.where(runs["status"] != "stuck", np.fmax(losses, worst_ok))


def accuracies(runs: pd.DataFrame) -> pd.Series:
    """Return each run's final accuracy; 0 where it diverged or failed: it names no image rightly.

    All NaN where the table has no accuracy.
    """
    split = basis(runs).accuracy
    if split is None:
        return pd.Series(np.nan, runs.index)
    return runs[f"final_{split}_accuracy"].where(np.isfinite(final_losses(runs)), 0)


def choose_learning_rates(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the learning rate of each optimizer whose median score over the tuning seeds is least.

    A tie goes to the rate with fewer bad runs, then to the smaller one. ``edge`` says where on the
    grid the choice lies: "lowest" or "highest" (a better one may lie beyond), "only", or "" inside.

    Returns
    -------
    One row an optimizer, in the order of the table: optimizer, learning_rate, learning_rate_edge.
    """
    choices = []
    for optimizer, judged in tuning_order(runs).items():
        rate, grid = judged["learning_rate"].iloc[0], sorted(judged["learning_rate"])
        edges = {grid[-1]: "highest", grid[0]: "lowest"}
        finite = np.isfinite(judged["score"].iloc[0])
        edge = "only" if len(grid) == 1 else edges.get(rate, "") if finite else ""
        choices.append((optimizer, rate, edge))
    return pd.DataFrame(choices, columns=["optimizer", "learning_rate", "learning_rate_edge"])


def tuning_order(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return each optimizer's learning rates, the best by its tuning seeds first.

    Returns
    -------
    optimizer → score (the median over the tuning seeds), bad (the share that is not ok), CANDIDATE.
    """
    tuning = runs[runs["role"] == basis(runs).tuning]
    score = scores(runs).loc[tuning.index].to_numpy()
    bad = (tuning["status"] != "ok").to_numpy()
    order = {}
    for optimizer in pd.unique(runs["optimizer"]):
        is_own = (tuning["optimizer"] == optimizer).to_numpy()
        place, candidates = places(tuning.loc[is_own, CANDIDATE])
        cells = [np.flatnonzero(is_own)[place == each] for each in range(len(candidates))]
        judged = [
            (quantile(score[cell], 0.5), bad[cell].mean(), candidate)
            for cell, candidate in zip(cells, candidates, strict=True)
        ]
        if judged:  # else its tuning runs are still to come
            order[optimizer] = pd.DataFrame(sorted(judged), columns=["score", "bad", CANDIDATE])
    return order


def widened_grid(rates: Sequence[float], edge: str) -> list[float]:
    """Return a grid of two rates or more with two further ones beyond an end, in its spacing there.

    They are rounded to one digit, or to as many as keep them apart.
    """
    grid = sorted(rates)
    if edge not in ("lowest", "highest"):
        return grid
    first, second, third = _three(grid if edge == "lowest" else grid[::-1])
    for digits in range(1, 17):
        further = [float(f"{first * first / rate:.{digits}g}") for rate in (third, second)]
        if sorted({*further, first}, reverse=edge == "highest") == [*further, first]:
            break
    return sorted([*grid, *further])


def _three(grid: Sequence[float]) -> tuple[float, float, float]:
    """Return the first three rates of a grid; a grid of two goes on in its spacing."""
    first, second, *more = grid
    return first, second, more[0] if more else second * second / first


def reported_runs(
    runs: pd.DataFrame, setting: str = "tuned", defaults: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Return the runs that the numbers come from: fresh seeds, one learning rate an optimizer.

    Parameters
    ----------
    runs : of all learning rates.
    setting : "tuned" for the chosen rates, "default" for the rules' own.
    defaults : optimizer → its rule's default learning rate; one that is not on the grid has no runs.
    """
    fresh = runs[runs["role"] == basis(runs).reporting]
    if setting == "tuned":
        return fresh.merge(choose_learning_rates(runs)[CELL], on=CELL)
    own = fresh["optimizer"].map(dict(defaults or {})).astype(float)
    return fresh[np.isclose(fresh["learning_rate"], own, rtol=1e-9, atol=0)].reset_index(drop=True)


def by_seed(runs: pd.DataFrame, values: str) -> pd.DataFrame:
    """Return a table of one row a seed and one column an optimizer; NaN where a run is missing."""
    return cross_table(runs, "seed", "optimizer", values)


def places(column: pd.Series) -> tuple[Array, Array]:
    """Return the place of each value among the different ones, and these in order."""
    place, values = pd.factorize(column, sort=True)
    return place, np.asarray(values)


def cross_table(table: pd.DataFrame, rows: str, columns: str, values: str) -> pd.DataFrame:
    """Return numbers by two keys, each in order; the first of several, NaN where there is none.

    It is pandas' pivot_table, in a tenth of its time for small tables.
    """
    (row, index), (column, names) = places(table[rows]), places(table[columns])
    numbers = table[values].to_numpy(dtype=float)
    known = np.flatnonzero(~np.isnan(numbers))[::-1]  # of several that are written, the last one stays
    found = np.full((len(index), len(names)), np.nan)
    found[row[known], column[known]] = numbers[known]
    return pd.DataFrame(found, pd.Index(index, name=rows), pd.Index(names, name=columns))
