"""Listings for the terminal: what can be run, and the progress of an experiment."""

from __future__ import annotations

import inspect
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
from optimlab.experiment.trials import TrialWorker
from optimlab.formatting import toml_value
from optimlab.optimizers import RANGES, RULES
from optimlab.problems import PROBLEMS
from optimlab.schedules import SCHEDULES, settings_of
from optimlab.storage.store import Store

LISTED = 5  # stale parts that are named


def listing() -> dict[str, Any]:
    """Return all experiments, optimizers, schedules and problems as plain values, for JSON."""
    experiments = []
    with TrialWorker() as worker:
        for file in available():
            about: dict[str, Any] = {"name": file.stem, "file": str(file)}
            try:
                experiment = load(file, worker)
                about |= {"title": experiment.title, "runs": experiment.count()}
            except ExperimentError as error:
                about |= {"error": str(error)}
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


def print_listing(console: Console) -> None:
    """Print what `listing` returns."""
    everything = listing()
    experiments = _table("experiment", "runs", "title")
    for each in everything["experiments"]:
        if "error" in each:
            experiments.add_row(escape(each["name"]), "", f"[red]{escape(each['error'])}[/red]")
        else:
            experiments.add_row(each["name"], f"{each['runs']:,}", escape(each["title"]))
    optimizers = _table("optimizer", "hyper-parameter", "default", "legal range")
    for each in everything["optimizers"]:
        label = each["name"]
        for name, about in each["hyperparameters"].items():
            optimizers.add_row(label, name, f"{about['default']:g}", escape(about["range"]))
            label = ""
    schedules = _table("schedule", "as in the experiment file, with defaults")
    for each in everything["schedules"]:
        schedules.add_row(each["name"], escape(f"schedule = {toml_value(each)}"))
    problems = _table("problem", "settings and defaults")
    for each in everything["problems"]:
        settings = [
            f"# {name} is optional" if default is None else f"{name} = {toml_value(default)}"
            for name, default in each["settings"].items()
        ]
        problems.add_row(each["name"], escape("\n".join([each["about"], *settings])))
    console.print(experiments, "", optimizers, "", schedules, "", problems)


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
    experiment = state.experiment
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
    if state.stale:
        _print_stale(console, state)
    table = _table("optimizer", "rule", "hyper-parameters", "candidates")
    for setting in experiment.optimizers:
        schedules = dict(setting.schedules)
        rate = schedules.pop("learning_rate", None)  # has a separate key
        values = setting.hyperparameters | ({"schedule": rate} if rate else {})
        values |= {"schedules": schedules} if schedules else {}
        others = ", ".join(f"{key} = {toml_value(value)}" for key, value in values.items())
        tried = "learning rates " + " ".join(f"{rate:g}" for rate in setting.learning_rates)
        if len(setting.axes) > 1 or setting.axes[0].is_span:
            axes = ", ".join(axis.name for axis in setting.axes)
            tried = f"{len(setting.candidates):,} of {axes}"
        table.add_row(*map(escape, (setting.label, setting.rule, others or "none", tried)))
    console.print(table)
    for each in experiment.problems:
        if each.network:
            of = f" of {each.label}" if len(experiment.problems) > 1 else ""
            console.print(f"network{of}:\n{each.network}", markup=False)


def _print_stale(console: Console, state: State) -> None:
    """Print which parts an experiment no longer uses, and what deletes them."""
    experiment, count = state.experiment, len(state.stale)
    prune = hints.optimlab("prune", experiment.argument, state.folder.parent, experiment.changes)
    parts, hold, them = ("1 part", "holds", "it") if count == 1 else (f"{count:,} parts", "hold", "them")
    console.print(
        f"{parts} ({filesize.decimal(state.stale_bytes)}) {hold} nothing that the experiment, as it is "
        f"now, uses; {prune} deletes {them}:",
        markup=False,
    )
    for path in state.stale[:LISTED]:
        console.print(f"  {printable(str(path))}", markup=False, soft_wrap=True)
    if count > LISTED:
        console.print(f"  and {count - LISTED:,} more")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column)
    return table
