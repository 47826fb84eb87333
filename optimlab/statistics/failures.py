"""How often runs go wrong: the share, how sure it is, and whether two optimizers differ in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from optimlab.statistics.resampling import LEVEL


def share_interval(count: float, of: float) -> tuple[float, float]:
    """Return the exact 95 % interval of a share, also of counts that are no whole numbers; NaN of none.

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
    """Return the exact p-value that two optimizers go wrong as often, of seeds that both have.

    Only the seeds on which one of the two goes wrong tell; each is the toss of a coin.

    Parameters
    ----------
    first, second : of each seed (N,), 1 where the run went wrong, 0 where not, NaN where there is none.

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
