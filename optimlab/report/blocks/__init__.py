"""The page's interactive charts: Vega-Lite specifications, and the tables that they draw.

`optimlab.statistics` computes all numbers; charts only filter its tables by what the reader chooses. The
exception is the loss traces: the browser smooths them run by run, then takes quartiles over the seeds.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from optimlab.report.blocks.axes import axes_charts
from optimlab.report.blocks.budget import budget_chart
from optimlab.report.blocks.lessons import foretold_chart
from optimlab.report.blocks.pairs import differences_chart, wins_chart
from optimlab.report.blocks.rates import rates_chart
from optimlab.report.blocks.targets import profiles_chart, targets_chart
from optimlab.report.blocks.traces import traces_chart
from optimlab.report.style import SeriesStyle
from optimlab.report.vega import Chart, Palette
from optimlab.statistics import Comparison

__all__ = ["Chart", "draw_charts"]


def draw_charts(
    comparison: Comparison,
    runs: pd.DataFrame,
    traces: pd.DataFrame,
    styles: dict[str, SeriesStyle],
    unit: str,
    step_seconds: Mapping[str, float],
    *,
    problem: str = "",
    teaches: bool = False,
) -> list[Chart]:
    """Return the charts that an experiment has the numbers for.

    Parameters
    ----------
    comparison : `optimlab.statistics.compare_optimizers` of its tables.
    runs, traces : its tables.
    styles : optimizer → how it is drawn.
    unit : of the loss, "" if it has none.
    step_seconds : optimizer → processor time of a step of one run trained alone, where it is known.
    problem : its name, for charts to show; "" if it is the only one.
    teaches : whether tuning has lessons; see `optimlab.report.blocks.lessons`.
    """
    palette = Palette(styles)
    charts = [
        *traces_chart(comparison, traces, palette, unit, step_seconds),
        *targets_chart(comparison, palette),
        *profiles_chart(comparison, palette),
        *(rates_chart(comparison, runs, traces, palette, unit) if comparison.is_only_rate else ()),
        *axes_charts(comparison, palette, unit),
        *budget_chart(comparison, palette, unit),
        *(foretold_chart(comparison) if teaches else ()),
        *wins_chart(comparison),
        *differences_chart(comparison, unit),
    ]
    return [chart.on(problem) for chart in charts] if problem else charts
