"""Listings for the terminal: what there is to run, and how far an experiment is."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path

from rich import filesize
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from optimlab import hints
from optimlab.errors import printable
from optimlab.experiment.load import ExperimentError, available, find, load, plugin_pool
from optimlab.experiment.registry import hyperparameters
from optimlab.formatting import toml_value
from optimlab.optimizers import RANGES, RULES
from optimlab.problems import PROBLEMS
from optimlab.storage.store import Store

LISTED = 5  # of parts that are stale


def print_listing(console: Console) -> None:
    """Print all experiments, optimizers and problems."""
    console.print(_experiments(), "", _optimizers(), "", _problems())


def print_experiment(console: Console, name: str, results: Path) -> None:
    """Print what an experiment runs, and how many of its runs are on disk."""
    experiment = load(find(name))
    store = Store(results / experiment.name)
    store.refuse_other(experiment)
    experiment = store.with_rounds(experiment)
    finished = store.finished()
    done = sum(run.run_id in finished for run in experiment.runs())
    console.print(experiment.title, style="bold", markup=False)
    console.print(
        f"{experiment.file}: {experiment.count():,} runs, {done:,} of them finished", markup=False
    )
    for each in experiment.problems:
        console.print(
            f"{each.label}: {each.steps:,} steps per run, {len(each.record_at):,} of them recorded, "
            "and the start",
            markup=False,
        )
    console.print(f"seeds: {experiment.tuning_seeds} tuning, {experiment.reporting_seeds} reporting")
    stale = store.stale(experiment)
    if stale:
        size = sum(path.lstat().st_size for path in stale)
        console.print(
            f"{len(stale):,} parts ({filesize.decimal(size)}) hold nothing that the experiment uses "
            f"as it is now; {hints.optimlab('prune', name, results)} deletes them:",
            markup=False,
        )
        for path in stale[:LISTED]:
            console.print(f"  {printable(str(path))}", markup=False, soft_wrap=True)
        if len(stale) > LISTED:
            console.print(f"  and {len(stale) - LISTED:,} more")
    table = _table("optimizer", "rule", "hyper-parameters", "learning rates")
    for setting in experiment.optimizers:
        others = ", ".join(
            f"{key} = {toml_value(value)}" for key, value in setting.hyperparameters.items()
        )
        rates = " ".join(f"{rate:g}" for rate in setting.learning_rates)
        table.add_row(*map(escape, (setting.label, setting.rule, others or "none", rates)))
    console.print(table)
    for each in experiment.problems:
        summary = getattr(each.problem, "summary", None)
        if summary:
            console.print(summary(), markup=False)


def _experiments() -> Table:
    table = _table("experiment", "runs", "title")
    with plugin_pool() as pool:
        for file in available():
            try:
                experiment = load(file, pool)
                table.add_row(file.stem, f"{experiment.count():,}", escape(experiment.title))
            except ExperimentError as error:
                table.add_row(escape(file.stem), "", f"[red]{escape(str(error))}[/red]")
    return table


def _optimizers() -> Table:
    table = _table("optimizer", "hyper-parameter", "default", "legal range")
    for name, rule in RULES.items():
        label = name
        for parameter, default in hyperparameters(rule).items():
            table.add_row(label, parameter, f"{default:g}", escape(str(RANGES[parameter])))
            label = ""
    return table


def _problems() -> Table:
    table = _table("problem", "settings and defaults")
    for name, problem in PROBLEMS.items():
        about = inspect.getdoc(problem).splitlines()[0]  # type: ignore[union-attr]
        settings = [
            f"# {each.name} is optional"
            if each.default is None
            else f"{each.name} = {toml_value(each.default)}"
            for each in fields(problem)
        ]
        table.add_row(name, escape("\n".join([about, *settings])))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column)
    return table
