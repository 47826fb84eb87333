"""The signed-rank test and Holm's correction, for the measures of paths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

Array = np.ndarray

MOST_EXACT = 100  # seeds: with more, the normal approximation is as good and faster


def signed_rank_p_value(difference: Array) -> float:
    """Return the two-sided p-value of the signed-rank test, with zeros ranked as by Pratt.

    It is 1 if nothing differs, and NaN without numbers.

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

        finite = np.clip(difference, -1e300, 1e300)  # only ranks count
        return float(wilcoxon(finite, zero_method="pratt").pvalue) if finite.any() else 1.0
    ranks = (2 * pd.Series(np.abs(difference)).rank().to_numpy()).astype(
        int
    )  # ties share a mean: doubled
    less = min(ranks[difference > 0].sum(), ranks[difference < 0].sum())
    return min(1.0, 2 * float(_chances(ranks[difference != 0])[: less + 1].sum()))


def _chances(ranks: Array) -> Array:
    """Return the chance of each sum, 0, 1, 2, …, of ranks that are each included by a coin toss."""
    chances = np.ones(1)
    for rank in ranks:
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    return chances


def holm(p_values: Sequence[float]) -> Array:
    """Return the p-values, adjusted for multiple tests.

    References
    ----------
    Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(adjusted, 1)
