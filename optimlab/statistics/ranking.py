"""The score of a run, the candidates that are chosen by it, and the runs that are then reported.

A candidate is an optimizer with all its hyper-parameters; runs are always grouped by it.

A run that diverged or failed counts as infinitely bad instead of being dropped, so every quantile
is an order statistic of all runs, and may be infinite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from optimlab.experiment.candidates import DEFAULT, RATE
from optimlab.metrics import REPORTED, Metric
from optimlab.optimizers import RANGES
from optimlab.statuses import WITH_LOSS

Array = np.ndarray

CANDIDATE = "candidate"  # the column of a candidate's number
GRID_KEYS = ["optimizer", CANDIDATE]
SETTINGS = ("tuned", "default")  # how the candidate was chosen


@dataclass(frozen=True)
class SelectionCriteria:
    """The splits and seeds that the numbers of an experiment are based on.

    Attributes
    ----------
    loss : the split whose final loss decides: "validation", or "train" without a validation set.
    measures : metric besides the loss → the split that it is reported on, "test" or the next best.
    tuning, reporting : the roles of the seeds that choose candidates and that give the numbers; the
        same if the experiment has seeds of one role only.
    """

    loss: str
    measures: Mapping[str, str]
    tuning: str
    reporting: str

    @property
    def accuracy(self) -> str | None:
        """The split whose accuracy is reported; None without any."""
        return self.measures.get("accuracy")


def basis(runs: pd.DataFrame) -> SelectionCriteria:
    """Return the criteria that the columns and roles of the table of runs allow."""

    def filled(column: str) -> bool:
        return column in runs and bool(runs[column].notna().any())

    roles = set(runs["role"].unique())
    return SelectionCriteria(
        loss="validation" if filled("final_validation_loss") else "train",
        measures={
            metric.name: split
            for metric in REPORTED
            for split in ("train", "validation", "test")  # the last one stays
            if filled(f"final_{split}_{metric.name}")
        },
        tuning="tuning" if "tuning" in roles else "reporting",
        reporting="reporting" if "reporting" in roles else "tuning",
    )


def with_candidates(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with candidate numbers.

    If the table lacks them, candidates are numbered by optimizer from 1, in the order of their
    learning rates and other hyper-parameters.
    """
    if CANDIDATE in runs:
        return runs
    names = [RATE, *(name for name in RANGES if name != RATE and name in runs)]
    ranks = np.stack([pd.factorize(runs[name], sort=True)[0] for name in names], axis=1)
    labels = runs["optimizer"].to_numpy()
    numbers = np.zeros(len(runs), dtype=int)
    for label in pd.unique(labels):
        mask = labels == label
        numbers[mask] = 1 + np.unique(ranks[mask], axis=0, return_inverse=True)[1].reshape(-1)
    return runs.assign(**{CANDIDATE: numbers})


def quantile(values: Any, level: float) -> float:
    """Return a quantile, by linear interpolation, of numbers that may be infinite.

    Parameters
    ----------
    values : numbers (N,); the quantile of none is NaN.
    level : in [0, 1].

    References
    ----------
    Hyndman & Fan (1996), Sample quantiles in statistical packages, definition 7.
    """
    values = np.sort(np.asarray(values, dtype=float))
    if not len(values):
        return np.nan
    position = level * (len(values) - 1)
    below, above = values[math.floor(position)], values[math.ceil(position)]
    if below == above or not position % 1:
        return float(below)
    if np.isinf(below):  # no number lies between two infinities
        return 0.0 if np.isinf(above) else float(below)
    return float(below + (position % 1) * (above - below))


def final_losses(runs: pd.DataFrame) -> pd.Series:
    """Return each run's final loss; infinite if the run diverged, failed or has none."""
    losses = runs[f"final_{basis(runs).loss}_loss"].astype(float).fillna(np.inf)
    return losses.where(runs["status"].isin(WITH_LOSS), np.inf)


def scores(runs: pd.DataFrame) -> pd.Series:
    """Return scores that order the runs: the final loss, but stuck runs come after all ok ones."""
    losses = final_losses(runs)
    worst_ok = losses[(runs["status"] == "ok") & np.isfinite(losses)].max()
    return losses.where(runs["status"] != "stuck", np.fmax(losses, worst_ok))


def measured(runs: pd.DataFrame, metric: Metric) -> pd.Series:
    """Return each run's final accuracy, R² or RMSE; the worst value if it diverged or failed.

    All are NaN if the table has none.
    """
    split = basis(runs).measures.get(metric.name)
    if split is None:
        return pd.Series(np.nan, runs.index)
    return runs[f"final_{split}_{metric.name}"].where(np.isfinite(final_losses(runs)), metric.worst)


def choose_candidates(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the candidate of each optimizer with the lowest median score over the tuning seeds.

    A tie goes to the candidate with fewer bad runs, then to the first in order. The edge says whether
    its learning rate, and that of all that tie with it, is at an end of the grid: "lowest" or "highest"
    (with perhaps a better one beyond).

    Returns
    -------
    One row per optimizer, in the order of the table: optimizer, candidate, learning_rate,
    learning_rate_edge ("only": it has no other candidate).
    """
    runs = with_candidates(runs)
    cells = runs.drop_duplicates(GRID_KEYS)
    rates = dict(zip(zip(*(cells[key] for key in GRID_KEYS), strict=True), cells[RATE], strict=True))
    choices = []
    for optimizer, judged in tuning_order(runs).items():
        grid = [rates[optimizer, candidate] for candidate in judged[CANDIDATE]]
        tried = {rates[optimizer, each] for each in judged[CANDIDATE] if each != DEFAULT}
        ends = {max(tried): "highest", min(tried): "lowest"} if len(tried) > 1 else {}
        finite = np.isfinite(judged["score"].iloc[0])
        is_end = finite and {rates[optimizer, each] for each in first_of(judged)} == {grid[0]}
        edge = "only" if len(judged) == 1 else ends.get(grid[0], "") if is_end else ""
        choices.append(
            {
                "optimizer": optimizer,
                CANDIDATE: judged[CANDIDATE].iloc[0],
                RATE: grid[0],
                "learning_rate_edge": edge,
            }
        )
    return pd.DataFrame(choices, columns=["optimizer", CANDIDATE, RATE, "learning_rate_edge"])


def tuning_order(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return each optimizer's candidates, ordered by their score on the tuning seeds, best first.

    Returns
    -------
    optimizer → score (the median over the tuning seeds), bad (the share that is not ok), candidate.
    """
    is_tuning = (runs["role"] == basis(runs).tuning).to_numpy()
    tuning, score = runs[is_tuning], scores(runs).to_numpy()[is_tuning]
    bad = (tuning["status"] != "ok").to_numpy()
    order = {}
    for optimizer in pd.unique(runs["optimizer"]):
        mask = (tuning["optimizer"] == optimizer).to_numpy()
        index, candidates = encoded(tuning.loc[mask, CANDIDATE])
        cells = [np.flatnonzero(mask)[index == each] for each in range(len(candidates))]
        judged = [
            (quantile(score[cell], 0.5), bad[cell].mean(), candidate)
            for cell, candidate in zip(cells, candidates, strict=True)
        ]
        if judged:  # otherwise its tuning runs have not finished
            order[optimizer] = pd.DataFrame(sorted(judged), columns=["score", "bad", CANDIDATE])
    return order


def first_of(judged: pd.DataFrame) -> list[int]:
    """Return the best candidate of an optimizer in `tuning_order`, and those that tie with it."""
    number = judged[["score", "bad"]]
    return list(judged.loc[number.eq(number.iloc[0]).all(axis=1), CANDIDATE])


def widened_grid(rates: Sequence[float], edge: str) -> list[float]:
    """Return a grid of two or more rates with two further ones beyond an end, spaced as the last ones.

    So 0.0003, 0.001, 0.003 goes on with 0.01 and 0.03. They are rounded to one digit, or to as many as
    keep them distinct.
    """
    grid = sorted(rates)
    if edge not in ("lowest", "highest"):
        return grid
    first, second, third = _three(grid if edge == "lowest" else grid[::-1])
    for digits in range(1, 17):
        further = [float(f"{rate * first / third:.{digits}g}") for rate in (first, second)]
        if sorted({*further, first}, reverse=edge == "highest") == [*further, first]:
            break
    return sorted([*grid, *further])


def _three(grid: Sequence[float]) -> tuple[float, float, float]:
    """Return the first three rates of a grid; a grid of two is continued in its spacing."""
    first, second, *more = grid
    return first, second, more[0] if more else second * second / first


def reported_runs(
    runs: pd.DataFrame, setting: str = "tuned", defaults: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Return the reported runs: fresh seeds, one candidate per optimizer.

    Parameters
    ----------
    runs : the runs of all candidates.
    setting : "tuned" for the chosen candidates, "default" for the textbook ones.
    defaults : optimizer → its rule's default learning rate; one that is not on the grid has no runs.
    """
    runs = with_candidates(runs)
    fresh = runs[runs["role"] == basis(runs).reporting]
    if setting == "tuned":
        return fresh.merge(choose_candidates(runs)[GRID_KEYS], on=GRID_KEYS)
    return fresh[at_default(fresh, defaults or {})].reset_index(drop=True)


def at_default(runs: pd.DataFrame, defaults: Mapping[str, float]) -> Array:
    """Return which runs belong to the textbook candidate, which has the number 0.

    If an optimizer has no candidate 0, it is the only one with the rule's default learning rate, up to
    rounding.
    """
    textbook = runs["optimizer"].map(dict(defaults)).astype(float)
    is_near = np.isclose(runs[RATE].to_numpy(dtype=float), textbook.to_numpy(), rtol=1e-9, atol=0)
    near = runs[is_near]
    is_only = runs["optimizer"].map(near.groupby("optimizer")[CANDIDATE].nunique()).eq(1)
    is_default = runs[CANDIDATE].eq(DEFAULT)
    has_default = runs["optimizer"].isin(runs.loc[is_default, "optimizer"])
    return np.asarray(is_default | (is_near & is_only & ~has_default))


def by_seed(runs: pd.DataFrame, values: str) -> pd.DataFrame:
    """Return a table with one row per seed and one column per optimizer; NaN for missing runs."""
    return cross_table(runs, "seed", "optimizer", values)


def encoded(column: pd.Series) -> tuple[Array, Array]:
    """Return the index of each value among the distinct values, and these in order."""
    index, values = pd.factorize(column, sort=True)
    return index, np.asarray(values)


def cross_table(table: pd.DataFrame, rows: str, columns: str, values: str) -> pd.DataFrame:
    """Return numbers by two keys, each in order; the first of several, NaN for none.

    It is pandas' pivot_table, in a tenth of its time for small tables.
    """
    (row, index), (column, names) = encoded(table[rows]), encoded(table[columns])
    numbers = table[values].to_numpy(dtype=float)
    known = np.flatnonzero(~np.isnan(numbers))[::-1]  # the last one written stays
    found = np.full((len(index), len(names)), np.nan)
    found[row[known], column[known]] = numbers[known]
    return pd.DataFrame(found, pd.Index(index, name=rows), pd.Index(names, name=columns))
