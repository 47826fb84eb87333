"""Listings for the terminal: what can be run, and the progress of an experiment."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python
from rich import filesize
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from optimlab import hints
from optimlab.errors import printable
from optimlab.experiment.load import ExperimentError, available, load
from optimlab.experiment.registry import hyperparameters
from optimlab.experiment.spec import Experiment
from optimlab.experiment.trials import plugin_pool
from optimlab.formatting import toml_value
from optimlab.optimizers import RANGES, RULES
from optimlab.problems import PROBLEMS
from optimlab.schedules import SCHEDULES, settings_of
from optimlab.storage.store import Store

LISTED = 5  # stale parts that are named


def print_listing(console: Console) -> None:
    """Print all experiments, optimizers, schedules and problems."""
    console.print(_experiments(), "", _optimizers(), "", _schedules(), "", _problems())


def listing() -> dict[str, Any]:
    """Return all experiments, optimizers, schedules and problems as plain values, for JSON."""
    experiments = []
    for file, experiment in _loaded():
        about: dict[str, Any] = {"name": file.stem, "file": str(file)}
        if isinstance(experiment, ExperimentError):
            about |= {"error": str(experiment)}
        else:
            about |= {"title": experiment.title, "runs": experiment.count()}
        experiments.append(about)
    optimizers = [
        {
            "name": name,
            "hyperparameters": {
                parameter: {"default": default, "range": str(RANGES[parameter])}
                for parameter, default in hyperparameters(rule).items()
            },
        }
        for name, rule in RULES.items()
    ]
    problems = [
        {
            "name": name,
            "about": inspect.getdoc(problem).splitlines()[0],  # type: ignore[union-attr]
            "settings": {each.name: to_jsonable_python(each.default) for each in fields(problem)},
        }
        for name, problem in PROBLEMS.items()
    ]
    return {
        "experiments": experiments,
        "optimizers": optimizers,
        "schedules": [settings_of(kind()) for kind in SCHEDULES.values()],
        "problems": problems,
    }


@dataclass(frozen=True)
class State:
    """An experiment and its progress: the number of finished runs, and the stale parts."""

    experiment: Experiment
    folder: Path
    finished: int
    stale: list[Path]

    @property
    def stale_bytes(self) -> int:
        """The size of the stale parts on disk."""
        return sum(path.lstat().st_size for path in self.stale)

    def about(self) -> dict[str, Any]:
        """Return the state as plain values, for JSON."""
        experiment = self.experiment
        return {
            "experiment": experiment.name,
            "title": experiment.title,
            "file": str(experiment.file),
            "folder": str(self.folder),
            "runs": experiment.count(),
            "finished": self.finished,
            "seeds": experiment.seeds.model_dump(),
            "problems": [
                {
                    "label": each.label,
                    "name": each.name,
                    "settings": to_jsonable_python(each.settings),
                    "steps": each.steps,
                    "records": len(each.record_at) + 1,
                }
                for each in experiment.problems
            ],
            "optimizers": [
                {
                    "label": each.label,
                    "rule": each.rule,
                    "hyperparameters": each.hyperparameters,
                    "axes": [axis.name for axis in each.axes],
                    "candidates": [{"number": one.number, **one.settings} for one in each.candidates],
                    "learning_rates": each.learning_rates,
                    "default_learning_rate": each.default_learning_rate,
                    "schedules": each.schedules,
                }
                for each in experiment.optimizers
            ],
            "stale": {"parts": len(self.stale), "bytes": self.stale_bytes},
        }


def state_of(experiment: Experiment, results: Path) -> State:
    """Return how much of an experiment is in the results folder."""
    store = Store(results / experiment.name)
    store.refuse_other(experiment)
    experiment = store.with_rounds(experiment)
    finished = store.finished()
    done = sum(run.run_id in finished for run in experiment.runs())
    return State(experiment, store.folder, done, store.stale(experiment))


def print_state(console: Console, state: State) -> None:
    """Print what an experiment runs, and how many of its runs are finished."""
    experiment, stale = state.experiment, state.stale
    console.print(experiment.title, style="bold", markup=False)
    console.print(
        f"{experiment.file}: {experiment.count():,} runs, {state.finished:,} of them finished",
        markup=False,
    )
    for each in experiment.problems:
        console.print(
            f"{each.label}: {each.steps:,} steps per run, {len(each.record_at):,} of them recorded, "
            "and the start",
            markup=False,
        )
    console.print(f"seeds: {experiment.seeds.tuning} tuning, {experiment.seeds.reporting} reporting")
    if stale:
        prune = hints.optimlab("prune", experiment.argument, state.folder.parent, experiment.changes)
        parts = "1 part" if len(stale) == 1 else f"{len(stale):,} parts"
        hold = "holds" if len(stale) == 1 else "hold"
        console.print(
            f"{parts} ({filesize.decimal(state.stale_bytes)}) {hold} nothing that the "
            f"experiment, as it is now, uses; {prune} deletes {'it' if len(stale) == 1 else 'them'}:",
            markup=False,
        )
        for path in stale[:LISTED]:
            console.print(f"  {printable(str(path))}", markup=False, soft_wrap=True)
        if len(stale) > LISTED:
            console.print(f"  and {len(stale) - LISTED:,} more")
    table = _table("optimizer", "rule", "hyper-parameters", "candidates")
    for setting in experiment.optimizers:
        values = {**setting.hyperparameters, **named_schedules(setting.schedules)}
        others = ", ".join(f"{key} = {toml_value(value)}" for key, value in values.items())
        tried = "learning rates " + " ".join(f"{rate:g}" for rate in setting.learning_rates)
        if len(setting.axes) > 1 or setting.axes[0].is_span:
            axes = ", ".join(axis.name for axis in setting.axes)
            tried = f"{len(setting.candidates):,} of {axes}"
        table.add_row(*map(escape, (setting.label, setting.rule, others or "none", tried)))
    console.print(table)
    for each in experiment.problems:
        if each.network:
            console.print(each.network, markup=False)


def _loaded() -> Iterator[tuple[Path, Experiment | ExperimentError]]:
    """Yield each experiment file with its experiment, or with the error in it."""
    with plugin_pool() as pool:
        for file in available():
            try:
                yield file, load(file, pool)
            except ExperimentError as error:
                yield file, error


def named_schedules(schedules: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return schedules as keys of an optimizer's table: the learning rate's has a separate key."""
    others = {name: each for name, each in schedules.items() if name != "learning_rate"}
    rate = schedules.get("learning_rate")
    return ({"schedule": rate} if rate else {}) | ({"schedules": others} if others else {})


def _experiments() -> Table:
    table = _table("experiment", "runs", "title")
    for file, experiment in _loaded():
        if isinstance(experiment, ExperimentError):
            table.add_row(escape(file.stem), "", f"[red]{escape(str(experiment))}[/red]")
        else:
            table.add_row(file.stem, f"{experiment.count():,}", escape(experiment.title))
    return table


def _optimizers() -> Table:
    table = _table("optimizer", "hyper-parameter", "default", "legal range")
    for name, rule in RULES.items():
        label = name
        for parameter, default in hyperparameters(rule).items():
            table.add_row(label, parameter, f"{default:g}", escape(str(RANGES[parameter])))
            label = ""
    return table


def _schedules() -> Table:
    table = _table("schedule", "as in the experiment file, with defaults")
    for name, kind in SCHEDULES.items():
        table.add_row(name, escape(f"schedule = {toml_value(settings_of(kind()))}"))
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
