"""Numbers from tables: which learning rate, how good, how soon, how sure. No files and no plots.

`compare_optimizers` makes them all and `verdict` puts them in words. Beneath them: `ranking` (what a
run is worth, and which runs are reported), `intervals` (resampling), `pairs` (tests), `targets` (time
to a target), `tuning` (robustness and budget) and `bands` (for figures).
"""

from optimlab.statistics.bands import final_bands, trace_bands
from optimlab.statistics.intervals import bca_interval, interquartile_mean, median, percentile_interval
from optimlab.statistics.pairs import differences, fewest_seeds, holm, share_won, signed_rank_p_value
from optimlab.statistics.ranking import (
    STATUSES,
    Basis,
    basis,
    choose_learning_rates,
    quantile,
    reported_runs,
    widened_grid,
)
from optimlab.statistics.sentences import typical_run_learnt, verdict
from optimlab.statistics.summary import Comparison, compare_optimizers
from optimlab.statistics.targets import TARGET_ACCURACY

__all__ = [
    "STATUSES",
    "TARGET_ACCURACY",
    "Basis",
    "Comparison",
    "basis",
    "bca_interval",
    "choose_learning_rates",
    "compare_optimizers",
    "differences",
    "fewest_seeds",
    "final_bands",
    "holm",
    "interquartile_mean",
    "median",
    "percentile_interval",
    "quantile",
    "reported_runs",
    "share_won",
    "signed_rank_p_value",
    "trace_bands",
    "typical_run_learnt",
    "verdict",
    "widened_grid",
]
