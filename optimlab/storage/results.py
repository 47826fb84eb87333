"""Reading a results folder: its tables and its experiment.json, checked before they are used."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from optimlab import hints
from optimlab.errors import UserError, located, printable, reason
from optimlab.experiment.runs import LEGAL, RUN_COLUMNS
from optimlab.files import Folder, HeldError, NotWritableError, experiment_folder
from optimlab.messages import warn
from optimlab.metrics import is_final
from optimlab.optimizers import RANGES
from optimlab.storage.manifest import MANIFEST, Manifest, OlderVersionError, differing, read_manifest
from optimlab.storage.store import LARGEST_MANIFEST, DamagedPartError, Store
from optimlab.storage.surface import surface_of
from optimlab.storage.tables import TEXTS, read_records, read_runs
from optimlab.training import PROBLEM_METRICS

KEYS = ["run_id", "optimizer", "learning_rate", "seed", "role"]


class NothingToReport(UserError):  # noqa: N818 - not an error of the program
    """No tables to report, or unreadable ones; the message says which, and what to do."""


@dataclass(frozen=True)
class Tables:
    """The content of an experiment's results folder: its tables and its experiment.json.

    `params` is None if no parameters were recorded; `surface`, the loss around their paths, is None if
    the sweep has not computed it.
    """

    folder: Path
    runs: pd.DataFrame
    traces: pd.DataFrame
    params: pd.DataFrame | None
    experiment: dict[str, Any]
    surface: pd.DataFrame | None = None


def read_experiments(results: Path, experiments: list[str] | None = None) -> list[Tables]:
    """Return the tables of all experiments, `digits` first, then by name; or of those named, in order.

    Results that cannot be read are left out with a warning, unless they are named.

    Raises
    ------
    NothingToReport
        If there are none, or named ones cannot be read.
    """
    if experiments:
        return [read_tables(results / name) for name in experiments]
    tables, errors = [], []
    for name in sorted(Folder(results).names(), key=lambda name: (name != "digits", name)):
        try:
            if _holds_results(results, name):
                tables.append(read_tables(results / name))
        except UserError as error:
            errors.append(str(error))
    if not tables:
        nothing = f"no results in {results}: {_sweep_and_plot(results)}"
        raise NothingToReport("\n  ".join(errors) or nothing)
    for text in errors:
        warn(f"left out: {text}")
    return tables


def _holds_results(results: Path, name: str) -> bool:
    """Return whether an entry of the results folder holds results, and is not a link."""
    names = ("runs.csv", MANIFEST, "parts")
    if (results / name).is_symlink():
        if any((results / name / each).exists() for each in names):
            warn(f"{results / name} is a link, and links are not followed: it is left out")
        return False
    folder = Folder(results).folder(name)
    return Folder(results).is_folder(name) and any(folder.exists(each) for each in names)


def read_tables(folder: Path) -> Tables:
    """Return the tables of an experiment; columns of metrics that it does not have are empty.

    The tables are consistent: if they are not those that experiment.json names, or are older than the
    parts, they are made again first, unless a sweep is writing there. This never waits for a sweep.

    Raises
    ------
    NothingToReport
        If a table is missing, empty or garbled; the message names the file.
    """
    store = Store(folder)
    try:
        manifest, contents = _consistent(store)
    except OSError as error:
        raise _garbled(Path(error.filename or folder), reason(error)) from error
    if "runs.csv" not in contents:
        raise NothingToReport(f"{folder / 'runs.csv'} does not exist: {_again(folder)}")
    runs = _runs(folder / "runs.csv", contents, manifest.numbers())
    traces = _traces(folder / "traces.parquet", contents, runs)
    params = surface = None
    if "params.parquet" in contents:
        params = _checked(folder / "params.parquet", contents, [*KEYS, "step", "params"], [])
        surface = surface_of(store.surface(), contents)
        if surface is None and len(manifest.problems) == 1:
            sweep = hints.command("sweep", folder.name, folder.parent)
            warn(f"{folder.name}: the loss around its paths is missing; `{sweep}` computes it")
    return Tables(folder, runs, traces, params, manifest.known(), surface)


def _consistent(store: Store) -> tuple[Manifest, dict[str, bytes]]:
    """Return experiment.json and the tables, made again if they do not belong together."""
    manifest, contents = _read_about(store.folder), store.tables()
    if _is_current(store, manifest, contents):
        return manifest, contents
    try:
        with store.held():
            manifest, contents = _read_about(store.folder), store.tables()
            if not _is_current(store, manifest, contents):
                manifest, contents = _made_again(store, manifest, contents)
    except (HeldError, NotWritableError, DamagedPartError, OSError) as error:
        plots = hints.command("plots", results=store.folder.parent)
        why = located(error) if isinstance(error, OSError) else str(error)
        if differing(manifest, contents):
            raise NothingToReport(f"{why}; then run `{plots}` again") from error
        warn(f"{store.folder.name}: the tables are those of the last sweep: {why}")
    return manifest, contents


def _is_current(store: Store, manifest: Manifest, contents: dict[str, bytes]) -> bool:
    """Return whether the tables are those of the manifest, and as new as the parts."""
    if not manifest.tables:  # written by an older version or another program: nothing to compare with
        return "runs.csv" in contents or not manifest.cells
    return not differing(manifest, contents) and manifest.parts == store.digest_of_parts()


def _made_again(
    store: Store, manifest: Manifest, contents: dict[str, bytes]
) -> tuple[Manifest, dict[str, bytes]]:
    """Make the tables from the parts, unless the parts lack runs that the tables had."""
    wrong = [store.folder / name for name in differing(manifest, contents)]
    count, before = store.count_finished(manifest.runs()), manifest.runs_finished or 0
    if wrong and (count < before or not count):
        raise NothingToReport(
            f"{wrong[0]} has changed since it was written, and the parts hold {count:,} of its "
            f"{before:,} runs: {_again(store.folder)}"
        )
    if count < before:  # the missing runs have been pruned since
        return manifest, contents
    manifest = store.write_tables(manifest)
    if wrong:
        warn(f"{wrong[0]} had changed since it was written: all tables are made from the parts again")
    elif count > before:
        warn(f"{store.folder.name}: its tables are made again, with {count - before:,} more runs")
    return manifest, store.tables()


def _read_about(folder: Path) -> Manifest:
    """Return the content of experiment.json; an empty manifest if there is none."""
    own = experiment_folder(folder)
    if not own.exists(MANIFEST):
        if own.exists("parts") and not own.exists("runs.csv"):
            raise NothingToReport(f"{folder} has finished runs but no tables: {_again(folder)}")
        return Manifest()
    try:
        return read_manifest(own.read(MANIFEST, LARGEST_MANIFEST))
    except OlderVersionError as error:
        text = f"cannot read {folder / MANIFEST}: {error}. To make it again, {_again(folder)}"
        raise NothingToReport(text) from error
    except ValueError as error:
        raise _garbled(folder / MANIFEST, str(error)) from error


def _checked(
    path: Path,
    contents: dict[str, bytes],
    required: list[str],
    metrics: Collection[str],
    numbers: Collection[str] = (),
) -> pd.DataFrame:
    """Return a table read from its bytes, after checking its required columns."""
    try:
        if path.name not in contents:
            raise ValueError("it does not exist")
        content = contents[path.name]
        table = read_runs(content, numbers) if path.suffix == ".csv" else read_records(content)
        missing = [column for column in required if column not in table]
        if missing:
            raise ValueError(f"it has no column {missing[0]!r}")
    except ValueError as error:
        raise _garbled(path, str(error)) from error
    table = table.reindex(columns=list(dict.fromkeys([*table.columns, *metrics])))
    labels = [name for name in required if name in TEXTS]
    if table[required].isna().any(axis=None) or (table[labels] == "").any(axis=None):
        raise _garbled(path, "a row has no " + ", ".join(required))
    if not (np.isfinite(table["learning_rate"]) & (table["learning_rate"] > 0)).all():
        raise _garbled(path, "a learning rate is not a positive number")
    whose = [name for name in required if name in (*KEYS, "step")]
    if table.duplicated(whose).any():
        raise _garbled(path, f"two rows have the same {', '.join(whose)}")
    return table


def _runs(path: Path, contents: dict[str, bytes], numbers: Collection[str]) -> pd.DataFrame:
    """Return the runs, after checking that there are some, and their statuses and roles."""
    finals = [f"final_{metric}" for metric in PROBLEM_METRICS]
    runs = _checked(path, contents, [*KEYS, "status"], finals, numbers)
    known = RUN_COLUMNS.keys() | RANGES.keys()  # a plug-in's hyper-parameters have any names
    runs = runs[[name for name in runs if name in known or is_final(str(name))]]
    if runs.empty:
        nothing = f"no run has finished yet: {path} holds no run"
        raise NothingToReport(f"{path.parent.name}: {nothing}: {_again(path.parent)}")
    for column, legal in LEGAL.items():
        unknown = sorted(set(runs[column]) - set(legal))
        if unknown:
            raise _garbled(path, f"{column} must be one of {', '.join(legal)}, got {unknown[0]!r}")
    for column in ("rule", "reason"):
        runs[column] = runs.get(column, "")
    return runs


def _traces(path: Path, contents: dict[str, bytes], runs: pd.DataFrame) -> pd.DataFrame:
    """Return the traces of the runs, after checking that they are theirs, and of all that ended."""
    traces = _checked(path, contents, [*KEYS, "step", "epoch"], PROBLEM_METRICS)
    traced = traces[KEYS].drop_duplicates()
    if (traced.merge(runs[KEYS], how="left", indicator=True)["_merge"] == "left_only").any():
        raise _garbled(path, "it holds other runs than runs.csv")
    ended = runs.loc[runs["status"].isin(["ok", "stuck"]), "run_id"]
    if not ended.isin(traced["run_id"]).all():
        raise _garbled(path, "it lacks runs that runs.csv has")
    return traces


def _garbled(path: Path, why: str) -> NothingToReport:
    hint = f"Remove it, {_again(path.parent)}"
    return NothingToReport(printable(f"cannot read {path}: {why.strip()}. {hint}"))


def _again(folder: Path) -> str:
    """Return the commands that make the results of an experiment and a page, as text."""
    return _sweep_and_plot(folder.parent, folder.name)


def _sweep_and_plot(results: Path, experiment: str = "") -> str:
    """Return the commands that make tables and a page, as text."""
    sweep, plots = hints.command("sweep", experiment, results), hints.command("plots", results=results)
    return f"run `{sweep}`, then `{plots}`"
