"""The store: finished runs on disk, and the tidy tables made from them.

The primary data is a folder of Parquet parts, one per stack, each written atomically. A part that has
changed since is never used: the sweep sets it aside and does its runs again. The tables can be made from
the parts at any time, with a few parts in memory at once.
"""

from __future__ import annotations

import io
import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from hashlib import file_digest
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from optimlab.errors import UserError, printable
from optimlab.experiment.runs import FinishedRun, FinishedStack, Run
from optimlab.experiment.spec import Experiment
from optimlab.files import HOLDER, LOCK, EntryError, experiment_folder, only_writer, refuse_held
from optimlab.messages import warn
from optimlab.storage.environment import computing, describe_computing
from optimlab.storage.manifest import MANIFEST, Computed, Manifest, read_manifest
from optimlab.storage.parts import (
    PART_NAME,
    Notes,
    columns_of,
    digest_of,
    is_sound,
    part_of,
    read_notes,
    read_part,
)
from optimlab.storage.surface import SURFACE
from optimlab.storage.tables import TABLES, Group, tables_of, write_groups

PARTS_IN_MEMORY = 16
LARGEST_MANIFEST = 50_000_000  # bytes

Index = dict[str, "Location"]  # run_id → where it is, and how it ended


class DamagedPartError(UserError):
    """A part that is not as a sweep wrote it."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} has changed since it was written; the next sweep sets it aside")


class Store:
    """The results of one experiment.

    Parameters
    ----------
    folder : results/<experiment>; created when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts = folder / "parts"
        self.damaged = self.parts / "damaged"
        self._own = experiment_folder(folder)
        self._parts = self._own.folder("parts")
        self._damaged = self._parts.folder("damaged")
        self._read_part = lru_cache(PARTS_IN_MEMORY)(self._decoded_part)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lock the results for writing by this process alone, and tidy up after one that was killed.

        Raises
        ------
        UserError
            If another process holds the lock, or the folder holds files but no results.
        """
        self._refuse_foreign()
        with only_writer(self._own):
            self._parts.remove_temporaries()
            for name in (*TABLES, SURFACE, MANIFEST):
                self._own.remove_temporaries(name)
            yield

    def refuse_held(self) -> None:
        """Raise UserError if another process is writing here."""
        refuse_held(self._own)

    def is_marked(self) -> bool:
        """Return whether the folder is recognizably ours: a whole experiment.json, or a sound part."""
        manifest = self.manifest()
        if manifest is not None and manifest.is_whole():
            return True
        try:
            return any(self._is_sound(name) for name in self._part_names())
        except (EntryError, PermissionError):  # "parts" is a link or a file, or not ours to read
            return False

    def size(self) -> tuple[int, int]:
        """Return the number of files of the results, and their bytes."""
        return self._own.size()

    def clear(self) -> None:
        """Delete all results, if the folder is recognizably ours.

        Raises
        ------
        UserError
            If something in it is a link.
        """
        if not self.is_marked():
            return
        self._own.refuse_links()
        mark_last = sorted(self._own.names(), key=lambda name: name == MANIFEST)
        for name in mark_last:  # so that what a kill leaves is recognizably ours
            if name not in (LOCK, HOLDER):
                self._own.delete(name)

    def delete(self) -> None:
        """Delete all results and their folder; raise what `held` and `clear` raise."""
        with self.held():
            self.clear()
            self._own.delete(LOCK)
        self._own.remove_if_empty()

    def _refuse_foreign(self) -> None:
        """Raise UserError if the folder holds files, but none of ours."""
        ours = [name for name in self._parts.names() if PART_NAME.fullmatch(name) or name == "damaged"]
        if ours or self.is_marked():
            return
        known = {LOCK, HOLDER} | ({"parts"} if not self._parts.names() else set())
        others = [n for n in self._own.names() if n not in known and not n.endswith(".tmp")]
        if others:
            raise UserError(
                f"{self.folder} holds files that are not optimlab results, such as {others[0]}: "
                "name another folder with --results FOLDER, or move them away"
            )

    def with_rounds(self, experiment: Experiment) -> Experiment:
        """Return the experiment with the seeds and looks that a sweep in rounds has added here."""
        manifest = self.manifest()
        if experiment.looks or manifest is None or not manifest.looks:
            return experiment
        seeds = max(experiment.seeds.reporting, manifest.looks[-1])
        looks = tuple(manifest.looks)
        looks = looks if seeds in looks else (*looks, seeds)
        return experiment.with_rounds(seeds, looks)

    def write_part(self, stack: FinishedStack) -> None:
        """Write a finished stack to disk atomically: if OSError is raised, nothing is written."""
        self._parts.create()
        name, content = part_of(stack)
        self._parts.write(name, content)
        of_same_runs = f"{name.partition('-')[0]}-*.parquet"  # which failed before
        for other in self._parts.names(of_same_runs):
            if other != name:
                self._parts.delete(other, even_link=True)

    def take(self, other: Store) -> tuple[int, list[Path]]:
        """Copy the parts of other results, except those whose runs have all finished here.

        Returns
        -------
        How many parts were copied, and the damaged ones, which were not.
        """
        copied, damaged = 0, []
        finished = set(self.finished())
        self._parts.create()
        for name in other._part_names():
            try:
                content = other._sound_content(name)
                runs = {run.run_id for run in read_notes(content).runs}
            except ValueError:
                damaged.append(other.parts / name)
                continue
            if not runs <= finished:
                self._parts.write(name, content)
                copied += 1
        return copied, damaged

    def set_aside_damaged(self, experiment: Experiment) -> None:
        """Move damaged parts to parts/damaged/, with a warning; their runs count as unfinished.

        A part with runs of the experiment is damaged, too, if its columns are not those that its problem
        records.

        Raises
        ------
        OSError
            If a part cannot be read or moved, which says nothing about its content.
        """
        columns = {setting.label: columns_of(setting) for setting in experiment.problems}
        runs = {run.run_id: run for run in experiment.runs()}
        for name in self._part_names():
            try:
                notes, traces = self._decoded_part(name)
                wanted = [runs[end.run_id] for end in notes.runs if end.run_id in runs]
                names = set(traces.column_names)
                if any(names - {"params"} != columns[run.problem] for run in wanted) or (
                    "params" not in names and any(run.keeps_params for run in wanted)
                ):
                    raise DamagedPartError(self.parts / name)
            except DamagedPartError:
                self._damaged.create()
                targets = (f"{name}{f'.{n}' if n else ''}" for n in itertools.count())
                target = next(each for each in targets if not self._damaged.exists(each))
                self._parts.move(name, self._damaged, target)
                text = (
                    f"{self.parts / name} has changed since it was written: it is now "
                    f"{self.damaged / target}, and its runs are done again"
                )
                warn(text)

    def finished(self) -> dict[str, Path]:
        """Return run_id → part for every run on disk that need not run again: all but failed ones."""
        return {
            run_id: self.parts / location.part
            for run_id, location in self._index().items()
            if location.status != "failed"
        }

    def read(
        self, runs: Iterable[Run]
    ) -> Iterator[tuple[Run, FinishedRun, dict[str, Any], dict[str, str]]]:
        """Yield each of the given runs that is on disk: how it ended, its traces, what computed it."""
        index = self._index()
        for run in runs:
            if run.run_id in index:
                notes, traces = self._read_part(index[run.run_id].part)
                position = next(n for n, end in enumerate(notes.runs) if end.run_id == run.run_id)
                rows = traces.filter(pc.equal(traces["run"], position)).drop_columns("run")
                columns = {name: rows[name].to_numpy() for name in rows.column_names}
                yield run, notes.runs[position], columns, notes.computed_by

    def stale(self, experiment: Experiment) -> list[Path]:
        """Return the parts that hold no run of the experiment as it is now."""
        return [self.parts / name for name in self._stale_names(experiment)]

    def prune(self, experiment: Experiment) -> list[Path]:
        """Delete the stale parts and those that were set aside; return what was deleted.

        Tables that need none of them stay valid.
        """
        stale, damaged = self._stale_names(experiment), self._damaged.names()
        manifest, before = self.manifest(), self.digest_of_parts()
        for name in stale:
            self._parts.delete(name, even_link=True)
        if self._parts.exists(self._damaged.path.name):
            self._parts.delete(self._damaged.path.name)
        was_current = stale and manifest and manifest.parts == before
        if manifest and was_current and self.count_finished(manifest.runs()) == manifest.runs_finished:
            update = {"parts": self.digest_of_parts()}
            self._own.write(MANIFEST, manifest.model_copy(update=update).content())
        return [self.parts / name for name in stale] + [self.damaged / name for name in damaged]

    def manifest(self) -> Manifest | None:
        """Return the content of experiment.json; None if it is missing or garbled."""
        try:
            return read_manifest(self._own.read(MANIFEST, LARGEST_MANIFEST))
        except (OSError, ValueError, EntryError):
            return None

    def refuse_other(self, experiment: Experiment) -> None:
        """Raise UserError if the results belong to another experiment file that still exists."""
        manifest = self.manifest()
        if manifest is None or not manifest.file:
            return
        other = Path(os.path.normpath(self.folder.resolve() / manifest.file))
        try:
            is_other = other.is_file() and not other.samefile(experiment.file)
        except (OSError, ValueError):  # the path cannot even be looked up
            return
        if is_other:
            raise UserError(
                printable(
                    f"{self.folder} holds the results of {other}, but {experiment.file.resolve()} is "
                    "another file. Rename one of the two, or give one a separate folder: --results"
                )
            )

    def digest_of_parts(self) -> str:
        """Return a digest of all parts: of their names, which contain the digests of their contents."""
        return digest_of("\n".join(self._part_names()).encode())

    def tables(self) -> dict[str, bytes]:
        """Return the tables on disk: name → content."""
        return {name: self._own.read(name) for name in TABLES if self._own.exists(name)}

    def surface(self) -> bytes | None:
        """Return the surface file on disk, if any; see `optimlab.storage.surface`."""
        return self._own.read(SURFACE) if self._own.exists(SURFACE) else None

    def write_surface(self, content: bytes) -> None:
        """Write the surface file to disk."""
        self._own.write(SURFACE, content)

    def computed_otherwise(self, experiment: Experiment) -> Counter[str]:
        """Return the libraries and kernels, other than those here, that computed runs → how many."""
        index, here = self._index(), computing()
        locations = [index[run.run_id] for run in experiment.runs() if run.run_id in index]
        others = [each.computed_by for each in locations if each.computed_by not in ({}, here)]
        return Counter(map(describe_computing, others))

    def count_finished(self, runs: Iterable[Run]) -> int:
        """Return how many of the given runs are in the parts."""
        index = self._index()
        return sum(run.run_id in index for run in runs)

    def write_tables(self, manifest: Manifest) -> Manifest:
        """Make the tables and experiment.json from the parts, and return the latter.

        Rows are in the experiment's order, whatever order the runs finished in. experiment.json is
        written last, with a digest of each table, so that a mix of old and new tables is detected. Where
        there is none, it is written first, too: tables alone do not show that the folder is ours.
        """
        self._own.create()
        if not self._own.exists(MANIFEST):
            self._own.write(MANIFEST, manifest.content())
        index, digest_of_parts = self._index(), self.digest_of_parts()
        names = tables_of(manifest)
        if "params.parquet" not in names:
            for each in ("params.parquet", SURFACE):
                if self._own.exists(each):
                    self._own.delete(each)
        with ExitStack() as open_files:
            files = {name: open_files.enter_context(self._own.writing(name)) for name in names}
            write_groups(files, manifest, self._groups(manifest, index))
        digests = {}
        for name in names:
            with self._own.open(name) as file:
                digests[name] = file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        ends = [index[run.run_id] for run in manifest.runs() if run.run_id in index]
        statuses = Counter(end.status for end in ends)
        computed = Counter(tuple(end.computed_by.items()) for end in ends)
        manifest = manifest.model_copy(
            update={
                "runs_finished": len(ends),
                "statuses": dict(statuses),
                "computed": [Computed(by=dict(by), runs=runs) for by, runs in computed.items()],
                "parts": digest_of_parts,
                "tables": digests,
            }
        )
        self._own.write(MANIFEST, manifest.content())
        return manifest

    def made_again(self, manifest: Manifest) -> dict[str, bytes]:
        """Make the tables from the parts in memory; return name → content."""
        files = {name: io.BytesIO() for name in tables_of(manifest)}
        write_groups(files, manifest, self._groups(manifest, self._index()))
        return {name: file.getvalue() for name, file in files.items()}

    def _groups(self, manifest: Manifest, index: Index) -> Iterator[Group]:
        """Yield the finished runs in the experiment's order, grouped while they share a part."""
        finished = (run for run in manifest.runs() if run.run_id in index)
        for name, runs in itertools.groupby(finished, lambda run: index[run.run_id].part):
            notes, traces = self._read_part(name)
            yield Group(list(runs), notes.runs, traces)

    def _index(self) -> Index:
        """Return run_id → location, from the sound parts. A success takes precedence over a failure."""
        index: Index = {}
        for name in self._part_names():
            try:
                notes = read_notes(self._sound_content(name))
            except ValueError:
                continue
            for run in notes.runs:
                known = index.get(run.run_id)
                if known is None or known.status == "failed":
                    index[run.run_id] = Location(name, run.status, notes.computed_by)
        return index

    def _is_sound(self, name: str) -> bool:
        try:
            self._sound_content(name)
        except ValueError:
            return False
        return True

    def _part_names(self) -> list[str]:
        return self._parts.names("*.parquet")

    def _stale_names(self, experiment: Experiment) -> list[str]:
        """Return the names of the stale parts, in order; not of those that a sweep writes meanwhile."""
        names, index = self._part_names(), self._index()
        used = {index[run.run_id].part for run in experiment.runs() if run.run_id in index}
        return [name for name in names if name not in used]

    def _sound_content(self, name: str) -> bytes:
        """Return the content of a part; raise ValueError if it has changed or cannot be read."""
        try:
            content = self._parts.read(name)
        except (EntryError, FileNotFoundError) as error:
            raise ValueError(str(error)) from None
        if not is_sound(name, content):
            raise ValueError("its digest differs")
        return content

    def _decoded_part(self, name: str) -> tuple[Notes, pa.Table]:
        """Return the notes of a part and its traces; raise DamagedPartError if it is damaged."""
        try:
            return read_part(self._sound_content(name))
        except ValueError:
            raise DamagedPartError(self.parts / name) from None


class Location(NamedTuple):
    """A run on disk: the name of its part, how it ended, and what computed it."""

    part: str
    status: str
    computed_by: dict[str, str]
