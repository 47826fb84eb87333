"""The value of tuning: the range of good learning rates, and the loss after a few random trials."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from optimlab.experiment.candidates import DEFAULT, RATE
from optimlab.statistics.intervals import DRAWS, SEED, median
from optimlab.statistics.ranking import (
    CANDIDATE,
    at_default,
    basis,
    cross_table,
    quantile,
    scores,
    tuning_order,
)
from optimlab.statistics.resampling import LEVEL

Array = np.ndarray

FACTOR = 2.0  # a learning rate is good if its loss is within this factor of the best


def decades_within(rates: Array, losses: Array, factor: float = FACTOR) -> tuple[float, bool]:
    """Return over how many decades around the best rate the loss is within a factor of the best.

    Between two rates the loss is interpolated linearly, in the logarithms of both. Next to a
    rate whose loss is infinite, nothing is added.

    Parameters
    ----------
    rates, losses : a grid (N,), rates ascending; losses may be infinite.
    factor : the factor on the best loss, above 1.

    Returns
    -------
    The decades (NaN where the best loss is not positive or not finite), and whether the good rates go
    on beyond the grid, so that there may be more.
    """
    rates, losses = np.asarray(rates, dtype=float), np.asarray(losses, dtype=float)
    if not np.isfinite(losses).any() or losses.min() <= 0:
        return np.nan, False
    best, limit = int(losses.argmin()), np.log(losses.min()) + np.log(factor)
    positions, heights = np.log10(rates), np.log(losses)

    def reach(side: range) -> tuple[float, bool]:
        """Return where the loss leaves the limit on one side, and whether it never does."""
        inside = best
        for index in side:
            if heights[index] > limit:
                part = (limit - heights[inside]) / (heights[index] - heights[inside])  # 0 to an infinity
                return positions[inside] + part * (positions[index] - positions[inside]), False
            inside = index
        return positions[inside], True

    high, ends_high = reach(range(best + 1, len(rates)))
    low, ends_low = reach(range(best - 1, -1, -1))
    return float(high - low), ends_high or ends_low


def robustness(runs: pd.DataFrame) -> pd.DataFrame:
    """Return for each optimizer how wide its good learning rates are, by the reported seeds' medians.

    Returns
    -------
    One row per optimizer: optimizer, decades_within_2, decades_end_at_grid (True: there may be more).
    """
    rows = []
    fresh = _fresh(runs)
    for optimizer, cells in fresh.groupby("optimizer", sort=False):
        medians = {rate: quantile(column, 0.5) for rate, column in cells.groupby(RATE)["score"]}
        found = decades_within(np.array(list(medians)), np.array(list(medians.values())))
        rows.append((optimizer, *found))
    return pd.DataFrame(rows, columns=["optimizer", "decades_within_2", "decades_end_at_grid"])


def budget(
    runs: pd.DataFrame, traces: pd.DataFrame, defaults: Mapping[str, float], draws: int = DRAWS
) -> pd.DataFrame:
    """Return the expected loss after k random trials, k = 1 … N; k = 0 is the default.

    A trial is a candidate, tried on the tuning seeds; candidates are drawn without replacement. After k
    trials the best of them is chosen, and its median final loss over the reported seeds is the result.
    If the default is an additional candidate, beside the grid or the search, it is tried before all
    others. A run that ends above its initial loss counts as the initial loss. The interval is the
    percentile bootstrap over the reported seeds, the same ones for every candidate.

    Parameters
    ----------
    runs, traces : the tables of the experiment.
    defaults : optimizer → its rule's default learning rate; one that is not on the grid has no k = 0.
    draws : the number of bootstrap samples.

    Returns
    -------
    One row per optimizer and number of trials: optimizer, trials, expected_loss, interval_low,
    interval_high, rank (among the optimizers with this many trials).

    References
    ----------
    Dodge et al. (2019), Show your work: improved reporting of experimental results; Tang et al. (2020),
    Showing your work doesn't always work, for draws without replacement.
    """
    fresh, starts = _fresh(runs), initial_losses(traces, f"{basis(runs).loss}_loss")
    rows = []
    for optimizer, order in tuning_order(runs).items():
        reported = fresh[fresh["optimizer"] == optimizer]
        table = cross_table(reported, CANDIDATE, "seed", "score")
        table = table.reindex(order[CANDIDATE]).dropna(axis=1)
        if not table.shape[1]:
            continue  # a candidate has no reported run yet
        default = reported.loc[at_default(reported, defaults), CANDIDATE]
        is_default = order[CANDIDATE].isin(default).to_numpy(dtype=float)
        chances = {0: is_default / is_default.sum()} if is_default.any() else {}
        first = order[CANDIDATE].eq(DEFAULT).to_numpy()  # tried before all others
        most = len(order) - int(first.any())
        chances |= {trials: chances_of_best(most, trials, first) for trials in range(1, most + 1)}
        losses = np.fmin(table.to_numpy(), starts.reindex(table.columns).to_numpy())
        seeds = losses.shape[1]
        sample = np.random.default_rng(SEED).integers(seeds, size=(draws, seeds))
        drawn = np.array([median(np.sort(of_rate[sample], axis=1)) for of_rate in losses])
        found = median(np.sort(losses, axis=1))
        for trials, chance in chances.items():
            some = chance > 0
            expected, spread = chance[some] @ found[some], chance[some] @ drawn[some]
            low, high = quantile(spread, LEVEL / 2), quantile(spread, 1 - LEVEL / 2)
            rows.append((optimizer, trials, float(expected), low, high))
    columns = ["optimizer", "trials", "expected_loss", "interval_low", "interval_high"]
    table = pd.DataFrame(rows, columns=columns)
    table["rank"] = table.groupby("trials")["expected_loss"].rank(method="min").astype("Int64")
    return table


def chances_of_best(size: int, trials: int, first: Array | None = None) -> Array:
    """Return the chance of each item, best first, to be the best of the drawn ones.

    They are drawn without replacement, so all others must come from those behind it.

    Parameters
    ----------
    size : the number of items.
    trials : the number of draws.
    first : marks the additional item, if any, that is always drawn.
    """
    left = size - np.arange(size)  # an item and all behind it
    missed = np.cumprod([1.0, *np.maximum(left - trials, 0) / left])  # the chance to draw none before it
    drawn = missed[:-1] * trials / left
    if first is None or not first.any():
        return drawn
    before = int(first.argmax())
    return np.concatenate([drawn[:before], missed[before : before + 1], np.zeros(size - before)])


def initial_losses(traces: pd.DataFrame, metric: str) -> pd.Series:
    """Return the loss at step 0 of each seed, which all its runs share: seed → loss, NaN if unknown."""
    return traces[traces["step"] == 0].groupby("seed")[metric].max().astype(float)


def _fresh(runs: pd.DataFrame) -> pd.DataFrame:
    scored = runs.assign(score=scores(runs))
    return scored[scored["role"] == basis(runs).reporting]
