"""The uncertainty of a comparison, including the luck of tuning.

Optimizers are compared as they are used: a few tuning seeds choose a candidate, which is then trained
from fresh seeds. Every candidate has been trained with every seed, so this can be repeated without
new runs: the seeds are split at random, many times, into as many tuning seeds as the experiment has,
and the rest. Each split chooses on the former and reports on the latter; the average over the splits is
the estimate (cross-fitting). Its standard error comes from leaving out one seed at a time, which
changes the choices as well as the numbers (jackknife). A family of such estimates shares one error rate.

References
----------
Bouthillier et al. (2021), Accounting for variance in machine learning benchmarks: the choice of
hyper-parameters is a source of variance like the seed. Efron (2014), Estimation and accuracy after
model selection. Efron & Stein (1981), The jackknife estimate of variance: it is not too small, on
average. Romano & Wolf (2005), Exact and approximate stepdown methods for multiple hypothesis testing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

Array = np.ndarray

LEVEL = 0.05  # of all claims together; intervals cover 1 − LEVEL
SPLITS = 1000  # of the seeds, into tuning and reporting ones


@dataclass(frozen=True)
class Estimate:
    """An average over the splits, and the same with each seed left out.

    Attributes
    ----------
    value : the average.
    without : the average without each seed (seeds,).
    freedom : the degrees of freedom of its error; see `degrees_of_freedom`.
    """

    value: float
    without: Array
    freedom: float

    def __sub__(self, other: Estimate) -> Estimate:
        freedom = min(self.freedom, other.freedom)
        return Estimate(self.value - other.value, self.without - other.without, freedom)

    @cached_property
    def standard_error(self) -> float:
        """By the jackknife (Efron & Tibshirani 1993, An introduction to the bootstrap, section 11.5)."""
        if self.freedom < 1:
            return np.nan
        return float(_jackknife(self.without[None])[0][0])

    def one_sided(self, sign: float) -> float:
        """Return the one-sided p-value of this sign, by Student's t; 1 for a value or a sign of 0."""
        from scipy.special import stdtr

        if not self.value or not sign:
            return 1.0
        with np.errstate(divide="ignore"):
            t = sign * np.divide(self.value, self.standard_error)
        return float(stdtr(max(self.freedom, 1), -t))

    def interval(self, level: float = LEVEL) -> tuple[float, float, float]:
        """Return the value and the ends of its interval, by Student's t."""
        reach = upper_quantile(level / 2, max(self.freedom, 1)) * self.standard_error
        return self.value, self.value - reach, self.value + reach


def upper_quantile(chance: float, freedom: float) -> float:
    """Return the value that Student's t exceeds with this probability."""
    from scipy.special import stdtrit  # scipy.stats takes half a second to import

    return -float(stdtrit(freedom, chance))


def interquartile_weights(size: int) -> Array:
    """Return the weights (size,) of sorted numbers in their interquartile mean."""
    return _middle(size, 0.5)


def median_weights(size: int) -> Array:
    """Return the weights (size,) of sorted numbers in the mean of the middle √size of them.

    It approaches the median as the size grows, but is smoother, as the jackknife requires.
    """
    return _middle(size, size**-0.5)


def _middle(size: int, share: float) -> Array:
    """Return the weights of the middle share of sorted numbers; those at its ends count in part."""
    below, cut = np.arange(size), size * (1 - share) / 2
    weights = np.clip(np.minimum(below + 1, size - cut) - np.maximum(below, cut), 0, 1)
    return weights / weights.sum()


def split_seeds(seeds: int, tuning: int, splits: int, rng: np.random.Generator) -> Array:
    """Return random splits (splits, seeds): True where a seed reports, False where it tunes.

    Parameters
    ----------
    seeds, tuning : the number of seeds, and of those that tune; with 0 there is nothing to choose, and
        a single split.
    """
    if not tuning:
        return np.ones((1, seeds), dtype=bool)
    return rng.random((splits, seeds)).argsort(axis=1) >= tuning


def choose(scores: Array, bad: Array, reports: Array) -> Array:
    """Return which candidate each split chooses (splits,): the least median over its tuning seeds.

    A tie goes to the candidate with fewer bad runs, then to the first.

    Parameters
    ----------
    scores, bad : of each candidate and seed (candidates, seeds), the lower the better.
    reports : the splits (splits, seeds).
    """
    if len(scores) == 1:
        return np.zeros(len(reports), dtype=int)
    tunes = np.nonzero(~reports)[1].reshape(len(reports), -1)
    ordered = np.sort(scores[:, tunes], axis=2)
    size = ordered.shape[2]
    medians = (ordered[..., (size - 1) // 2] + ordered[..., size // 2]) / 2
    shares = bad[:, tunes].sum(axis=2)
    return np.where(medians == medians.min(axis=0), shares, np.inf).argmin(axis=0)


def leave_one_out(
    numbers: Array, chosen: Array, reports: Array, *weighings: Callable[[int], Array]
) -> list[Estimate]:
    """Return the average over the splits of weighted means of their reporting seeds' sorted numbers.

    Leaving out a seed leaves out the splits in which it tunes, and its number from all others.

    Parameters
    ----------
    numbers : of each candidate and seed (candidates, seeds), finite.
    chosen : the index of the candidate that each split chooses (splits,).
    reports : the splits (splits, seeds), each with the same number of reporting seeds.
    weighings : functions from a size to weights, such as `interquartile_weights`; one estimate for each.
    """
    size, seeds = int(reports[0].sum()), reports.shape[1]
    if not size:
        return [Estimate(np.nan, np.full(seeds, np.nan), 0) for _ in weighings]
    rank = numbers.argsort(axis=1, kind="stable")[chosen]
    start = seeds * np.arange(len(chosen))[:, None]
    order = rank[reports.ravel()[start + rank]].reshape(-1, size)  # the seeds that report
    ordered = numbers.ravel()[seeds * chosen[:, None] + order]
    splits_of_seed = np.maximum(reports.sum(axis=0), 1)

    def estimate(weigh: Callable[[int], Array]) -> Estimate:
        value = float((ordered @ weigh(size)).mean())
        if size < 2:
            return Estimate(value, np.full(seeds, np.nan), 0)
        means = _means_without(ordered, weigh(size - 1))
        without = np.bincount(order.ravel(), means.ravel(), minlength=seeds)
        return Estimate(value, without / splits_of_seed, degrees_of_freedom(weigh(size), seeds))

    return [estimate(weigh) for weigh in weighings]


def _means_without(ordered: Array, weights: Array) -> Array:
    """Return the weighted means without each of the numbers in turn (splits, size).

    Without the first number, the second has the first weight, and so on. If the next one is left out
    instead, its weight goes to the number before it.

    Parameters
    ----------
    ordered : sorted along the last axis (splits, size).
    weights : of one number fewer (size − 1,); the nonzero ones are contiguous.
    """
    counted = np.flatnonzero(weights)
    start, end = counted[0], counted[-1] + 1
    exchanged = weights[start:end] * np.diff(ordered[:, start : end + 1])
    means = np.repeat(ordered[:, 1:] @ weights[:, None], ordered.shape[1], axis=1)
    means[:, start + 1 : end + 1] -= exchanged.cumsum(axis=1)
    means[:, end + 1 :] = means[:, [end]]
    return means


def leave_one_out_of_mean(numbers: Array, chosen: Array, reports: Array) -> Estimate:
    """Return the estimate of `leave_one_out` for the plain mean, which needs no sorting."""
    size, seeds = int(reports[0].sum()), reports.shape[1]
    if not size:
        return Estimate(np.nan, np.full(seeds, np.nan), 0)
    held = reports.astype(float)
    sums = (held @ numbers.T)[np.arange(len(held)), chosen]
    value = float(sums.mean()) / size
    if size < 2:
        return Estimate(value, np.full(seeds, np.nan), 0)
    times = (chosen == np.arange(len(numbers))[:, None]).astype(float) @ held  # (candidates, seeds)
    without = (sums @ held - (times * numbers).sum(axis=0)) / (size - 1)
    freedom = degrees_of_freedom(np.full(size, 1 / size), seeds)
    return Estimate(value, without / np.maximum(held.sum(axis=0), 1), freedom)


def degrees_of_freedom(weights: Array, seeds: int) -> float:
    """Return the degrees of freedom of a weighted mean's error: one fewer than values count, at least 1.

    For an interquartile mean that is half of the seeds less one, since the values that are cut off say
    little about its error.

    Parameters
    ----------
    weights : the weights (size,) of the sorted numbers of a split's reporting seeds; their sum is 1.
    seeds : the number of all seeds, each of which reports in some splits.

    References
    ----------
    Tukey & McLaughlin (1963), Less vulnerable confidence and significance procedures for location based
    on a single sample: trimming/winsorization 1.
    """
    share = 1 / (len(weights) * float(weights.max()))
    return max(share * seeds - 1, 1)


@dataclass(frozen=True)
class Family:
    """Estimates that share one error rate.

    Attributes
    ----------
    standard_errors : of each estimate (estimates,).
    p_values : two-sided, unadjusted, by Student's t.
    adjusted : adjusted for all estimates: a level bounds the probability of any false claim.
    reach : half-widths of the simultaneous intervals, in standard errors.
    """

    standard_errors: Array
    p_values: Array
    adjusted: Array
    reach: Array


def family(
    estimates: list[Estimate],
    rng: np.random.Generator,
    weights: Array | None = None,
    level: float = LEVEL,
    draws: int = 10_000,
) -> Family:
    """Return the p-values and intervals of several estimates, separately and for all together.

    Each estimate is tested by Student's t with its own degrees of freedom. The null distribution of the
    smallest of several p-values is simulated by a Gaussian copula: normal errors with the estimates'
    correlations. In ascending order, each p-value is compared with the smallest of those not yet tested
    (step-down).

    Parameters
    ----------
    estimates : over the same seeds; NaN in `without` where a seed does not enter.
    rng, draws : for the distribution of the smallest p-value.
    weights : by which p-values are divided (estimates,): a larger weight takes a larger part of the
        error rate (Genovese, Roeder & Wasserman 2006, False discovery control with p-value weighting).
    level : of `reach`.

    Notes
    -----
    The multivariate t distribution would draw one scale for all estimates, as if they shared a standard
    error. Since each has its own, the largest t-value deviates more.
    """
    from scipy.special import ndtr, stdtr, stdtrit

    if not estimates:
        return Family(np.empty(0), np.empty(0), np.empty(0), np.empty(0))
    value = np.array([each.value for each in estimates])
    without = np.array([each.without for each in estimates])
    freedom = np.maximum([each.freedom for each in estimates], 1).astype(float)
    weight = np.ones(len(value)) if weights is None else weights
    error, direction = _jackknife(without)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(value == 0, 0, np.abs(value) / error)
    own = 2 * stdtr(freedom, -t)
    order = np.argsort(own / weight, kind="stable")[::-1]  # the least sure first
    weighted = (own / weight)[order, None]
    as_low, least = np.zeros(len(t)), []
    for done in range(0, draws, 1000):
        normal = rng.standard_normal((min(1000, draws - done), direction.shape[1]))
        drawn = 2 * ndtr(-np.abs(direction[order] @ normal.T)) / weight[order, None]
        np.minimum.accumulate(drawn, out=drawn)
        as_low += (drawn <= weighted).sum(axis=1)
        least.append(drawn[-1])
    adjusted = np.empty(len(t))
    adjusted[order] = np.maximum((1 + as_low) / (1 + draws), own[order])
    adjusted[order[::-1]] = np.minimum(np.maximum.accumulate(adjusted[order[::-1]]), 1)
    threshold = np.minimum(float(np.quantile(np.concatenate(least), level)) * weight, level)
    return Family(error, own, adjusted, -stdtrit(freedom, threshold / 2))


def _jackknife(without: Array) -> tuple[Array, Array]:
    """Return the standard errors (estimates,) and their directions by seed, unit vectors.

    The usual factor √((n − 1) / n) is left out, so that errors are too large rather than too small. NaN
    in `without` (estimates, seeds) means that a seed does not enter.
    """
    counted = ~np.isnan(without)
    seeds = counted.sum(axis=1, keepdims=True)
    centre = np.where(counted, without, 0).sum(axis=1, keepdims=True) / seeds
    spread = np.where(counted, without - centre, 0)
    largest = np.abs(spread).max(axis=1, keepdims=True, initial=np.finfo(float).tiny)
    size = largest * np.linalg.norm(spread / largest, axis=1, keepdims=True)  # squares may overflow
    direction = np.divide(spread, size, out=np.zeros_like(spread), where=size > 0)
    return size[:, 0], direction
