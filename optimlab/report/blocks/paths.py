"""How the optimizers move: the texts, charts, tables and figures for the page and its folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from optimlab.report.block import Block
from optimlab.report.blocks.landscapes import (
    PathsPart,
    PlanePart,
    describe_paths,
    describe_plane,
    paths_section,
    summary_table,
)
from optimlab.report.blocks.paths_chart import landscapes_chart, plane_chart
from optimlab.report.figures.static import Drawings, drawing, slug
from optimlab.report.style import SeriesStyle
from optimlab.report.vega import Chart, Palette


@dataclass(frozen=True)
class PathsReport:
    """The report on paths; empty if there are none.

    Attributes
    ----------
    section : texts and a table for the page.
    charts : charts for the page.
    tables : file name → the table to write as CSV.
    figures : name → static figure.
    landscapes : the paths on each landscape.
    plane : the paths on the plane through a network's loss surface.
    """

    section: Block | None = None
    charts: list[Chart] = field(default_factory=list)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    figures: Drawings = field(default_factory=dict)
    landscapes: list[PathsPart] = field(default_factory=list)
    plane: PlanePart | None = None


def report_paths(
    runs: pd.DataFrame,
    traces: pd.DataFrame,
    params: pd.DataFrame | None,
    surface: pd.DataFrame | None,
    experiment: dict[str, Any],
    styles: dict[str, SeriesStyle],
) -> PathsReport:
    """Return the report on the paths of an experiment.

    Parameters
    ----------
    runs, traces, params : its tables; params is None unless parameters were recorded.
    surface : the loss around the paths of a network; None if there is none.
    experiment : its experiment.json; that of an older sweep may lack ``problems``.
    styles : optimizer → how it is drawn.
    """
    about = experiment.get("problems") or {}
    problems = {label: each.get("problem") or {} for label, each in about.items()}
    if not problems or "problem" not in runs or "problem" not in traces:
        return PathsReport()
    parts = describe_paths(runs, traces, problems)
    plane = None
    if params is not None and surface is not None:
        plane = describe_plane(runs, traces, params, surface)
    section, palette = paths_section(parts), Palette(styles)
    charts = [*landscapes_chart(parts, palette), *(plane_chart(plane, palette) if plane else [])]
    figures: Drawings = {}
    landscapes = [part for part in parts if part.landscape]
    for number, part in enumerate(landscapes, 1):
        name = f"paths-{number}-{slug(part.problem, 'problem')}"
        figures |= drawing(name, PathsPart.figure, part, styles)
    if plane:
        figures |= drawing("plane", PlanePart.figure, plane, styles)
    tables = {"paths.csv": summary_table(parts)} if parts else {}
    return PathsReport(section, charts, tables, figures, landscapes, plane)
