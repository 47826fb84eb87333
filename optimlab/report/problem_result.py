"""The results of one problem of an experiment, from which the blocks of the page are made."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from optimlab.report.vega import Chart
from optimlab.statistics import Comparison


@dataclass(frozen=True)
class ProblemResult:
    """The results of the optimizers on one problem of an experiment.

    Attributes
    ----------
    runs : the table of runs on it.
    comparison : `optimlab.statistics.compare_optimizers` of its tables.
    charts : its charts.
    unit : of the loss, "" if it has none.
    """

    runs: pd.DataFrame
    comparison: Comparison
    charts: list[Chart]
    unit: str
