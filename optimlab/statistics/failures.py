"""Failures: the share of runs that go wrong, its interval, and a test of two optimizers."""

from __future__ import annotations

from typing import Any

import numpy as np

from optimlab.statistics.resampling import LEVEL


def share_interval(count: float, of: float) -> tuple[float, float]:
    """Return the exact 95 % interval of a share, also for fractional counts; NaN for none.

    References
    ----------
    Clopper & Pearson (1934), The use of confidence or fiducial limits illustrated in the case of the
    binomial.
    """
    from scipy.special import betaincinv

    if not of or np.isnan(of):
        return np.nan, np.nan
    low = float(betaincinv(count, of - count + 1, LEVEL / 2)) if count > 0 else 0.0
    high = float(betaincinv(count + 1, of - count, 1 - LEVEL / 2)) if count < of else 1.0
    return low, high


def mcnemar_p_value(first: Any, second: Any) -> float:
    """Return the exact p-value for two optimizers going wrong equally often, on seeds that both have.

    Only the seeds on which exactly one goes wrong count; under the hypothesis each is a coin toss.

    Parameters
    ----------
    first, second : one number per seed (N,): 1 if the run went wrong, 0 if not, NaN without a run.

    References
    ----------
    McNemar (1947), Note on the sampling error of the difference between correlated proportions or
    percentages.
    """
    from scipy.special import bdtr

    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    both = ~(np.isnan(first) | np.isnan(second))
    if not both.any():
        return np.nan
    alone = [int((one[both] > other[both]).sum()) for one, other in ((first, second), (second, first))]
    return min(1.0, 2 * float(bdtr(min(alone), sum(alone), 0.5))) if sum(alone) else 1.0
