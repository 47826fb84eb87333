"""Retuning: optimizers whose candidates are chosen again on random subsets of the seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pandas as pd

from optimlab.statistics.intervals import SEED
from optimlab.statistics.ranking import CANDIDATE, encoded
from optimlab.statistics.resampling import (
    SPLITS,
    Estimate,
    choose,
    interquartile_weights,
    leave_one_out,
    leave_one_out_of_mean,
    median_weights,
    split_seeds,
)

Array = np.ndarray

NUMBERS = ("worth", "bad", "test_worth", "epochs")  # columns of `judged` that claims rest on


@dataclass(frozen=True)
class Grid:
    """The numbers of an optimizer's runs: of every candidate with every seed.

    Attributes
    ----------
    candidates : their numbers, ascending (candidates,).
    seeds : ascending (seeds,).
    numbers : each of `NUMBERS` → (candidates, seeds); NaN where a run is missing or has none.
    fingerprints : equal where two seeds have the same runs (candidates, seeds); 0 for a failed run
        without records, NaN where a run is missing.
    """

    candidates: Array
    seeds: Array
    numbers: Mapping[str, Array]
    fingerprints: Array


def grid(runs: pd.DataFrame) -> Grid:
    """Return the numbers of one optimizer's runs, judged by `optimlab.statistics.summary.judged`."""
    (row, candidates), (column, seeds) = encoded(runs[CANDIDATE]), encoded(runs["seed"])

    def spread(name: str) -> Array:
        found = np.full((len(candidates), len(seeds)), np.nan)
        found[row, column] = runs[name].to_numpy(dtype=float)
        return found

    return Grid(candidates, seeds, {name: spread(name) for name in NUMBERS}, spread("fingerprint"))


class Retuned:
    """An optimizer whose candidate is chosen again in each of many splits of the seeds.

    Parameters
    ----------
    numbers : each of `NUMBERS` → (candidates, seeds), with no run missing.
    tuning : the number of tuning seeds in a split.
    splits : the number of splits.

    Attributes
    ----------
    reports : the splits (splits, seeds): True where a seed reports.
    chosen : the index of the candidate that each split chooses (splits,).
    """

    def __init__(self, numbers: Mapping[str, Array], tuning: int, splits: int) -> None:
        self._numbers = numbers
        self._known: dict[str, list[Estimate]] = {}
        self.reports = _splits(numbers["worth"].shape[1], tuning, splits)
        self.chosen = choose(numbers["worth"], numbers["bad"], self.reports)

    def has(self, name: str) -> bool:
        """Return whether all runs have a number of this name."""
        return not bool(np.isnan(self._numbers[name]).any())

    def values(self, name: str) -> Array:
        """Return a number of the runs of the chosen candidates (splits, seeds)."""
        return self._numbers[name][self.chosen]

    def typical(self, name: str) -> Estimate:
        """Return the interquartile mean of one of `NUMBERS`."""
        return self._estimates(name)[0]

    def median(self, name: str) -> Estimate:
        """Return the approximate median of one of `NUMBERS`: the mean of the middle √n."""
        return self._estimates(name)[1]

    def _estimates(self, name: str) -> list[Estimate]:
        if name not in self._known:
            self._known[name] = leave_one_out(
                self._numbers[name], self.chosen, self.reports, interquartile_weights, median_weights
            )
        return self._known[name]

    def won_against(self, other: Retuned, name: str, least: float) -> Estimate:
        """Return the share of seeds on which a number is lower than another optimizer's, in [−1, 1].

        1 means all seeds, 0 half of them, and −1 none.

        Parameters
        ----------
        other : the other one, tuned again on the same splits.
        least : the largest difference that is a tie.
        """
        numbers, others = self._numbers[name], other._numbers[name]
        both, choice = np.unique(self.chosen * len(others) + other.chosen, return_inverse=True)
        with np.errstate(invalid="ignore"):
            gaps = np.nan_to_num(
                others[both % len(others)] - numbers[both // len(others)], posinf=np.inf, neginf=-np.inf
            )
        signs = np.where(np.abs(gaps) <= least, 0, np.sign(gaps))
        return leave_one_out_of_mean(signs, choice, self.reports)

    def shares(self) -> dict[int, float]:
        """Return index of a candidate → share of the splits that choose it, most frequent first."""
        counts = np.bincount(self.chosen)
        order = sorted(np.flatnonzero(counts), key=lambda index: -counts[index])
        return {int(index): counts[index] / len(self.chosen) for index in order}


@lru_cache(maxsize=16)
def _splits(seeds: int, tuning: int, splits: int) -> Array:
    """Return the splits of this many seeds (splits, seeds), the same for all optimizers."""
    reports = split_seeds(seeds, tuning, splits, np.random.default_rng(SEED))
    reports.flags.writeable = False
    return reports


@dataclass(frozen=True)
class Retuning:
    """The optimizers of one setting, to be tuned again on any subset of the seeds.

    Attributes
    ----------
    grids : optimizer → its runs, of all roles, at the candidates that it may choose from.
    tuning : the number of tuning seeds; 0 if no optimizer has a choice.
    splits : the number of splits.
    """

    grids: Mapping[str, Grid]
    tuning: int
    splits: int = SPLITS
    _known: dict[tuple[str, tuple[int, ...]], Retuned] = field(default_factory=dict)

    def seeds(self, *labels: str) -> tuple[int, ...]:
        """Return the seeds that all candidates of these optimizers have; of seeds with equal runs, one.

        A seed on which all runs failed is never taken for a copy of another.
        """
        grids = [self.grids[label] for label in labels]
        shared = grids[0].seeds
        for each in grids[1:]:
            shared = shared[np.isin(shared, each.seeds)]
        prints = np.vstack([each.fingerprints[:, np.isin(each.seeds, shared)] for each in grids])
        is_whole = ~np.isnan(prints).any(axis=0)
        first: dict[bytes | int, int] = {}
        for seed, column in zip(shared[is_whole].tolist(), prints.T[is_whole], strict=True):
            first.setdefault(column.tobytes() if column.any() else seed, seed)
        return tuple(first.values())

    def of(self, label: str, seeds: tuple[int, ...]) -> Retuned:
        """Return an optimizer tuned again on some of these seeds; at least half of them report."""
        if (label, seeds) not in self._known:
            grid = self.grids[label]
            columns = np.searchsorted(grid.seeds, seeds)
            numbers = {name: values[:, columns] for name, values in grid.numbers.items()}
            tuning = min(self.tuning, len(seeds) // 2)
            self._known[label, seeds] = Retuned(numbers, tuning, self.splits)
        return self._known[label, seeds]
