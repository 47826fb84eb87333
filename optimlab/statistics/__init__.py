"""Statistics: numbers from tables. No files and no plots.

`compare_optimizers` (in `summary`; `problems` calls it with the content of experiment.json) computes all
numbers, and `verdict` (in `sentences`) puts them into words. They use `ranking` (scores, chosen
candidates, reported runs), `finals` (final values), `resampling` and `retuning` (uncertainty, including
the luck of tuning), `pairs` (claims), `failures`, `sequential` (repeated looks), `intervals`, `targets`
(time to a target), `tuning` (robustness and budget), `spaces` and `axes` (what is tuned, and how much it
matters), `lessons` (what tuning teaches) and `bands` (for figures). `trajectories` and `plane` describe
paths, with tests from `signed_rank`.
"""

from optimlab.statistics.bands import NO_LINE, final_bands, trace_bands, without_line
from optimlab.statistics.finals import with_finals
from optimlab.statistics.intervals import interquartile_mean, median, percentile_interval
from optimlab.statistics.pairs import differences, fewest_seeds
from optimlab.statistics.ranking import (
    SelectionCriteria,
    basis,
    choose_candidates,
    quantile,
    reported_runs,
    widened_grid,
)
from optimlab.statistics.sentences import failures_of, typical_run_learnt, verdict
from optimlab.statistics.sequential import level_of_look
from optimlab.statistics.signed_rank import holm, signed_rank_p_value
from optimlab.statistics.summary import Comparison, compare_optimizers
from optimlab.statistics.targets import TARGET_ACCURACY

__all__ = [
    "NO_LINE",
    "TARGET_ACCURACY",
    "Comparison",
    "SelectionCriteria",
    "basis",
    "choose_candidates",
    "compare_optimizers",
    "differences",
    "failures_of",
    "fewest_seeds",
    "final_bands",
    "holm",
    "interquartile_mean",
    "level_of_look",
    "median",
    "percentile_interval",
    "quantile",
    "reported_runs",
    "signed_rank_p_value",
    "trace_bands",
    "typical_run_learnt",
    "verdict",
    "widened_grid",
    "with_finals",
    "without_line",
]
