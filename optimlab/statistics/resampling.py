"""How sure a comparison is, the luck of tuning included.

What is compared is how an optimizer is used: a few tuning seeds choose one of its candidates, and that
candidate trains from fresh seeds. Every candidate has run with every seed, so this can be repeated
without a new run. The seeds are split at random, many times, into as many tuning seeds as the
experiment has, and the rest; each split chooses on the former and reports on the latter, and the
average over the splits is the estimate (cross-fitting). Its standard error comes from leaving out one
seed after another, which changes the choices as well as the numbers (jackknife). A family of such
estimates shares its error rate by the distribution of the largest of their t-values.

References
----------
Bouthillier et al. (2021), Accounting for variance in machine learning benchmarks: choosing
hyper-parameters is a source of variance like the seed. Efron (2014), Estimation and accuracy after
model selection: smooth over the choice, and take the error from the seeds' influence. Efron & Stein
(1981), The jackknife estimate of variance: it is not too small, on average. Romano &
Wolf (2005), Exact and approximate stepdown methods for multiple hypothesis testing.
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
    """A number over the splits, and what it would have been without each of the seeds.

    Attributes
    ----------
    value : the number.
    without : the number with one seed left out (seeds,).
    freedom : the degrees of freedom of its error, as `degrees_of_freedom` has them.
    """

    value: float
    without: Array
    freedom: float

    def __sub__(self, other: Estimate) -> Estimate:
        freedom = min(self.freedom, other.freedom)
        return Estimate(self.value - other.value, self.without - other.without, freedom)

    @cached_property
    def standard_error(self) -> float:
        """The jackknife's (Efron & Tibshirani 1993, An introduction to the bootstrap, section 11.5)."""
        if self.freedom < 1:
            return np.nan
        return float(_jackknife(self.without[None])[0][0])

    def one_sided(self, sign: float) -> float:
        """Return the one-sided p-value of the number having this sign, by Student's t; 1 for none."""
        from scipy.special import stdtr

        if not self.value or not sign:
            return 1.0
        with np.errstate(divide="ignore"):
            t = sign * np.divide(self.value, self.standard_error)
        return float(stdtr(max(self.freedom, 1), -t))

    def interval(self, level: float = LEVEL) -> tuple[float, float, float]:
        """Return the number, and the ends of its interval, by Student's t."""
        reach = upper_quantile(level / 2, max(self.freedom, 1)) * self.standard_error
        return self.value, self.value - reach, self.value + reach


def upper_quantile(chance: float, freedom: float) -> float:
    """Return the value that Student's t with this many degrees of freedom exceeds with this chance."""
    from scipy.special import stdtrit  # scipy.stats takes half a second to import

    return -float(stdtrit(freedom, chance))


def interquartile_weights(size: int) -> Array:
    """Return the weights (size,) of sorted numbers in their interquartile mean."""
    return _middle(size, 0.5)


def median_weights(size: int) -> Array:
    """Return the weights (size,) of sorted numbers in the mean of the middle √size of them.

    It is near the median, and the nearer the more numbers there are, but moves less when one is left
    out: the jackknife needs a smooth number.
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
    seeds, tuning : how many there are, and how many of them choose. 0: nothing is to be chosen, and
        one split is enough.
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

    Leaving out a seed leaves out the splits that it tunes, and its number from all the others.

    Parameters
    ----------
    numbers : of each candidate and seed (candidates, seeds), finite.
    chosen : the index of the candidate that each split chooses (splits,).
    reports : the splits (splits, seeds), all with as many reporting seeds.
    weighings : how many numbers → their weights, such as `interquartile_weights`; an estimate of each.
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

    Without the first, the second has the first weight, and so on. To leave out the next one instead
    gives the weight that it had to the one before it.

    Parameters
    ----------
    ordered : sorted along the last axis (splits, size).
    weights : of one number fewer (size − 1,); those that are not 0 lie side by side.
    """
    counted = np.flatnonzero(weights)
    start, end = counted[0], counted[-1] + 1
    exchanged = weights[start:end] * np.diff(ordered[:, start : end + 1])
    means = np.repeat(ordered[:, 1:] @ weights[:, None], ordered.shape[1], axis=1)
    means[:, start + 1 : end + 1] -= exchanged.cumsum(axis=1)
    means[:, end + 1 :] = means[:, [end]]
    return means


def leave_one_out_of_mean(numbers: Array, chosen: Array, reports: Array) -> Estimate:
    """Return what `leave_one_out` does for the plain mean, in which no order counts: by sums alone."""
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
    """Return those of the error of a weighted mean: the values that count in it, less one; 1 at least.

    For an interquartile mean that is half of the seeds less one: the values cut off at the ends say
    little about its error.

    Parameters
    ----------
    weights : the weights (size,) of the sorted numbers that report in a split; their sum is 1.
    seeds : the number of seeds; over all splits, each of them reports.

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
    p_values : two-sided, of each by itself, by Student's t.
    adjusted : of each among all; the chance that any true zero falls below a level is that level.
    reach : how many standard errors each one's interval goes to either side, if all hold together.
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
    """Return how sure each of several estimates is, and all of them together.

    Each estimate is tested by Student's t with its own degrees of freedom. The distribution of the least
    of several such p-values, if nothing differed, is simulated by a Gaussian copula: normal errors
    correlated as the estimates are. In order of their p-values, the least first, each is compared with
    the least of those not yet tested (step-down).

    Parameters
    ----------
    estimates : over the same seeds; NaN in `without` where a seed does not enter.
    rng, draws : of the least p-value.
    weights : a p-value counts divided by its weight (estimates,): a larger one takes a larger part of
        the error rate (Genovese, Roeder & Wasserman 2006, False discovery control with p-value
        weighting).
    level : of `reach`.

    Notes
    -----
    The multivariate t distribution would draw one scale for all estimates, as if they shared a standard
    error. Each has its own, so the largest of them deviates more often.
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
    """Return the standard errors (estimates,), and their shares by seed, squares of sum 1.

    The usual factor, one less than the seeds over the seeds, is left out: the error rather errs on the
    safe side. NaN in `without` (estimates, seeds) means that a seed does not enter.
    """
    counted = ~np.isnan(without)
    seeds = counted.sum(axis=1, keepdims=True)
    centre = np.where(counted, without, 0).sum(axis=1, keepdims=True) / seeds
    spread = np.where(counted, without - centre, 0)
    largest = np.abs(spread).max(axis=1, keepdims=True, initial=np.finfo(float).tiny)
    size = largest * np.linalg.norm(spread / largest, axis=1, keepdims=True)  # squares may overflow
    direction = np.divide(spread, size, out=np.zeros_like(spread), where=size > 0)
    return size[:, 0], direction
