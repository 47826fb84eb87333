"""How sure a number is: intervals by resampling seeds.

Every interval of an experiment draws with a generator of the same seed. So all optimizers, and all
learning rates of one, are resampled by the same seeds of training, and pairs stay pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray
Statistic = Callable[[Array], Array]  # numbers sorted along the last axis, and its value there

LEVEL = 0.05  # of the tests; the intervals cover 1 − LEVEL
DRAWS = 10_000
SEED = 0  # of the generator that an experiment's intervals draw with


def median(ordered: Array) -> Array:
    """Return the median along the last axis, of sorted numbers that may be infinite."""
    size = ordered.shape[-1]
    below, above = ordered[..., (size - 1) // 2], ordered[..., size // 2]
    with np.errstate(invalid="ignore"):
        return np.where(below == above, below, (below + above) / 2)


def interquartile_mean(ordered: Array) -> Array:
    """Return the mean of the middle half along the last axis, of sorted numbers that may be infinite.

    Where a quarter of the numbers is no whole number, the two at the border count in part.

    References
    ----------
    Agarwal et al. (2021), Deep reinforcement learning at the edge of the statistical precipice,
    section 4.3.
    """
    size = ordered.shape[-1]
    place = np.arange(size)
    weights = np.clip(np.minimum(place + 1 - size / 4, 3 * size / 4 - place), 0, 1)
    inside = weights > 0
    with np.errstate(invalid="ignore"):
        return (ordered[..., inside] * weights[inside]).sum(axis=-1) / weights.sum()


def draws(size: int, rng: np.random.Generator) -> Array:
    """Return `DRAWS` samples, with replacement, of `size` seeds: their places (DRAWS, size)."""
    return rng.integers(size, size=(DRAWS, size))


def percentile_interval(
    values: Any, statistic: Statistic, rng: np.random.Generator
) -> tuple[float, float]:
    """Return a 95 % interval of a statistic by the percentile bootstrap; NaN for fewer than two values.

    Parameters
    ----------
    values : one number a seed (N,), in the order of the seeds.
    statistic : `median` or `interquartile_mean`.
    rng : where the draws come from.

    References
    ----------
    Efron & Tibshirani (1993), An introduction to the bootstrap, section 13.3.
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2 or np.isnan(values).any():
        return np.nan, np.nan
    samples = np.sort(values[draws(len(values), rng)], axis=1)
    return _between(statistic(samples), np.array([LEVEL / 2, 1 - LEVEL / 2]))


def bca_interval(values: Any, statistic: Statistic, rng: np.random.Generator) -> tuple[float, float]:
    """Return a 95 % interval of a statistic, corrected for bias and skew; NaN for fewer than two values.

    Where the correction cannot be worked out (all values equal, or too many infinite), it is the
    percentile interval.

    Parameters
    ----------
    values : one number a seed (N,), in the order of the seeds.
    statistic : `median` or `interquartile_mean`.
    rng : where the draws come from.

    References
    ----------
    Efron (1987), Better bootstrap confidence intervals, section 6.
    """
    from scipy.special import ndtr, ndtri

    values = np.asarray(values, dtype=float)
    if len(values) < 2 or np.isnan(values).any():
        return np.nan, np.nan
    found = statistic(np.sort(values))
    drawn = statistic(np.sort(values[draws(len(values), rng)], axis=1))
    with np.errstate(all="ignore"):
        bias = ndtri(np.mean((drawn < found) + 0.5 * (drawn == found)))
        without = np.array([statistic(np.sort(np.delete(values, k))) for k in range(len(values))])
        pull = without.mean() - without
        skew = (pull**3).sum() / (6 * (pull**2).sum() ** 1.5)
        shifted = bias + ndtri([LEVEL / 2, 1 - LEVEL / 2])
        levels = ndtr(bias + shifted / (1 - skew * shifted))
    if not np.isfinite(levels).all():
        levels = np.array([LEVEL / 2, 1 - LEVEL / 2])
    return _between(drawn, levels)


def _between(drawn: Array, levels: Array) -> tuple[float, float]:
    """Return two quantiles, each one of the numbers; what is infinite both ways could be anything."""
    places = np.rint(levels * (len(drawn) - 1)).astype(int)
    low, high = (np.sort(np.where(np.isnan(drawn), side, drawn)) for side in (-np.inf, np.inf))
    return float(low[places[0]]), float(high[places[1]])
