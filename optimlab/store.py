"""The store: finished runs on disk, and the tidy tables that are made from them.

The durable truth is a folder of Parquet parts, one a stack, each written in whole or not at all. A
part holds the traces of its runs, and in its metadata how each run ended. The tables `runs.csv` and
`traces.parquet` are made from the parts as often as wanted, one part in memory at a time.
"""

from __future__ import annotations

import csv
import itertools
import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from optimlab.errors import UserError
from optimlab.experiment import Experiment, Run
from optimlab.files import write_atomically, write_bytes
from optimlab.stack import FinishedRun, FinishedStack
from optimlab.training import METRICS, PROBLEM_METRICS

FORMAT = 1
METADATA_KEY = b"optimlab"
PARTS_IN_MEMORY = 16

Index = dict[str, tuple[Path, str]]  # run_id → its part and its status


class Store:
    """The results of one experiment.

    Parameters
    ----------
    folder : results/<experiment>; made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts = folder / "parts"
        self._read_part = lru_cache(PARTS_IN_MEMORY)(_read_part)

    def write_part(self, stack: FinishedStack) -> None:
        """Put a finished stack on disk, in whole or, when that raises OSError, not at all."""
        self.parts.mkdir(parents=True, exist_ok=True)
        self._read_part.cache_clear()  # a part of the same runs may be replaced
        runs = {"format": FORMAT, "runs": [asdict(run) for run in stack.runs]}
        metadata = {METADATA_KEY: json.dumps(runs).encode()}
        table = pa.table(stack.traces).replace_schema_metadata(metadata)
        name = sha256("".join(run.run_id for run in stack.runs).encode()).hexdigest()[:24]
        write_atomically(
            self.parts / f"{name}.parquet",
            lambda path: pq.write_table(table, path, compression="zstd", write_page_checksum=True),
        )

    def finished(self) -> dict[str, Path]:
        """Return run_id → part of every run on disk that need not run again: all but failed ones."""
        return {run_id: path for run_id, (path, status) in self._index().items() if status != "failed"}

    def manifest(self) -> dict[str, Any]:
        """Return what experiment.json holds; nothing where it is not there or is garbled."""
        try:
            content = json.loads((self.folder / "experiment.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def write_tables(self, experiment: Experiment, manifest: dict[str, Any]) -> dict[str, int]:
        """Make runs.csv, traces.parquet and experiment.json from the parts; return runs by status.

        Rows stand in the experiment's order, whatever order the runs finished in.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
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

        def write_runs(path: Path) -> None:
            with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow([*RUN_COLUMNS, *names])
                writer.writerows(rows())

        write_atomically(self.folder / "runs.csv", write_runs)
        write_atomically(
            self.folder / "traces.parquet", lambda path: self._write_traces(experiment, index, path)
        )
        self._write_params(experiment, index, self.folder / "params.parquet")
        manifest = {**manifest, "runs_finished": sum(counts.values()), "statuses": counts}
        text = json.dumps(manifest, indent=2, ensure_ascii=False)
        write_bytes(self.folder / "experiment.json", f"{text}\n".encode())
        return counts

    def _write_traces(self, experiment: Experiment, index: Index, path: Path) -> None:
        names = [name for setting in experiment.problems for name in setting.problem.extra_metrics]
        extra = list(dict.fromkeys(names))
        schema = pa.schema([*TRACE_SCHEMA, *(pa.field(name, pa.float64()) for name in extra)])
        small = {"use_byte_stream_split": [*METRICS, *extra], "use_dictionary": WHOSE}  # by a third
        with pq.ParquetWriter(path, schema, compression="zstd", **small) as writer:
            for group in self._groups(experiment, index):
                writer.write_table(group.traces(schema))

    def _write_params(self, experiment: Experiment, index: Index, path: Path) -> None:
        """Write the parameters of the runs that record them; remove the file where none does."""
        if not experiment.record_params:
            path.unlink(missing_ok=True)
            return
        dtype = np.result_type(*(setting.problem.dtype for setting in experiment.problems))
        params = pa.field("params", pa.list_(pa.from_numpy_dtype(dtype)))
        schema = pa.schema([*(TRACE_SCHEMA.field(name) for name in [*WHOSE, "step"]), params])

        def write(path: Path) -> None:
            with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=WHOSE) as writer:
                for group in self._groups(experiment, index):
                    kept = group.only([run for run in group.runs if run.keeps_params])
                    if kept.runs:
                        writer.write_table(kept.traces(schema))

        write_atomically(path, write)

    def _groups(self, experiment: Experiment, index: Index) -> Iterator[Group]:
        """Yield the finished runs in the experiment's order, as many at once as share a part."""
        found = (run for run in experiment.runs() if run.run_id in index)
        for path, runs in itertools.groupby(found, lambda run: index[run.run_id][0]):
            ends, traces = self._read_part(path)
            yield Group(list(runs), ends, traces)

    def _index(self) -> Index:
        """Return run_id → (part, status), by the parts' metadata alone. A success beats a failure."""
        index: Index = {}
        for path in sorted(self.parts.glob("*.parquet")):
            for run in _read_metadata(path):
                known = index.get(run.run_id)
                if known is None or known[1] == "failed":
                    index[run.run_id] = (path, run.status)
        return index


RUN_COLUMNS = [
    *(
        "run_id",
        "problem",
        "optimizer",
        "rule",
        "learning_rate",
        "seed",
        "role",
        "status",
        "reason",
        "steps",
    ),
    *(f"final_{name}" for name in PROBLEM_METRICS),
]
WHOSE = ["run_id", "problem", "optimizer", "learning_rate", "seed", "role"]
TRACE_SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("problem", pa.string()),
        ("optimizer", pa.string()),
        ("learning_rate", pa.float64()),
        ("seed", pa.int64()),
        ("role", pa.string()),
        ("step", pa.int64()),
        ("epoch", pa.float64()),
        *((name, pa.float64()) for name in METRICS),
    ]
)


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
        tables = []
        starts = self.all_traces["run"].to_numpy().searchsorted(range(len(self.place) + 1))
        for run in self.runs:
            place = self.place[run.run_id]
            rows = self.all_traces.slice(starts[place], starts[place + 1] - starts[place])
            whose = (run.run_id, run.problem, run.optimizer, run.learning_rate, run.seed, run.role)
            columns = [pa.repeat(value, len(rows)) for value in whose]
            columns += [
                rows[name] if name in rows.column_names else pa.nulls(len(rows))  # another problem's
                for name in schema.names[len(whose) :]
            ]
            tables.append(pa.table(columns, names=schema.names).cast(schema))
        return pa.concat_tables(tables)


def _read_metadata(path: Path) -> list[FinishedRun]:
    """Return how the runs of a part ended; none, with a warning, where the file is no sound part."""
    try:
        content = json.loads(pq.read_schema(path).metadata[METADATA_KEY])
        return [FinishedRun(**run) for run in content["runs"]] if content["format"] == FORMAT else []
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        warnings.warn(f"{path} is not a sound part and is left out: {error}", stacklevel=1)
        return []


def _read_part(path: Path) -> tuple[list[FinishedRun], pa.Table]:
    try:
        return _read_metadata(path), pq.read_table(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} is damaged; delete it and sweep again: {error}") from error


def _cell(value: Any) -> Any:
    """Return a value as it stands in a CSV file: nothing for None and NaN, no lone carriage return.

    Python writes that without quotes, and other programs take it for the end of the line.
    """
    if isinstance(value, str):
        return value.replace("\r", "\\r")
    return "" if value is None or value != value else value
