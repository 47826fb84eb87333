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
from optimlab.report.charts import draw_charts
from optimlab.report.figures import Files, draw_figures
from optimlab.report.paths import report_paths
from optimlab.report.section import Contest, Section, write_section
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
    article = article_section(tables.folder.name, tables.traces, tables.experiment)
    contests = {
        problem: _contest(runs, traces, tables.experiment, own)
        for problem, (runs, traces) in _problems(tables).items()
    }
    pictures: Files = {}
    if len(contests) == 1:  # of several problems there would be too many to look at
        (contest,) = contests.values()
        unit = _unit(tables.experiment)
        pictures |= draw_figures(tables.runs, tables.traces, contest.comparison.summary, own, unit)
        for chart in contest.charts:
            if f"{chart.name}.png" not in pictures:
                pictures |= chart.files()
    for figure in article.figures if article else []:
        pictures |= figure.files()
    written = _tables({problem: contest.comparison for problem, contest in contests.items()})
    written |= paths.tables
    _write(tables.folder, written, pictures | paths.pictures)
    section = write_section(
        tables.folder.name,
        tables.experiment,
        tables.runs,
        contests,
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


def _contest(
    runs: pd.DataFrame, traces: pd.DataFrame, experiment: dict[str, Any], styles: dict[str, looks.Look]
) -> Contest:
    """Compare the optimizers on one problem, and draw its charts."""
    comparison = statistics.compare_optimizers(runs, traces, _defaults(experiment))
    charts = draw_charts(comparison, runs, traces, styles, _unit(experiment))
    return Contest(runs, comparison, charts)


def _tables(comparisons: dict[str, statistics.Comparison]) -> dict[str, pd.DataFrame]:
    """Return the tables of comparisons, problem → its own: the name of the file → its rows."""
    parts = {
        problem: {
            "summary.csv": comparison.summary,
            "comparisons.csv": comparison.pairs,
            "targets.csv": comparison.targets,
            "profiles.csv": comparison.profiles,
            "budget.csv": comparison.budget,
        }
        for problem, comparison in comparisons.items()
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


def _problems(tables: Tables) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """Return problem → its runs and traces; tables of an older sweep name none, and have one."""
    runs, traces = tables.runs, tables.traces
    if "problem" not in runs or "problem" not in traces or runs["problem"].nunique() < 2:
        return {"": (runs, traces)}
    return {
        str(label): (own, traces[traces["problem"] == label])
        for label, own in runs.groupby("problem", sort=False)
    }


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


def _defaults(experiment: dict[str, Any]) -> dict[str, float]:
    """Return optimizer → its rule's own learning rate, where the sweep noted one."""
    optimizers = experiment.get("optimizers") or {}
    rates = {label: (about or {}).get("default_learning_rate") for label, about in optimizers.items()}
    return {label: float(rate) for label, rate in rates.items() if isinstance(rate, int | float)}


def _unit(experiment: dict[str, Any]) -> str:
    """Return the unit of the loss, "" if it has none."""
    return "nats" if (experiment.get("problem") or {}).get("name") == "digits" else ""


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
    titles = [section.title for section in sections]
    sections = [
        replace(section, title=f"{section.title} ({section.name})")
        if titles.count(section.title) > 1
        else section
        for section in sections
    ]
    library = vl_convert.javascript_bundle() if any(section.has_charts for section in sections) else ""  # type: ignore[call-arg]
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
