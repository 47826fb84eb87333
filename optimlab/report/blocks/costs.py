"""The cost of a step of one run trained alone, since the runs of a stack share work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from optimlab import statistics
from optimlab.formatting import duration, number, split_name, with_unit
from optimlab.report.block import Block
from optimlab.report.figures.plots import (
    CLOCKS,
    add_legend,
    draw_bands,
    new_figure,
    note_without_line,
    settled,
)
from optimlab.report.figures.static import Drawings, StaticFigure, drawing, static_figure
from optimlab.report.problem_result import ProblemResult
from optimlab.report.style import SeriesStyle, figure_style
from optimlab.storage.results import Tables

COLUMNS = ("µs per step", "Rule’s share", "State", "Whole run")


def costs_block(
    tables: Tables, by_problem: dict[str, ProblemResult], styles: dict[str, SeriesStyle]
) -> Block | None:
    """Return the table of costs and the loss against time; None where no cost was measured."""
    experiment = tables.experiment
    alone = by_problem.get("")  # of a single problem, whose name it goes without
    costs = {
        name: found
        for name in experiment.get("costs") or {}
        if (alone or name in by_problem) and (found := costs_on(experiment, name))
    }
    if not costs:
        return None
    several = len(by_problem) > 1
    rows = [
        (label, *([problem] if several else []), *_cells(cost, _steps(experiment, problem)))
        for problem, found in costs.items()
        for label, cost in sorted(found.items(), key=lambda item: item[1]["step_seconds"])
    ]
    figures = [
        _figure(index, problem, alone or by_problem[problem], tables, styles)
        for index, problem in enumerate(costs, start=1)
    ]
    return Block(
        heading="What it costs",
        paragraphs=[
            "Runs in a stack share work, so the time of a sweep cannot be divided among the optimizers. "
            "These are processor times of one run per optimizer, trained alone, without evaluation. "
            "The gradient costs the same for every optimizer, so each run’s times are scaled until its "
            "gradient takes the median time. That removes the effect of a busy machine.",
            *_partitions(experiment),
        ],
        figures=[figure for figure in figures if figure],
        caption="Cost of a step of one run trained alone, cheapest first. State: the rule’s memory.",
        columns=["Optimizer", *(["Problem"] if several else []), *COLUMNS],
        rows=rows,
    )


def costs_on(experiment: dict[str, Any], problem: str) -> dict[str, dict[str, float]]:
    """Return optimizer → the cost of a step on a problem, from experiment.json and made comparable.

    The gradient is the same work for every optimizer, but each run was measured at a different time:
    its times are scaled so that its gradient takes the median time.
    """
    costs = (experiment.get("costs") or {}).get(problem) or {}
    gradients = {label: cost["step_seconds"] - cost["rule_seconds"] for label, cost in costs.items()}
    scales = {
        label: float(np.median(list(gradients.values()))) / seconds if seconds > 0 else 1.0
        for label, seconds in gradients.items()
    }
    return {
        label: cost | {name: scales[label] * cost[name] for name in ("step_seconds", "rule_seconds")}
        for label, cost in costs.items()
    }


def step_seconds(experiment: dict[str, Any], problem: str) -> dict[str, float]:
    """Return optimizer → processor time of a step of one run trained alone, for those measured."""
    return {label: cost["step_seconds"] for label, cost in costs_on(experiment, problem).items()}


def _cells(cost: dict[str, float], steps: int | None) -> tuple[str, ...]:
    seconds = cost["step_seconds"]
    return (
        number(1e6 * seconds, 3),
        f"{100 * cost['rule_seconds'] / seconds:.0f} %" if seconds else "",
        _memory(cost["state_bytes"]),
        _span(seconds * steps) if steps else "",
    )


def _memory(size: float) -> str:
    return f"{number(size / 1000, 3)} kB" if size >= 1000 else f"{size:.0f} B"


def _span(seconds: float) -> str:
    return duration(seconds) if seconds >= 1 else f"{number(seconds, 2)} s"


def _steps(experiment: dict[str, Any], problem: str) -> int | None:
    about = (experiment.get("problems") or {}).get(problem) or {}
    return about.get("steps") or experiment.get("steps")


def _partitions(experiment: dict[str, Any]) -> list[str]:
    """Return how rules that treat some arrays differently divide the parameters."""
    return [
        f"{label} on {problem}: {text}."
        for label, optimizer in (experiment.get("optimizers") or {}).items()
        for problem, text in (optimizer.get("partition") or {}).items()
    ]


def _figure(
    index: int,
    problem: str,
    result: ProblemResult,
    tables: Tables,
    styles: dict[str, SeriesStyle],
) -> StaticFigure | None:
    """Return the loss against the processor time of a run alone, at the chosen candidates."""
    drawn = time_drawing(problem, result, tables, styles).get("time")
    if drawn is None:
        return None
    loss = result.comparison.basis.loss
    return static_figure(
        "time" if index == 1 else f"time-{index}",
        f"The median {split_name(loss)} loss of the chosen candidates on {problem}, and its quartiles, "
        "against processor time as if each run were trained alone.",
        f"Line chart of the {split_name(loss)} loss against processor time, a line for each optimizer.",
        drawn.draw,
        *drawn.tables,
        **drawn.options,
    )


def time_drawing(
    problem: str, result: ProblemResult, tables: Tables, styles: dict[str, SeriesStyle]
) -> Drawings:
    """Return the figure of the loss against processor time, for print; none where no cost is known."""
    bands, loss = _bands(problem, result, tables), result.comparison.basis.loss
    shown = {label: style for label, style in styles.items() if label in set(bands["optimizer"])}
    return {} if bands.empty else drawing("time", time_figure, bands, shown, loss=loss, unit=result.unit)


def _bands(problem: str, result: ProblemResult, tables: Tables) -> pd.DataFrame:
    """Return the bands of the loss of the chosen candidates, with the seconds of a run alone."""
    reported = statistics.reported_runs(result.runs)
    traces = tables.traces[tables.traces["run_id"].isin(reported["run_id"])]
    seconds = step_seconds(tables.experiment, problem)
    traces = traces[traces["optimizer"].isin(seconds)]
    if traces.empty:
        return pd.DataFrame(columns=["optimizer"])
    bands = statistics.trace_bands(reported, traces, f"{result.comparison.basis.loss}_loss")
    return bands.assign(seconds=bands["step"] * bands["optimizer"].map(seconds))


def time_figure(
    bands: pd.DataFrame,
    styles: dict[str, SeriesStyle],
    *,
    loss: str,
    unit: str = "",
    narrow: bool = False,
) -> Figure:
    """Draw the loss against the processor time of a run alone.

    Parameters
    ----------
    bands : of `statistics.trace_bands`, with a column of seconds.
    styles : optimizer → how it is drawn.
    loss : the split whose loss it is.
    unit : of the loss, if it has one.
    narrow : whether to draw for a phone.
    """
    with figure_style(styles):
        figure = new_figure(3.7 if narrow else 9, 3.2 if narrow else 4)
        axes = figure.subplots()
        draw_bands(axes, bands, "seconds", styles)
        axes.xaxis.set_major_locator(MaxNLocator(3 if narrow else 6, steps=[1, 2, 5, 10]))
        clock = CLOCKS["seconds"].replace(", ", ",\n") if narrow else CLOCKS["seconds"]
        axes.set(xlabel=clock, ylabel=with_unit(f"{split_name(loss)} loss", unit))
        note_without_line(axes, bands, narrow=narrow)
        add_legend(figure, styles)
        return settled(figure)
