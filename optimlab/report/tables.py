"""Reading a folder of results: its tables and its experiment.json, checked before they are used."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ValidationError

from optimlab import hints, statistics
from optimlab.errors import UserError
from optimlab.files import Folder, experiment_folder
from optimlab.messages import warn
from optimlab.store import LARGEST_MANIFEST
from optimlab.tables import TEXTS, read_records, read_runs

KEYS = ["run_id", "optimizer", "learning_rate", "seed", "role"]
SPLITS = ("train", "validation", "test")
METRICS = [f"{split}_{metric}" for split in SPLITS for metric in ("loss", "accuracy")]
ROLES = ("tuning", "reporting")


class NothingToReport(UserError):  # noqa: N818 - it is no error of the program
    """There are no tables to report, or they cannot be read; the message says which and what to do."""


@dataclass(frozen=True)
class Tables:
    """What a folder of results holds: its tables, and its experiment.json.

    `params` is None where no parameters were recorded.
    """

    folder: Path
    runs: pd.DataFrame
    traces: pd.DataFrame
    params: pd.DataFrame | None
    experiment: dict[str, Any]


class Sweep(BaseModel):
    """Of the last sweep: how many runs it did, in how many seconds."""

    runs: int = 0
    seconds: float = 0


class AboutProblem(BaseModel):
    """Of one of the problems: its name and settings."""

    problem: dict[str, Any]


class About(BaseModel):
    """What experiment.json says, as far as the page uses it; all of it may be missing."""

    title: str | None = None
    description: str | None = None
    problem: dict[str, Any] | None = None
    problems: dict[str, AboutProblem] | None = None
    steps: int | None = None
    steps_per_epoch: float | None = None
    stuck_loss: float | None = None
    optimizers: dict[str, dict[str, Any]] | None = None
    runs_expected: int | None = None
    runs_finished: int | None = None
    last_sweep: Sweep | None = None
    environment: dict[str, Any] | None = None
    network: str | None = None
    command: str | None = None
    toml: str | None = None


def find_experiments(results: Path, experiments: list[str] | None = None) -> list[Path]:
    """Return the folders to report, `digits` first, then by name; or the named ones in their order.

    Raises
    ------
    NothingToReport
        If there is none, or a named one has no runs.csv.
    """
    if experiments:
        for name in experiments:
            if not (results / name / "runs.csv").is_file():
                raise NothingToReport(
                    f"{results / name / 'runs.csv'} does not exist: run {_commands(results, name)}"
                )
        return [results / name for name in experiments]
    root = Folder(results)
    folders = [results / name for name in root.names() if _holds_runs(root, name)]
    if not folders:
        raise NothingToReport(f"no results in {results}: run {_commands(results)}")
    return sorted(folders, key=lambda folder: (folder.name != "digits", folder.name))


def _holds_runs(results: Folder, name: str) -> bool:
    """Return whether a folder has a table with a row: a sweep that was stopped at once has none."""
    if (results.path / name).is_symlink() and (results.path / name / "runs.csv").exists():
        warn(f"{results.path / name} is a link, which is not followed; left out")
    folder = results.folder(name)
    if not results.is_folder(name) or not folder.exists("runs.csv"):
        return False
    with folder.open("runs.csv") as file:
        lines = [line for line in itertools.islice(file, 2) if line.strip()]
    is_empty = len(lines) == 1 and lines[0].startswith(b"run_id,")
    if is_empty:
        warn(f"{name}: no run has finished yet; left out")
    return not is_empty


def read_tables(folder: Path) -> Tables:
    """Return the tables of an experiment; columns of metrics that it does not have are empty.

    Raises
    ------
    NothingToReport
        If a table is missing, empty or garbled; the message names the file.
    """
    runs = _read(folder / "runs.csv", [*KEYS, "status"], [f"final_{metric}" for metric in METRICS])
    if runs.empty:
        raise NothingToReport(
            f"{folder / 'runs.csv'} holds no run: run {_commands(folder.parent, folder.name)}"
        )
    for column, legal in (("status", statistics.STATUSES), ("role", ROLES)):
        unknown = sorted(set(runs[column]) - set(legal))
        if unknown:
            raise _garbled(
                folder / "runs.csv", f"{column} must be one of {', '.join(legal)}, got {unknown[0]!r}"
            )
    for column in ("rule", "reason"):
        runs[column] = runs.get(column, "")
    traces = _read(folder / "traces.parquet", [*KEYS, "step", "epoch"], METRICS)
    strangers = traces[KEYS].drop_duplicates().merge(runs[KEYS], how="left", indicator=True)
    if (strangers["_merge"] == "left_only").any():
        raise _garbled(folder / "traces.parquet", "it holds other runs than runs.csv")
    has_params = experiment_folder(folder).exists("params.parquet")
    params = _read(folder / "params.parquet", [*KEYS, "step", "params"], []) if has_params else None
    return Tables(folder, runs, traces, params, _read_about(folder / "experiment.json"))


def _read_about(path: Path) -> dict[str, Any]:
    """Return what experiment.json says; nothing where there is none."""
    folder = experiment_folder(path.parent)
    if not folder.exists(path.name):
        return {}
    try:
        about = json.loads(folder.read(path.name, LARGEST_MANIFEST))
        About.model_validate(about)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise _garbled(path, f"{key}: {first['msg']}" if key else first["msg"]) from error
    except (ValueError, RecursionError) as error:
        raise _garbled(path, str(error)) from error
    return dict(about)


def _read(path: Path, required: list[str], metrics: list[str]) -> pd.DataFrame:
    try:
        content = experiment_folder(path.parent).read(path.name)
        table = read_runs(content) if path.suffix == ".csv" else read_records(content)
        missing = [column for column in required if column not in table]
        if missing:
            raise ValueError(f"it has no column {missing[0]!r}")
    except (OSError, ValueError) as error:
        raise _garbled(path, str(error)) from error
    table = table.reindex(columns=list(dict.fromkeys([*table.columns, *metrics])))
    labels = [name for name in required if name in TEXTS]
    if table[required].isna().any(axis=None) or (table[labels] == "").any(axis=None):
        raise _garbled(path, "a row has no " + ", ".join(required))
    if not (np.isfinite(table["learning_rate"]) & (table["learning_rate"] > 0)).all():
        raise _garbled(path, "a learning rate is no positive number")
    return table


def _garbled(path: Path, why: str) -> NothingToReport:
    commands = _commands(path.parent.parent, path.parent.name)
    return NothingToReport(f"cannot read {path}: {why.strip()}. Remove it, run {commands}")


def _commands(results: Path, experiment: str = "") -> str:
    """Return what to run for tables and a page."""
    sweep, plots = hints.make("sweep", experiment, results), hints.make("plots", results=results)
    return f"`{sweep}`, then `{plots}`"
