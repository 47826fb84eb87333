"""Merging results of one experiment that were computed separately, such as shards of a job array."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from optimlab import hints
from optimlab.errors import UserError
from optimlab.experiment.spec import FOLDER
from optimlab.messages import warn
from optimlab.storage.environment import describe_computing
from optimlab.storage.manifest import MANIFEST, LastSweep, Manifest, StepCost, relative
from optimlab.storage.store import Store


@dataclass(frozen=True)
class Merged:
    """The outcome for one experiment.

    Attributes
    ----------
    experiment : its name.
    folder : the folder of the merged results.
    copied : the number of parts copied.
    finished, expected : the number of finished runs, and of all runs.
    damaged : parts that had changed since they were written, and were left out.
    """

    experiment: str
    folder: Path
    copied: int
    finished: int
    expected: int
    damaged: list[Path]


def merge(sources: list[Path], into: Path) -> list[Merged]:
    """Merge results into a results folder, which keeps its own runs.

    Every part is read whole and compared with the digest in its name before it is copied. The tables are
    made from the parts, so they equal those of a single sweep byte for byte, however the runs were
    divided.

    Parameters
    ----------
    sources : results folders, or folders of one experiment; nothing is written there.
    into : the results folder to merge into.

    Raises
    ------
    UserError
        If a folder holds no results, all are those to merge into, or results of one experiment have
        different runs because its file or the code differed; nothing is merged then.
    """
    stores_of: dict[str, list[Store]] = defaultdict(list)
    for source in sources:
        folders = _experiments(source)
        if not folders:
            raise UserError(f"{source} holds no results")
        for folder in folders:
            if not _is_same(folder, into / folder.name):
                stores_of[folder.name].append(Store(folder))
    if not stores_of:
        raise UserError(f"{sources[0]} is the folder to merge into: there is nothing to merge")
    manifests = {name: _agreed(stores, Store(into / name)) for name, stores in stores_of.items()}
    return [_merge(stores, Store(into / name), manifests[name]) for name, stores in stores_of.items()]


def _merge(stores: list[Store], target: Store, manifest: Manifest) -> Merged:
    """Merge the results of one experiment; `manifest` is that of the merged results."""
    copied = 0
    damaged: list[Path] = []
    with target.held():
        for store in stores:
            more, wrong = target.take(store)
            copied, damaged = copied + more, damaged + wrong
        done = target.write_tables(manifest)
    for path in damaged:
        warn(f"{path} has changed since it was written, and was left out")
    if len(done.computed) > 1:
        kinds = "; ".join(describe_computing(each.by) for each in done.computed)
        warn(f"{target.folder}: runs were computed by different libraries or kernels: {kinds}")
    return Merged(
        target.folder.name,
        target.folder,
        copied,
        done.runs_finished or 0,
        done.runs_expected or 0,
        damaged,
    )


def _experiments(source: Path) -> list[Path]:
    """Return the experiments' folders in a results folder, or the folder itself if it is one."""
    if (source / MANIFEST).is_file():
        return [source]
    return [path.parent for path in sorted(source.glob(f"*/{MANIFEST}"))]


def _is_same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)


def _agreed(stores: list[Store], target: Store) -> Manifest:
    """Return the manifest of the merged results; refuse results that belong to different runs."""
    known = target.manifest()
    manifests = [(store.folder, _manifest(store)) for store in stores]
    everything = [*([(target.folder, known)] if known else []), *manifests]
    where, first = everything[0]
    for folder, manifest in everything[1:]:
        for aspect in ("seeds", "cells", "record_params"):
            if getattr(manifest, aspect) != getattr(first, aspect):
                what = "seeds" if aspect == "seeds" else "runs"
                raise UserError(
                    f"{folder} has other {what} than {where}: the experiment file, the code or a "
                    "library differed. Sweep both with the same versions, or keep them apart"
                )
    sweeps = [manifest.last_sweep for _, manifest in everything if manifest.last_sweep]
    runs, seconds = sum(each.runs for each in sweeps), max(each.seconds for each in sweeps)
    costs: dict[str, dict[str, StepCost]] = {}
    for _, manifest in reversed(everything):
        for problem, measured in manifest.costs.items():
            costs.setdefault(problem, {}).update(measured)
    update: dict[str, object] = {"last_sweep": LastSweep(runs=runs, seconds=seconds), "costs": costs}
    if where != target.folder and first.file:
        file = Path(os.path.normpath(where.resolve() / first.file))
        is_by_name = file.parent == FOLDER.resolve()
        shown = file.stem if is_by_name else os.path.relpath(file)
        command = hints.command("sweep", shown, target.folder.parent, first.changes)
        update |= {"file": relative(file, target.folder), "command": command}
    return first.model_copy(update=update)


def _manifest(store: Store) -> Manifest:
    manifest = store.manifest()
    if manifest is None or not manifest.cells:
        raise UserError(
            f"{store.folder / MANIFEST} is garbled, or of an older version: sweep there again"
        )
    return manifest
