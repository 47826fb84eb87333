"""The section of the page on one experiment."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from optimlab import hints, statistics
from optimlab.formatting import join_words
from optimlab.report.block import Block
from optimlab.report.blocks.caveats import caveats
from optimlab.report.blocks.facts import (
    facts_of,
    hyperparameters_of,
    networks_of,
    reasons_of,
    unfinished,
)
from optimlab.report.blocks.lessons import alarms, lessons_block
from optimlab.report.blocks.paths import PathsReport
from optimlab.report.blocks.ranking import (
    GridEnd,
    Ranking,
    edge_warnings,
    rank,
    unequal_budgets,
)
from optimlab.report.figures.static import Picture
from optimlab.report.problem_result import ProblemResult
from optimlab.report.report import Report


@dataclass(frozen=True)
class Section:
    """Everything that the page shows for one experiment."""

    name: str
    title: str
    description: str
    verdict: list[str]
    unfinished: str
    notes: list[str]
    lessons: Block | None
    warnings: list[GridEnd]
    is_rate_grid: bool
    rankings: list[Ranking]
    files: list[str]
    own_blocks: list[Block]
    circumstances: list[Block]
    paths: PathsReport
    pictures: dict[str, list[Picture]]
    caveats: list[str]
    facts: dict[str, str]
    hyperparameters: dict[str, str]
    reasons: list[str]
    networks: dict[str, str]
    command: str
    command_of_page: str
    toml: str

    @property
    def has_charts(self) -> bool:
        """Whether the section has any chart."""
        return bool(self.paths.charts) or any(ranking.charts for ranking in self.rankings)


def write_section(report: Report, figures: dict[str, Picture]) -> Section:
    """Return the section of one experiment.

    Parameters
    ----------
    report : the report on it.
    figures : its static figures, by name.
    """
    tables, by_problem, paths = report.tables, report.by_problem, report.paths
    name, experiment, runs = tables.folder.name, tables.experiment, tables.runs
    charts = [*paths.charts, *(chart for each in by_problem.values() for chart in each.charts)]
    rankings = [rank(problem, result, report.styles) for problem, result in by_problem.items()]
    return Section(
        name=name,
        title=str(experiment.get("title") or name),
        description=str(experiment.get("description") or ""),
        verdict=rankings[0].verdict if len(rankings) == 1 else _overview(by_problem),
        unfinished=unfinished(experiment, runs),
        notes=[text for text in [unequal_budgets(by_problem), *alarms(by_problem)] if text],
        lessons=lessons_block(experiment, by_problem),
        warnings=edge_warnings(by_problem),
        is_rate_grid=all(
            each.comparison.is_only_rate and not each.comparison.is_searched
            for each in by_problem.values()
        ),
        rankings=rankings,
        files=["runs.csv", "traces.parquet", *report.numbers, "figures"],
        own_blocks=report.own_blocks,
        circumstances=report.circumstances,
        paths=paths,
        pictures={chart.name: _pictures(chart.name, figures) for chart in charts},
        caveats=caveats(experiment, by_problem),
        facts=facts_of(experiment, runs),
        hyperparameters=hyperparameters_of(experiment),
        reasons=reasons_of(runs),
        networks=networks_of(experiment),
        command=str(experiment.get("command") or hints.command("sweep", name)) + _rounds(experiment),
        command_of_page=hints.command("plots", results=tables.folder.parent),
        toml=str(experiment.get("toml") or ""),
    )


def _rounds(experiment: dict[str, Any]) -> str:
    """Return the options that add the same seeds in rounds, as a comment; "" without rounds."""
    looks = experiment.get("looks") or []
    return f"  # with --until decided --most-seeds {looks[-1]}" if looks else ""


def _pictures(chart: str, figures: dict[str, Picture]) -> list[Picture]:
    """Return the figures named after a chart: its name, alone or followed by a number and a slug."""
    pattern = re.compile(rf"{re.escape(chart)}(-\d+-.*)?")
    return [picture for name, picture in figures.items() if pattern.fullmatch(name)]


def _overview(by_problem: dict[str, ProblemResult]) -> list[str]:
    """Return which optimizer ends lowest on which problems, and where all others are shown to be worse.

    If runs of the best optimizer on a problem went wrong, their number is given.
    """
    lowest: dict[str, list[str]] = {}
    clear, unknown, beaten = [], [], set()
    for problem, result in by_problem.items():
        summary = result.comparison.summary
        learnt = summary[statistics.typical_run_learnt(summary)]
        if learnt.empty:
            unknown.append(problem)
            continue
        is_lowest = learnt["final_loss_median"] == learnt["final_loss_median"].iloc[0]
        firsts = learnt[is_lowest].to_dict("records")
        for first in firsts:
            bad = statistics.failures_of(first)
            lowest.setdefault(first["optimizer"], []).append(f"{problem} ({bad})" if bad else problem)
        others = summary[~summary["optimizer"].isin([first["optimizer"] for first in firsts])]
        if len(others) and others["worse_than_best"].fillna(value=False).astype(bool).all():
            clear.append(problem)
            beaten |= {*others["optimizer"]}
    sentences = []
    if lowest:
        most_first = sorted(lowest.items(), key=lambda item: -len(item[1]))
        winners = [f"{label} {_on(where, by_problem)}" for label, where in most_first]
        rest = " On no problem are all other optimizers shown to be worse."
        if clear:
            others_are = "All other optimizers are" if len(beaten) > 1 else f"{min(beaten)} is"
            only = "only " * (len(clear) < len(by_problem))
            rest = f" {others_are} shown to be worse {only}{_on(clear, by_problem)}."
        elif all(len(result.comparison.summary) == 1 for result in by_problem.values()):
            rest = ""
        sentences.append(f"Lowest median loss: {'; '.join(winners)}.{rest}")
    if unknown:
        sentences.append(f"On {join_words(unknown)} no optimizer’s typical run learnt anything.")
    return sentences


def _on(where: list[str], problems: Iterable[str]) -> str:
    """Return "on a and b", or that it is every problem."""
    return (
        "on every problem" if where == list(problems) and len(where) > 1 else f"on {join_words(where)}"
    )
