"""The store: finished runs on disk, and the tidy tables that are made from them.

The durable truth is a folder of Parquet parts, one a stack, each written in whole or not at all. A
part holds the traces of its runs, and in its metadata how each run ended; its name ends with a digest
of its content, so that one whose bytes have changed is never believed: the sweep sets it aside and
does its runs again. The tables `runs.csv` and `traces.parquet` are made from the parts as often as
wanted, a few parts in memory at a time.
"""

from __future__ import annotations

import codecs
import csv
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from optimlab.errors import UserError
from optimlab.experiment import Experiment, Run
from optimlab.files import HOLDER, LOCK, EntryError, experiment_folder, only_writer
from optimlab.messages import warn
from optimlab.stack import FinishedRun, FinishedStack
from optimlab.tables import RUN_COLUMNS, TRACE_SCHEMA, WHOSE
from optimlab.training import PROBLEM_METRICS

FORMAT = 2
METADATA_KEY = b"optimlab"
PARTS_IN_MEMORY = 16
ROWS_IN_A_GROUP = 1 << 17  # of traces.parquet: its bytes must not tell where parts begin and end
PARAMS_IN_A_GROUP = 1 << 10  # of params.parquet, likewise

PART_NAME = re.compile(r"[0-9a-f]{24}-[0-9a-f]{24}\.parquet")
LARGEST_MANIFEST = 50_000_000  # bytes

Index = dict[str, tuple[str, str]]  # run_id → the name of its part, and its status


class DamagedPartError(UserError):
    """A file among the parts that is not what a sweep wrote."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is not what was written; the next sweep sets it aside")


class Store:
    """The results of one experiment.

    Parameters
    ----------
    folder : results/<experiment>; made when something is written.
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
        """Hold the results for this process alone to write, and tidy up after one that was killed.

        Raises
        ------
        UserError
            When another process holds them, or the folder holds files, but no results.
        """
        self._refuse_foreign()
        with only_writer(self._own):
            self._parts.remove_temporaries()
            for name in ("runs.csv", "traces.parquet", "params.parquet", "experiment.json"):
                self._own.remove_temporaries(name)
            yield

    def is_marked(self) -> bool:
        """Return whether the folder carries our mark: a whole experiment.json, or a sound part."""
        about = self.manifest()
        toml = str(about.get("toml")).encode("utf-8", "surrogatepass")
        return about.get("toml_sha256") == sha256(toml).hexdigest() or any(
            self._is_sound(name) for name in self._part_names()
        )

    def size(self) -> tuple[int, int]:
        """Return how many files the results are, and their bytes."""
        return self._own.size()

    def clear(self) -> None:
        """Delete all results, if the folder carries our mark.

        Raises
        ------
        UserError
            When something in it is a link.
        """
        if not self.is_marked():
            return
        self._own.refuse_links()
        for name in self._own.names():
            if name not in (LOCK, HOLDER):
                self._own.delete(name)

    def delete(self) -> None:
        """Delete all results and their folder; raise what `held` and `clear` raise."""
        with self.held():
            self.clear()
            self._own.delete(LOCK)
        self._own.remove_if_empty()

    def _refuse_foreign(self) -> None:
        """Raise when the folder holds files, but none of ours."""
        ours = [name for name in self._parts.names() if PART_NAME.fullmatch(name) or name == "damaged"]
        if ours or self.is_marked():
            return
        known = {LOCK, HOLDER} | ({"parts"} if not self._parts.names() else set())
        others = [n for n in self._own.names() if n not in known and not n.endswith(".tmp")]
        if others:
            raise UserError(
                f"{self.folder} holds files that are no results of optimlab, such as {others[0]}: "
                "give another folder, --results FOLDER, or move them away"
            )

    def write_part(self, stack: FinishedStack) -> None:
        """Put a finished stack on disk, in whole or, when that raises OSError, not at all."""
        self._parts.create()
        runs = {"format": FORMAT, "runs": [asdict(run) for run in stack.runs]}
        metadata = {METADATA_KEY: json.dumps(runs).encode()}
        table = pa.table(stack.traces).replace_schema_metadata(metadata)
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, compression="zstd")
        content = buffer.getvalue().to_pybytes()
        stem = _digest("".join(run.run_id for run in stack.runs).encode())
        name = f"{stem}-{_digest(content)}.parquet"
        self._parts.write(name, content)
        for other in self._parts.names(f"{stem}-*.parquet"):  # of the same runs, which had failed
            if other != name:
                self._parts.delete(other, even_link=True)

    def set_aside_damaged(self) -> None:
        """Move what is no sound part to parts/damaged/, with a warning; its runs count as not done.

        Raises
        ------
        OSError
            When a part cannot be read or moved, which says nothing of its content.
        """
        for name in self._part_names():
            try:
                self._sound_part(name)
            except DamagedPartError:
                self._damaged.create()
                names = (f"{name}{f'.{n}' if n else ''}" for n in itertools.count())
                target = next(each for each in names if not self._damaged.exists(each))
                self._parts.move(name, self._damaged, target)
                text = (
                    f"{self.parts / name} is not what was written: it is now {self.damaged / target}, "
                    "and its runs are done again"
                )
                warn(text)

    def finished(self) -> dict[str, Path]:
        """Return run_id → part of every run on disk that need not run again: all but failed ones."""
        return {
            run_id: self.parts / name
            for run_id, (name, status) in self._index().items()
            if status != "failed"
        }

    def read(self, runs: Iterable[Run]) -> Iterator[tuple[Run, FinishedRun, dict[str, Any]]]:
        """Yield each of these runs that is on disk: how it ended, and its traces, name → column."""
        index = self._index()
        for run in runs:
            if run.run_id in index:
                ends, traces = self._read_part(index[run.run_id][0])
                place = next(n for n, end in enumerate(ends) if end.run_id == run.run_id)
                rows = traces.filter(pc.equal(traces["run"], place)).drop_columns("run")
                yield run, ends[place], {name: rows[name].to_numpy() for name in rows.column_names}

    def stale(self, experiment: Experiment) -> list[Path]:
        """Return the parts that no table of the experiment, as it is now, is made from."""
        return [self.parts / name for name in self._stale_names(experiment)]

    def prune(self, experiment: Experiment) -> list[Path]:
        """Delete the stale parts, and those that were set aside; return what was deleted."""
        stale, damaged = self._stale_names(experiment), self._damaged.names()
        for name in stale:
            self._parts.delete(name, even_link=True)
        if self._parts.exists(self._damaged.path.name):
            self._parts.delete(self._damaged.path.name)
        return [self.parts / name for name in stale] + [self.damaged / name for name in damaged]

    def manifest(self) -> dict[str, Any]:
        """Return what experiment.json holds; nothing where it is not there or is garbled."""
        try:
            content = json.loads(self._own.read("experiment.json", LARGEST_MANIFEST))
        except (OSError, ValueError, RecursionError, EntryError):
            return {}
        return content if isinstance(content, dict) else {}

    def write_tables(self, experiment: Experiment, manifest: dict[str, Any]) -> dict[str, int]:
        """Make runs.csv, traces.parquet and experiment.json from the parts; return runs by status.

        Rows stand in the experiment's order, whatever order the runs finished in.
        """
        self._own.create()
        counts: dict[str, int] = {}
        names = sorted({name for s in experiment.optimizers for name in s.hyperparameters})
        settings = {s.label: s for s in experiment.optimizers}

        index = self._index()

        def rows() -> Iterator[list[Any]]:
            for group in self._groups(experiment, index):
                for run, end in group.ends:
                    counts[end.status] = counts.get(end.status, 0) + 1
                    setting = settings[run.optimizer]
                    start = [
                        run.run_id,
                        run.problem,
                        run.optimizer,
                        setting.rule,
                        run.learning_rate,
                        run.seed,
                        run.role,
                    ]
                    finals = [_cell(end.final[name]) for name in PROBLEM_METRICS]
                    others = [_cell(setting.hyperparameters.get(name)) for name in names]
                    yield [*start, end.status, _cell(end.reason), end.steps, *finals, *others]

        with self._own.writing("runs.csv") as file:
            text = codecs.getwriter("utf-8")(file, "backslashreplace")
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow([*RUN_COLUMNS, *names])
            writer.writerows(rows())
        with self._own.writing("traces.parquet") as file:
            self._write_traces(experiment, index, file)
        self._write_params(experiment, index)
        manifest = {**manifest, "runs_finished": sum(counts.values()), "statuses": counts}
        about = json.dumps(manifest, indent=2, ensure_ascii=False)
        self._own.write("experiment.json", f"{about}\n".encode())
        return counts

    def _write_traces(self, experiment: Experiment, index: Index, file: BinaryIO) -> None:
        names = [name for setting in experiment.problems for name in setting.problem.extra_metrics]
        extra = list(dict.fromkeys(names))
        schema = pa.schema([*TRACE_SCHEMA, *(pa.field(name, pa.float64()) for name in extra)])
        with pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=WHOSE) as writer:
            tables = (group.traces(schema) for group in self._groups(experiment, index))
            for table in _in_pieces(tables, ROWS_IN_A_GROUP):
                writer.write_table(table)

    def _write_params(self, experiment: Experiment, index: Index) -> None:
        """Write the parameters of the runs that record them; remove the file where none does."""
        if not experiment.record_params:
            if self._own.exists("params.parquet"):
                self._own.delete("params.parquet")
            return
        dtype = np.result_type(*(setting.problem.dtype for setting in experiment.problems))
        params = pa.field("params", pa.list_(pa.from_numpy_dtype(dtype)))
        schema = pa.schema([*(TRACE_SCHEMA.field(name) for name in [*WHOSE, "step"]), params])
        with (
            self._own.writing("params.parquet") as file,
            pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=WHOSE) as writer,
        ):
            groups = (
                group.only([run for run in group.runs if run.keeps_params])
                for group in self._groups(experiment, index)
            )
            tables = (group.traces(schema) for group in groups if group.runs)
            for table in _in_pieces(tables, PARAMS_IN_A_GROUP):
                writer.write_table(table)

    def _groups(self, experiment: Experiment, index: Index) -> Iterator[Group]:
        """Yield the finished runs in the experiment's order, as many at once as share a part."""
        found = (run for run in experiment.runs() if run.run_id in index)
        for name, runs in itertools.groupby(found, lambda run: index[run.run_id][0]):
            ends, traces = self._read_part(name)
            yield Group(list(runs), ends, traces)

    def _index(self) -> Index:
        """Return run_id → (part, status), of the sound parts. A success beats a failure."""
        index: Index = {}
        for name in self._part_names():
            try:
                ends = _ends(self._sound_part(name))
            except DamagedPartError:
                continue
            for run in ends:
                known = index.get(run.run_id)
                if known is None or known[1] == "failed":
                    index[run.run_id] = (name, run.status)
        return index

    def _is_sound(self, name: str) -> bool:
        try:
            self._sound_part(name)
        except DamagedPartError:
            return False
        return True

    def _part_names(self) -> list[str]:
        return self._parts.names("*.parquet")

    def _stale_names(self, experiment: Experiment) -> list[str]:
        """Return the names of the stale parts, in order."""
        index = self._index()
        used = {index[run.run_id][0] for run in experiment.runs() if run.run_id in index}
        return [name for name in self._part_names() if name not in used]

    def _sound_part(self, name: str) -> pa.BufferReader:
        """Return the content of a part, once it is known to be what was written."""
        try:
            content = self._parts.read(name)
        except (EntryError, FileNotFoundError):
            raise DamagedPartError(self.parts / name) from None
        if Path(name).stem.rpartition("-")[2] != _digest(content):
            raise DamagedPartError(self.parts / name)
        return pa.BufferReader(content)

    def _decoded_part(self, name: str) -> tuple[list[FinishedRun], pa.Table]:
        part = self._sound_part(name)
        return _ends(part), pq.read_table(part)


class Group:
    """Runs of one part that follow each other in an experiment."""

    def __init__(self, runs: list[Run], ends: Sequence[FinishedRun], traces: pa.Table) -> None:
        self.runs, self.all_ends, self.all_traces = runs, ends, traces
        self.place = {end.run_id: place for place, end in enumerate(ends)}
        self.ends = [(run, ends[self.place[run.run_id]]) for run in runs]

    def only(self, runs: list[Run]) -> Group:
        """Return these runs of the group alone."""
        return Group(runs, self.all_ends, self.all_traces)

    def traces(self, schema: pa.Schema) -> pa.Table:
        """Return the traces of these runs, with the columns that say whose they are."""
        starts = self.all_traces["run"].to_numpy().searchsorted(range(len(self.place) + 1))
        places = np.array([self.place[run.run_id] for run in self.runs])
        lengths = starts[places + 1] - starts[places]
        owners = np.repeat(np.arange(len(places)), lengths)
        rows = np.concatenate([np.arange(starts[place], starts[place + 1]) for place in places])
        columns = [pa.array([getattr(run, name) for run in self.runs]).take(owners) for name in WHOSE]
        known = self.all_traces.column_names
        columns += [
            self.all_traces[name].take(rows)
            if name in known
            else pa.nulls(len(rows))  # another problem's
            for name in schema.names[len(WHOSE) :]
        ]
        return pa.table(columns, names=schema.names).cast(schema)


def _ends(part: pa.BufferReader) -> list[FinishedRun]:
    """Return how the runs of a part ended; none where a later version wrote it."""
    content = json.loads(pq.read_schema(part).metadata[METADATA_KEY])
    return [FinishedRun(**run) for run in content["runs"]] if content["format"] == FORMAT else []


def _in_pieces(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Yield the tables' rows in tables of so many rows each, wherever the given ones begin and end."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= rows:
            joined = pa.concat_tables(waiting)
            for start in range(0, len(joined) - rows + 1, rows):
                yield joined.slice(start, rows).combine_chunks()
            waiting = [joined.slice(len(joined) - len(joined) % rows)]
    if sum(map(len, waiting)):
        yield pa.concat_tables(waiting).combine_chunks()


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()[:24]


def _cell(value: Any) -> Any:
    """Return a value as it stands in a CSV file: nothing for None and NaN, no lone carriage return.

    Python writes that without quotes, and other programs take it for the end of the line.
    """
    if isinstance(value, str):
        return value.replace("\r", "\\r")
    return "" if value is None or value != value else value
