"""Intervals by resampling seeds.

All intervals of an experiment use generators with the same seed, so all optimizers, and all
learning rates of each, are resampled by the same training seeds, and pairs stay pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from optimlab.statistics.resampling import LEVEL, interquartile_weights

Array = np.ndarray
Statistic = Callable[[Array], Array]  # numbers sorted along the last axis → the statistic

DRAWS = 10_000
SEED = 0  # of the generators of all intervals


def median(ordered: Array) -> Array:
    """Return the median along the last axis, of sorted numbers that may be infinite."""
    size = ordered.shape[-1]
    below, above = ordered[..., (size - 1) // 2], ordered[..., size // 2]
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(below == above, below, (below + above) / 2)


def interquartile_mean(ordered: Array) -> Array:
    """Return the mean of the middle half along the last axis, of sorted numbers that may be infinite.

    If a quarter of the numbers is not a whole number, the two at the ends count in part.

    References
    ----------
    Agarwal et al. (2021), Deep reinforcement learning at the edge of the statistical precipice,
    section 4.3.
    """
    weights = interquartile_weights(ordered.shape[-1])
    inside = weights > 0
    with np.errstate(invalid="ignore", over="ignore"):
        return (ordered[..., inside] * weights[inside]).sum(axis=-1)


def percentile_interval(
    values: Any, statistic: Statistic, rng: np.random.Generator, draws: int = DRAWS
) -> tuple[float, float]:
    """Return a 95 % interval of a statistic by the percentile bootstrap; NaN for fewer than two values.

    `percentile_intervals` has the parameters.
    """
    return percentile_intervals(values, [statistic], rng, draws)[0]


def percentile_intervals(
    values: Any, statistics: Sequence[Statistic], rng: np.random.Generator, draws: int = DRAWS
) -> list[tuple[float, float]]:
    """Return the interval of each of several statistics, from the same draws.

    Parameters
    ----------
    values : one number per seed (N,), in the order of the seeds.
    statistics : `median`, `interquartile_mean` or both.
    rng : the generator of the draws.
    draws : the number of samples of the seeds, drawn with replacement.

    References
    ----------
    Efron & Tibshirani (1993), An introduction to the bootstrap, section 13.3.
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2 or np.isnan(values).any():
        return [(np.nan, np.nan) for _ in statistics]
    samples = np.sort(values[rng.integers(len(values), size=(draws, len(values)))], axis=1)
    levels = np.array([LEVEL / 2, 1 - LEVEL / 2])
    return [_between(statistic(samples), levels) for statistic in statistics]


def _between(drawn: Array, levels: Array) -> tuple[float, float]:
    """Return two quantiles, each one of the numbers; NaN becomes ±infinity."""
    ends = np.rint(levels * (len(drawn) - 1)).astype(int)
    low, high = (np.sort(np.where(np.isnan(drawn), side, drawn)) for side in (-np.inf, np.inf))
    return float(low[ends[0]]), float(high[ends[1]])
