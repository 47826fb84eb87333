"""Every two optimizers, seed by seed: how far apart, how sure, and what it would take to be surer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from optimlab.statistics.intervals import LEVEL, SEED, bca_interval, interquartile_mean
from optimlab.statistics.ranking import by_seed, quantile

Array = np.ndarray

MOST_EXACT = 100  # seeds: with more, the normal approximation is as good and faster
POWER = 0.8  # with which a test should find what is there


def differences(first: Any, second: Any) -> Array:
    """Return `second` − `first` for each seed that both have; two useless runs do not differ."""
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    both = ~(np.isnan(first) | np.isnan(second))
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(second[both] - first[both], nan=0, posinf=np.inf, neginf=-np.inf)


def share_won(difference: Array) -> float:
    """Return the share of the seeds on which the first is better (a positive difference); ties half.

    It estimates the probability that the first beats the second on a new seed.
    """
    return float(np.mean((difference > 0) + 0.5 * (difference == 0))) if len(difference) else np.nan


def signed_rank_p_value(difference: Array) -> float:
    """Return the two-sided p-value of the signed-rank test, zeros ranked as Pratt has it.

    1 where nothing differs, NaN where there is nothing.

    References
    ----------
    Wilcoxon (1945), Individual comparisons by ranking methods. Pratt (1959), Remarks on zeros and
    ties in the Wilcoxon signed rank procedures.
    """
    difference = np.asarray(difference, dtype=float)
    if not len(difference):
        return np.nan
    if len(difference) > MOST_EXACT:
        from scipy.stats import wilcoxon  # half a second to import

        finite = np.clip(difference, -1e300, 1e300)  # ranks are all that counts
        return float(wilcoxon(finite, zero_method="pratt").pvalue) if finite.any() else 1.0
    ranks = (2 * pd.Series(np.abs(difference)).rank().to_numpy()).astype(
        int
    )  # ties share a mean: doubled
    less = min(ranks[difference > 0].sum(), ranks[difference < 0].sum())
    return min(1.0, 2 * float(_chances(ranks[difference != 0])[: less + 1].sum()))


def _chances(ranks: Array) -> Array:
    """Return the chance of each sum, 0, 1, 2, …, of the ranks that the toss of a coin lets count."""
    chances = np.ones(1)
    for rank in ranks:
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    return chances


def direction(difference: Array) -> float:
    """Return the ranks of positive differences, summed, less those of negative ones: the test's sign."""
    ranks = pd.Series(np.abs(difference)).rank().to_numpy()
    return float((ranks * np.sign(difference)).sum())


def holm(p_values: Sequence[float]) -> Array:
    """Return the p-values adjusted for their number.

    References
    ----------
    Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(adjusted, 1)


def friedman_p_value(paired: pd.DataFrame) -> float:
    """Return the p-value of the test that no optimizer differs; NaN for fewer than three, or two seeds.

    Parameters
    ----------
    paired : one row a seed, one column an optimizer; only seeds that all have are used.

    References
    ----------
    Friedman (1937), The use of ranks to avoid the assumption of normality.
    """
    from scipy.stats import friedmanchisquare

    whole = paired.dropna().to_numpy()
    if whole.shape[1] < 3 or len(whole) < 2:
        return np.nan
    if (whole == whole[:, :1]).all():
        return 1.0
    return float(friedmanchisquare(*whole.T).pvalue)


def smallest_difference(difference: Array, level: float) -> float:
    """Return the smallest shift that so many seeds would have shown, with a power of about 80 %.

    The differences are taken as they scatter about their own centre. Infinite where no shift would do.

    Parameters
    ----------
    difference : per seed (N,).
    level : of the signed-rank test, two-sided.
    """
    if len(difference) < 2:
        return np.nan
    can_reject = 2 * 0.5 ** len(difference) <= level
    return _reach(level) * standard_error(difference, level) if can_reject else np.inf


def seeds_to_settle(difference: Array, level: float) -> float:
    """Return how many seeds would show a shift as large as the one seen, with a power of about 80 %.

    Errors shrink with the square root of the number of seeds. Infinite where nothing was seen.

    Parameters
    ----------
    difference : per seed (N,).
    level : of the signed-rank test, two-sided.
    """
    if len(difference) < 2:
        return np.nan
    least = math.ceil(math.log2(2 / level))  # the fewest with which the test can reject
    shift = abs(quantile(_walsh_averages(difference), 0.5))
    if np.isinf(shift):
        return least
    error = _reach(level) * standard_error(difference, level)
    if not shift or np.isinf(error):
        return np.inf
    return max(least, math.ceil(len(difference) * (error / shift) ** 2))


def standard_error(difference: Array, level: float) -> float:
    """Return the standard error of the shift, from the width of its signed-rank interval.

    The interval runs from the (c + 1)-th lowest to the (c + 1)-th highest Walsh average, c being the
    largest sum of ranks against the shift at which the test still rejects. It is as wide as a normal
    one of that level would be with this error.

    Parameters
    ----------
    difference : per seed (N,).
    level : of the interval: it covers at least 1 − level, or as much as N seeds can.

    References
    ----------
    Hollander, Wolfe & Chicken (2014), Nonparametric statistical methods, sections 3.2 and 3.3.
    """
    from scipy.special import ndtr, ndtri

    size = len(difference)
    if size <= MOST_EXACT:
        tails = 2 * np.cumsum(_chances(np.arange(1, size + 1)))
        against = max(int(np.searchsorted(tails, level, side="right")) - 1, 0)
        attained = min(float(tails[against]), 0.999)
    else:
        mean, spread = size * (size + 1) / 4, math.sqrt(size * (size + 1) * (2 * size + 1) / 24)
        against = int(mean + spread * ndtri(level / 2))
        attained = 2 * float(ndtr((against - mean) / spread))
    averages = np.sort(_walsh_averages(difference))
    low, high = averages[against], averages[-1 - against]
    if not (np.isfinite(low) and np.isfinite(high)):
        return np.inf
    return float((high - low) / (2 * ndtri(1 - attained / 2)))


def _walsh_averages(difference: Array) -> Array:
    """Return the mean of every two differences, one and itself too; two infinite ones may cancel."""
    first, second = np.triu_indices(len(difference))
    with np.errstate(invalid="ignore"):
        averages = (difference[first] + difference[second]) / 2
    return np.where(np.isnan(averages), 0, averages)


def _reach(level: float) -> float:
    """Return how many standard errors a shift must be away to be found at this level, mostly."""
    from scipy.special import ndtri

    return float(ndtri(1 - level / 2) + ndtri(POWER))


def compare(reported: pd.DataFrame, optimizers: Sequence[str]) -> pd.DataFrame:
    """Compare every two optimizers by their scores, and by their epochs to the target, if there are any.

    Holm's correction is over all pairs, since which are worth a look is known only after looking. And
    no pair counts as different unless Friedman's test finds that any is.

    Parameters
    ----------
    reported : the runs that numbers come from, with their ``score`` and their ``epochs`` to the target.
    optimizers : their labels, the best first.

    Returns
    -------
    One row a pair, with the columns that results/README.md describes.
    """
    paired, timed = by_seed(reported, "score"), by_seed(reported, "epochs")
    paired, timed = (table.reindex(columns=list(optimizers)) for table in (paired, timed))
    friedman = friedman_p_value(paired)
    rows: list[dict[str, Any]] = []
    pairs = list(combinations(optimizers, 2))
    for better, worse in pairs:
        difference = differences(paired[better], paired[worse])
        epochs = differences(timed[better], timed[worse])
        low, high = bca_interval(difference, interquartile_mean, np.random.default_rng(SEED))
        rows.append(
            {
                "better": better,
                "worse": worse,
                "seeds": len(difference),
                "difference_median": quantile(difference, 0.5),
                "difference_iqm": _iqm(difference),
                "difference_low": low,
                "difference_high": high,
                "share_won": share_won(difference),
                "p_value": signed_rank_p_value(difference),
                "favours": _favoured(difference, better, worse),
                "smallest_difference": smallest_difference(difference, LEVEL / len(pairs)),
                "seeds_to_settle": seeds_to_settle(difference, LEVEL / len(pairs)),
                "epochs_median": quantile(epochs, 0.5),
                "epochs_share_won": share_won(epochs),
                "epochs_p_value": signed_rank_p_value(epochs),
                "epochs_favour": _favoured(epochs, better, worse),
            }
        )
    table = pd.DataFrame(rows, columns=list(rows[0]) if rows else PAIR_COLUMNS)
    for name in ("p_value", "epochs_p_value"):
        place = list(table.columns).index(name) + 1
        table.insert(place, f"{name}_adjusted", _adjusted(table[name]))
    table["friedman_p_value"] = friedman
    is_open = len(optimizers) == 2 or friedman < LEVEL
    table["different"] = is_open & (table["p_value_adjusted"] < LEVEL)
    return table


def _iqm(difference: Array) -> float:
    mean = float(interquartile_mean(np.sort(difference))) if len(difference) else np.nan
    return 0.0 if len(difference) and np.isnan(mean) else mean  # the two infinities cancel


def _favoured(difference: Array, better: str, worse: str) -> str:
    """Return which of a pair the signed ranks favour, "" where neither."""
    sign = direction(difference)
    return better if sign > 0 else worse if sign < 0 else ""


def seed_differences(reported: pd.DataFrame, optimizers: Sequence[str]) -> pd.DataFrame:
    """Return how much higher the score of the second of each pair is, seed by seed.

    Returns
    -------
    One row a pair and seed: better, worse, seed, difference.
    """
    paired = by_seed(reported, "score")
    pieces = []
    for better, worse in combinations(optimizers, 2):
        both = paired[[better, worse]].dropna()
        found = differences(both[better], both[worse])
        pieces.append(
            pd.DataFrame({"better": better, "worse": worse, "seed": both.index, "difference": found})
        )
    columns = ["better", "worse", "seed", "difference"]
    if not pieces:
        return pd.DataFrame(columns=columns).astype({"difference": float})
    return pd.concat(pieces, ignore_index=True)


def _adjusted(p_values: pd.Series) -> Array:
    """Return Holm's p-values; a pair that has none is none of the family."""
    adjusted = np.full(len(p_values), np.nan)
    known = p_values.notna().to_numpy()
    adjusted[known] = holm(p_values[known].to_list())
    return adjusted


PAIR_COLUMNS = [
    *("better", "worse", "seeds", "difference_median", "difference_iqm", "difference_low"),
    *("difference_high", "share_won", "p_value", "favours", "smallest_difference", "seeds_to_settle"),
    *("epochs_median", "epochs_share_won", "epochs_p_value", "epochs_favour"),
]


def fewest_seeds(optimizers: int) -> int:
    """Return how many paired seeds it takes for a test among so many optimizers to reject at all."""
    pairs = optimizers * (optimizers - 1) // 2
    return int(np.floor(np.log2(2 * max(pairs, 1) / LEVEL))) + 1
