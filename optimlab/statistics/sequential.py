"""Sequential analysis: the level of each look at growing results, so that all looks share one level.

Adding seeds until something is found finds too much, since each look may be wrong. Here the k-th look
has the share 1/(k(k + 1)) of the level: a half, a sixth, a twelfth, … The shares of any number of looks
add up to less than one, so the probability of any false claim stays below the level, however the looks
depend on each other (Bonferroni's inequality).

References
----------
Lan & DeMets (1983), Discrete sequential boundaries for clinical trials: the level is spent look by
look, and the number of looks need not be fixed in advance.
"""

from __future__ import annotations

from optimlab.statistics.resampling import LEVEL


def level_of_look(look: int) -> float:
    """Return the level of the k-th look, k = 1, 2, …, or of the only one, k = 0.

    Parameters
    ----------
    look : k; 0 without rounds, where the only look has the whole level.

    Examples
    --------
    >>> [round(level_of_look(look), 4) for look in range(4)]
    [0.05, 0.025, 0.0083, 0.0042]
    """
    return LEVEL / (look * (look + 1)) if look else LEVEL
