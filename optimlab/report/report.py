"""The report on an experiment: its comparisons, charts, blocks and figures, from its tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import pandas as pd
from joblib import delayed

from optimlab import statistics
from optimlab.pool import Pool, in_order
from optimlab.report.block import Block
from optimlab.report.blocks import Chart, draw_charts
from optimlab.report.blocks.costs import costs_block, step_seconds
from optimlab.report.blocks.lessons import teaches
from optimlab.report.blocks.own import own_blocks
from optimlab.report.blocks.paths import PathsReport, report_paths
from optimlab.report.blocks.schedules import schedules_block
from optimlab.report.figures.static import Drawing, static_figures
from optimlab.report.problem_result import ProblemResult
from optimlab.report.style import SeriesStyle, series_styles
from optimlab.statistics.problems import comparison_of, problem_of, problems_of, with_finals_of
from optimlab.storage.results import Tables


class Follow(Protocol):
    """Passes on the items of a sequence and shows the progress, like a progress bar's ``track``."""

    def __call__(self, sequence: Iterable[Any], *, total: int, description: str) -> Iterable[Any]: ...


def silently(sequence: Iterable[Any], *, total: int, description: str) -> Iterable[Any]:
    """Pass on the items of a sequence and show nothing."""
    return sequence


@dataclass(frozen=True)
class Report:
    """The report on an experiment."""

    tables: Tables
    styles: dict[str, SeriesStyle]
    by_problem: dict[str, ProblemResult]
    paths: PathsReport
    own_blocks: list[Block]

    @cached_property
    def circumstances(self) -> list[Block]:
        """The blocks on schedules and costs."""
        experiment = self.tables.experiment
        blocks = (schedules_block(experiment), costs_block(self.tables, self.by_problem, self.styles))
        return [block for block in blocks if block]

    @property
    def blocks(self) -> list[Block]:
        """All blocks of text and figures."""
        return [*self.own_blocks, *self.circumstances]

    @cached_property
    def numbers(self) -> dict[str, pd.DataFrame]:
        """The tables to write as CSV: file name → rows."""
        return _joined(self.by_problem) | self.paths.tables

    @cached_property
    def drawings(self) -> dict[str, Drawing | Chart]:
        """The static figures by name, drawn or of a chart; with several problems only the paths."""
        if len(self.by_problem) > 1:
            return dict(self.paths.figures)
        (result,) = self.by_problem.values()
        tables, summary = self.tables, result.comparison.summary
        drawn = static_figures(tables.runs, tables.traces, summary, self.styles, result.unit)
        charts = {chart.name: chart for chart in result.charts if chart.name not in drawn}
        return {**drawn, **charts, **self.paths.figures}


def report_of(tables: Tables) -> Report:
    """Return the report on one experiment."""
    tables = with_finals(tables)
    (report,) = make_reports([tables], series_styles(labels_of(tables)), None, silently)
    return report


def make_reports(
    tables: list[Tables], styles: dict[str, SeriesStyle], pool: Pool | None, follow: Follow
) -> list[Report]:
    """Compare the optimizers on every problem of every experiment, and describe their paths."""
    shown = [{label: styles[label] for label in labels_of(each)} for each in tables]
    problems = [problems_of(each.runs, each.traces) for each in tables]
    calls = [
        delayed(report_paths)(each.runs, each.traces, each.params, each.surface, each.experiment, labels)
        for each, labels in zip(tables, shown, strict=True)
    ]
    calls += [
        delayed(_compare)(problem, *parts, each.experiment, labels)
        for each, labels, found in zip(tables, shown, problems, strict=True)
        for problem, parts in found.items()
    ]
    done = iter(list(follow(in_order(calls, pool), total=len(calls), description="counting")))
    paths = [next(done) for _ in tables]
    return [
        Report(
            each,
            labels,
            {problem: ProblemResult(runs, *next(done)) for problem, (runs, _) in found.items()},
            moved,
            own_blocks(each),
        )
        for each, labels, found, moved in zip(tables, shown, problems, paths, strict=True)
    ]


def _compare(
    problem: str,
    runs: pd.DataFrame,
    traces: pd.DataFrame,
    experiment: dict[str, Any],
    styles: dict[str, SeriesStyle],
) -> tuple[statistics.Comparison, list[Chart], str]:
    """Return the comparison of the optimizers on one problem, its charts, and the unit of its loss."""
    comparison = comparison_of(runs, traces, experiment)
    unit, learns = unit_of(experiment, runs), teaches(experiment, comparison)
    seconds = step_seconds(experiment, problem_of(runs))
    charts = draw_charts(
        comparison, runs, traces, styles, unit, seconds, problem=problem, teaches=learns
    )
    return comparison, charts, unit


def labels_of(tables: Tables) -> list[str]:
    """Return the optimizers that ran, in the order of the experiment file."""
    ran = list(pd.unique(tables.runs["optimizer"]))
    listed = [label for label in tables.experiment.get("optimizers") or {} if label in set(ran)]
    return list(dict.fromkeys(listed + ran))


def with_finals(tables: Tables) -> Tables:
    """Return the tables with each run's final metrics computed as the experiment file says."""
    runs = with_finals_of(tables.runs, tables.traces, tables.experiment)
    return replace(tables, runs=runs)


def _joined(by_problem: dict[str, ProblemResult]) -> dict[str, pd.DataFrame]:
    """Return the tables of the comparisons; those of several problems are joined."""
    parts = {}
    for problem, result in by_problem.items():
        comparison = result.comparison
        parts[problem] = {
            "summary.csv": comparison.summary,
            "comparisons.csv": comparison.pairs,
            "targets.csv": comparison.targets,
            "profiles.csv": comparison.profiles,
            "budget.csv": comparison.budget,
            "foretold.csv": comparison.foretold,
            "rates.csv": comparison.carried_rates,
        }
        if not comparison.is_only_rate:
            parts[problem] |= {
                "candidates.csv": comparison.candidates,
                "importance.csv": comparison.importance,
            }
    first = next(iter(parts.values()))
    if len(parts) == 1:
        return first
    joined = {}
    for name in first:
        filled = [part[name].assign(problem=label) for label, part in parts.items() if len(part[name])]
        table = pd.concat(filled or [first[name].assign(problem="")], ignore_index=True)
        joined[name] = table[["problem", *table.columns.drop("problem")]]
    return joined


def unit_of(experiment: dict[str, Any], runs: pd.DataFrame) -> str:
    """Return the unit of the loss of the runs' problem; "" if it has none."""
    problems = experiment.get("problems") or {}
    labels = set(runs["problem"]) if "problem" in runs else set(problems)
    about = problems.get(labels.pop(), {}) if len(labels) == 1 else {}
    if "loss_unit" in about:
        return str(about["loss_unit"])
    return "nats" if (experiment.get("problem") or {}).get("name") == "digits" else ""  # older results
