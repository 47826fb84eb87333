"""An optimizer as it is used: its candidate chosen on a few seeds, and trained from others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from optimlab.statistics.intervals import SEED
from optimlab.statistics.ranking import CANDIDATE, cross_table
from optimlab.statistics.resampling import (
    SPLITS,
    Estimate,
    choose,
    interquartile_weights,
    leave_one_out,
    split_seeds,
)

Array = np.ndarray


class Retuned:
    """An optimizer whose candidate is chosen anew in each of many splits of some seeds.

    Parameters
    ----------
    runs : of the optimizer: every candidate with each of the seeds.
    seeds : ascending.
    tuning : how many of them choose.
    splits : how many times.

    Attributes
    ----------
    candidates : what tells its candidates apart, in order (candidates,).
    reports : the splits (splits, seeds): True where a seed reports.
    chosen : the place of the candidate that each split chooses (splits,).
    """

    def __init__(self, runs: pd.DataFrame, seeds: Sequence[int], tuning: int, splits: int) -> None:
        runs = runs[runs["seed"].isin(seeds)].sort_values([CANDIDATE, "seed"], kind="stable")
        self._runs, self._shape = runs, (runs[CANDIDATE].nunique(), len(seeds))
        self.candidates = list(runs[CANDIDATE].drop_duplicates())
        self.reports = split_seeds(len(seeds), tuning, splits, np.random.default_rng(SEED))
        self.chosen = choose(self._column("worth"), self._column("bad"), self.reports)

    def _column(self, name: str) -> Array:
        """Return a column of the runs (candidates, seeds)."""
        return self._runs[name].to_numpy(dtype=float).reshape(self._shape)

    def has(self, name: str) -> bool:
        """Return whether the runs have numbers in a column."""
        return not bool(self._runs[name].isna().any())

    def values(self, name: str) -> Array:
        """Return a column of the runs of the chosen candidates (splits, seeds)."""
        return self._column(name)[self.chosen]

    @cached_property
    def loss(self) -> Estimate:
        """The interquartile mean of the final loss."""
        return leave_one_out(self.values("worth"), self.reports, interquartile_weights)

    @cached_property
    def test_loss(self) -> Estimate:
        """The interquartile mean of the final test loss."""
        return leave_one_out(self.values("test_worth"), self.reports, interquartile_weights)

    def shares(self) -> dict[float, float]:
        """Return candidate → the share of the splits that choose it, the commonest first."""
        counts = np.bincount(self.chosen, minlength=len(self.candidates))
        order = sorted(np.flatnonzero(counts), key=lambda place: -counts[place])
        return {self.candidates[place]: counts[place] / len(self.chosen) for place in order}


@dataclass(frozen=True)
class Retuning:
    """The optimizers of one setting, to be tuned again and again.

    Attributes
    ----------
    runs : optimizer → the runs that it may choose from, of all roles, with the columns of
        `optimlab.statistics.summary.judged`.
    tuning : how many seeds choose; 0 where no optimizer has anything to choose from.
    splits : how often.
    """

    runs: Mapping[str, pd.DataFrame]
    tuning: int
    splits: int = SPLITS
    _known: dict[tuple[str, tuple[int, ...]], Retuned] = field(default_factory=dict)

    @cached_property
    def _fingerprints(self) -> dict[str, pd.DataFrame]:
        """Optimizer → its runs' fingerprints, one row a seed that all its candidates have."""
        return {
            label: cross_table(runs, "seed", CANDIDATE, "fingerprint").dropna()
            for label, runs in self.runs.items()
        }

    def seeds(self, *labels: str) -> tuple[int, ...]:
        """Return the seeds that all candidates of these optimizers have, seeds with equal runs once."""
        whole = pd.concat([self._fingerprints[label] for label in labels], axis=1, join="inner")
        return tuple(whole[~whole.duplicated()].sort_index().index)

    def of(self, label: str, seeds: tuple[int, ...]) -> Retuned:
        """Return an optimizer, tuned again on some of these seeds; half of them report at least."""
        if (label, seeds) not in self._known:
            tuning = min(self.tuning, len(seeds) // 2)
            self._known[label, seeds] = Retuned(self.runs[label], seeds, tuning, self.splits)
        return self._known[label, seeds]
