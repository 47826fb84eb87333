"""From finished tables to results/report.html: read, count, draw, write."""

from __future__ import annotations

import base64
import gzip
import json
import warnings
from dataclasses import replace
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from optimlab import looks, statistics
from optimlab.files import write_bytes
from optimlab.report.article import article_section
from optimlab.report.charts import Chart, draw_charts
from optimlab.report.figures import StaticFigure, draw_figures
from optimlab.report.paths import PathsReport, report_paths
from optimlab.report.section import Section, write_section, write_several
from optimlab.report.tables import Tables, find_experiments, read_tables
from optimlab.wording import join_words


def write_report(results: Path, experiments: list[str] | None = None) -> Path:
    """Write results/report.html, and beside each experiment's tables its summary.csv and figures.

    Parameters
    ----------
    results : the folder of results, one folder an experiment in it.
    experiments : which ones; without, every one that has a runs.csv.

    Returns
    -------
    The path of the page.

    Raises
    ------
    NothingToReport
        If there is no table of runs, or one that cannot be read.
    """
    tables = [read_tables(folder) for folder in find_experiments(results, experiments)]
    labels = [label for each in tables for label in _labels(each)]
    styles = looks.looks(list(dict.fromkeys(labels)))
    sections = [_report(each, styles) for each in tables]
    page = results / "report.html"
    write_bytes(page, render(sections).encode())
    return page


def _labels(tables: Tables) -> list[str]:
    """Return the optimizers that ran, in the order of the experiment's file."""
    ran = list(pd.unique(tables.runs["optimizer"]))
    listed = [label for label in tables.experiment.get("optimizers") or {} if label in set(ran)]
    return list(dict.fromkeys(listed + ran))


def _report(tables: Tables, styles: dict[str, looks.Look]) -> Section:
    """Write the numbers and figures of one experiment, and return its section of the page."""
    own = {label: styles[label] for label in _labels(tables)}
    paths = report_paths(tables.runs, tables.traces, tables.params, tables.experiment, own)
    if len(_problems(tables)) > 1:
        return _report_several(tables, paths, own)
    comparison = statistics.compare_optimizers(tables.runs, tables.traces, _defaults(tables))
    summary = comparison.summary
    problem = tables.experiment.get("problem") or {}
    unit = "nats" if problem.get("name") == "digits" else ""
    charts = draw_charts(comparison, tables.runs, tables.traces, own, unit)
    article = article_section(tables.folder.name, tables.traces, tables.experiment)
    pictures = draw_figures(tables.runs, tables.traces, summary, own, unit)
    drawings: list[Chart | StaticFigure] = [*charts, *(article.figures if article else [])]
    pictures |= paths.pictures
    for drawn in drawings:
        if f"{drawn.name}.png" not in pictures:
            pictures |= drawn.files()
    written = _tables(comparison) | paths.tables
    _write(tables.folder, written, pictures)
    section = write_section(
        tables.folder.name,
        tables.experiment,
        tables.runs,
        comparison,
        charts,
        ["runs.csv", "traces.parquet", *written, "figures"],
        article,
        paths,
        own,
    )
    if section.warnings:
        at_edge = [end.optimizer for end in section.warnings]
        warnings.warn(
            f"{tables.folder.name}: {join_words(at_edge)} chose a learning rate at the end "
            "of the grid; the page has the lines that widen it",
            stacklevel=2,
        )
    return section


def _report_several(tables: Tables, paths: PathsReport, styles: dict[str, looks.Look]) -> Section:
    """Report an experiment of several problems: each is a comparison of its own."""
    comparisons = {}
    for label in _problems(tables):
        runs = tables.runs[tables.runs["problem"] == label]
        traces = tables.traces[tables.traces["problem"] == label]
        comparisons[label] = statistics.compare_optimizers(runs, traces, _defaults(tables))
    found = {label: _tables(each) for label, each in comparisons.items()}
    written = {
        name: pd.concat(
            [table.assign(problem=label) for label, each in found.items() if len(table := each[name])]
            or [next(iter(found.values()))[name].assign(problem="")],
            ignore_index=True,
        )
        for name in next(iter(found.values()))
    }
    for table in written.values():
        table.insert(0, "problem", table.pop("problem"))
    written |= paths.tables
    _write(tables.folder, written, paths.pictures)
    files = ["runs.csv", "traces.parquet", *written, "figures"]
    return write_several(
        tables.folder.name, tables.experiment, tables.runs, comparisons, files, paths, styles
    )


def _tables(comparison: statistics.Comparison) -> dict[str, pd.DataFrame]:
    """Return the tables of a comparison: the name of the file → its rows."""
    return {
        "summary.csv": comparison.summary,
        "comparisons.csv": comparison.pairs,
        "targets.csv": comparison.targets,
        "profiles.csv": comparison.profiles,
        "budget.csv": comparison.budget,
    }


def _problems(tables: Tables) -> list[str]:
    """Return the labels of the problems that have runs; tables of an older sweep name none."""
    if "problem" not in tables.runs or "problem" not in tables.traces:
        return []
    return [str(label) for label in pd.unique(tables.runs["problem"].dropna())]


def _write(folder: Path, tables: dict[str, pd.DataFrame], pictures: dict[str, bytes]) -> None:
    """Write an experiment's tables and figures."""
    for name, table in tables.items():
        write_bytes(folder / name, table.to_csv(index=False).encode())
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    for name, data in pictures.items():
        write_bytes(figures / name, data)
    for path in [*figures.glob("rates-*"), *figures.glob("paths-*"), *figures.glob("plane.*")]:
        if path.name not in pictures:  # of an optimizer that is no longer in the experiment
            path.unlink()


def _defaults(tables: Tables) -> dict[str, float]:
    """Return optimizer → its rule's own learning rate, where the sweep noted one."""
    optimizers = tables.experiment.get("optimizers") or {}
    rates = {label: (about or {}).get("default_learning_rate") for label, about in optimizers.items()}
    return {label: float(rate) for label, rate in rates.items() if isinstance(rate, int | float)}


def render(sections: list[Section]) -> str:
    """Return the page as HTML; everything that comes from outside is escaped."""
    environment = Environment(
        loader=PackageLoader("optimlab", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"sortable": _sortable, "packed": _packed, "csp": _csp, "trusted": Markup}
    own = resources.files("optimlab.report").joinpath("page.js").read_text(encoding="utf-8")
    has_charts = any(section.charts or section.paths.charts for section in sections)
    titles = [section.title for section in sections]
    sections = [
        replace(section, title=f"{section.title} ({section.name})")
        if titles.count(section.title) > 1
        else section
        for section in sections
    ]
    library = vl_convert.javascript_bundle() if has_charts else ""  # type: ignore[call-arg]
    scripts = [script for script in (library, own) if script]
    return environment.get_template("template.html.j2").render(sections=sections, scripts=scripts)


def _sortable(value: Any) -> str:
    """Return what a cell is sorted by as JavaScript reads it; what is not known comes last."""
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return "Infinity"
    return "Infinity" if value == np.inf else "-Infinity" if value == -np.inf else f"{value}"


def _packed(value: Any) -> str:
    """Return a value as JSON, compressed: gzip in base64, the same every time."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _csp(script: str) -> Markup:
    """Return what allows this very script to run, and no other."""
    return Markup(f"'sha256-{base64.b64encode(sha256(script.encode()).digest()).decode()}'")  # noqa: S704
