"""The tables of an experiment: their columns and types, and how they are written and read back.

Labels, rules and reasons are text, whatever they look like: "1", "01", "nan" and "true" are labels.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from optimlab.experiment.runs import RUN_COLUMNS, FinishedRun, Run
from optimlab.metrics import metric_of
from optimlab.storage.manifest import Manifest
from optimlab.training import METRICS

if TYPE_CHECKING:
    import pandas as pd

RUN_KEYS = ["run_id", "problem", "optimizer", "candidate", "learning_rate", "seed", "role"]
TRACE_SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("problem", pa.string()),
        ("optimizer", pa.string()),
        ("candidate", pa.int64()),
        ("learning_rate", pa.float64()),
        ("seed", pa.int64()),
        ("role", pa.string()),
        ("step", pa.int64()),
        ("epoch", pa.float64()),
        *((name, pa.float64()) for name in METRICS),
    ]
)
TEXTS = [name for name, kind in RUN_COLUMNS.items() if kind is str]
LABELS = ["run_id", "problem", "optimizer", "role", "status"]  # never begin with one of `SIGNS`
NUMBERS = {name: kind for name, kind in RUN_COLUMNS.items() if kind is not str}
QUOTE = "'"
SIGNS = ("=", "+", "-", "@", "\t", QUOTE)  # a spreadsheet would run a text that begins with one
ROWS_IN_A_GROUP = 1 << 17  # of traces.parquet: its bytes must not depend on where parts begin and end
PARAMS_IN_A_GROUP = 1 << 10  # of params.parquet, likewise

Add = Callable[["Group"], None]  # runs to a table


def as_cell(value: Any) -> Any:
    """Return a value as written to a CSV file, from which `read_runs` restores it.

    None and NaN become empty; a text that a spreadsheet would take for a formula is preceded by an
    apostrophe; a lone carriage return is escaped, since Python does not quote it and other programs take
    it for the end of a line.
    """
    if isinstance(value, str):
        return (QUOTE if value.startswith(SIGNS) else "") + value.replace("\r", "\\r")
    return "" if value is None or value != value else value


def write_csv(table: pd.DataFrame) -> bytes:
    """Return a table as CSV, its texts safe from spreadsheets."""
    texts = {str(name): table[name].map(as_cell) for name in table.select_dtypes(["object", "str"])}
    return table.assign(**texts).to_csv(index=False).encode()


def read_runs(content: bytes, numbers: Collection[str] = ()) -> pd.DataFrame:
    """Return runs.csv as a table; a missing text is "", a missing number NaN.

    Parameters
    ----------
    content : the bytes of the file.
    numbers : the hyper-parameters that are numbers; others are text.

    Raises
    ------
    ValueError
        If it is not a CSV file, or a cell does not have the type of its column.
    """
    import pandas as pd  # slow to import

    table = pd.read_csv(BytesIO(content), dtype=str, keep_default_na=False).fillna("")
    types = dict.fromkeys(numbers, float) | NUMBERS
    types |= {name: float for name in map(str, table) if metric_of(name)}
    for name in table.columns.difference([*LABELS, *types]):
        table[name] = table[name].str.removeprefix(QUOTE)
    for name, kind in types.items():
        if name in table:  # pandas' conversion may be wrong in the last bit
            cells = table[name].to_numpy(dtype=object)
            table[name] = np.where(cells == "", "nan", cells).astype(kind)
    return table


def read_records(content: bytes) -> pd.DataFrame:
    """Return traces.parquet or params.parquet as a table.

    Raises
    ------
    ValueError
        If it is not a Parquet file, or a column has the wrong type.
    """
    try:
        table = pq.read_table(pa.BufferReader(content)).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise ValueError(str(error)) from error
    texts = dict.fromkeys(table.columns.intersection(TEXTS), str)
    known = [name for name in table if name in TRACE_SCHEMA.names or metric_of(str(name))]
    numbers = dict.fromkeys(known, float)
    integers = dict.fromkeys(table.columns.intersection(["candidate", "seed"]), int)
    return table.astype(numbers | integers | texts)


class Group:
    """Runs of one part that are consecutive in the experiment's order."""

    def __init__(self, runs: list[Run], ends: Sequence[FinishedRun], traces: pa.Table) -> None:
        self.runs, self.all_ends, self.all_traces = runs, ends, traces
        self.position = {end.run_id: position for position, end in enumerate(ends)}
        self.ends = [(run, ends[self.position[run.run_id]]) for run in runs]

    def only(self, runs: list[Run]) -> Group:
        """Return a group of only the given runs of this one."""
        return Group(runs, self.all_ends, self.all_traces)

    def traces(self, schema: pa.Schema) -> pa.Table:
        """Return the traces of these runs, with the columns that identify the run."""
        starts = self.all_traces["run"].to_numpy().searchsorted(range(len(self.position) + 1))
        positions = np.array([self.position[run.run_id] for run in self.runs])
        lengths = starts[positions + 1] - starts[positions]
        owners = np.repeat(np.arange(len(positions)), lengths)
        rows = np.concatenate([np.arange(starts[each], starts[each + 1]) for each in positions])
        columns = [pa.array([getattr(run, name) for run in self.runs]).take(owners) for name in RUN_KEYS]
        known = self.all_traces.column_names
        columns += [
            self.all_traces[name].take(rows)
            if name in known
            else pa.nulls(len(rows))  # a metric of another problem
            for name in schema.names[len(RUN_KEYS) :]
        ]
        return pa.table(columns, names=schema.names).cast(schema)


# Each table is a context: it begins a file, yields a function that adds a group of runs, and ends it.
@contextmanager
def _runs_csv(manifest: Manifest, file: IO[bytes]) -> Iterator[Add]:
    """Write runs.csv."""
    optimizers = manifest.optimizers
    known = {label: about.values() for label, about in optimizers.items()}
    others = {name for each in known.values() for values in each.values() for name in values}
    names = sorted(others - RUN_COLUMNS.keys())
    text = codecs.getwriter("utf-8")(file, "backslashreplace")
    writer = csv.writer(text, lineterminator="\n")
    extra = [name for about in manifest.problems.values() for name in about.extra_metrics]
    finals = list(dict.fromkeys(f"final_{name}" for name in extra if metric_of(name)))
    columns = [*RUN_COLUMNS, *finals, *names]
    writer.writerow(columns)

    def add(group: Group) -> None:
        for run, end in group.ends:
            about = optimizers[run.optimizer]
            values = {
                **known[run.optimizer][run.candidate],
                **{name: getattr(run, name) for name in RUN_KEYS},
                "rule": about.rule,
                **{name: getattr(end, name) for name in ("status", "reason", "steps")},
                **{f"final_{name}": value for name, value in end.final.items()},
            }
            writer.writerow([as_cell(values.get(name)) for name in columns])

    yield add


@contextmanager
def _traces_parquet(manifest: Manifest, file: IO[bytes]) -> Iterator[Add]:
    """Write traces.parquet."""
    names = [name for about in manifest.problems.values() for name in about.extra_metrics]
    new = dict.fromkeys(name for name in names if name not in TRACE_SCHEMA.names)
    extra = (pa.field(name, pa.float64()) for name in new)
    schema = pa.schema([*TRACE_SCHEMA, *extra])
    with _parquet(schema, ROWS_IN_A_GROUP, file) as add:
        yield add


@contextmanager
def _params_parquet(manifest: Manifest, file: IO[bytes]) -> Iterator[Add]:
    """Write params.parquet, for the runs that record their parameters."""
    dtype = np.result_type(*(about.dtype for about in manifest.problems.values()))
    params = pa.field("params", pa.list_(pa.from_numpy_dtype(dtype)))
    schema = pa.schema([*(TRACE_SCHEMA.field(name) for name in [*RUN_KEYS, "step"]), params])
    with _parquet(schema, PARAMS_IN_A_GROUP, file) as add:

        def add_some(group: Group) -> None:
            if kept := [run for run in group.runs if run.keeps_params]:
                add(group.only(kept))

        yield add_some


@contextmanager
def _parquet(schema: pa.Schema, rows: int, file: IO[bytes]) -> Iterator[Add]:
    """Write a Parquet file in groups of `rows` rows, in encodings that every reader supports."""
    with pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=RUN_KEYS) as writer:
        waiting: list[pa.Table] = []

        def add(group: Group) -> None:
            waiting.append(group.traces(schema))
            while sum(map(len, waiting)) >= rows:
                joined = pa.concat_tables(waiting)
                writer.write_table(joined.slice(0, rows).combine_chunks())
                waiting[:] = [joined.slice(rows)]

        yield add
        if sum(map(len, waiting)):
            writer.write_table(pa.concat_tables(waiting).combine_chunks())


TABLES = {
    "runs.csv": _runs_csv,
    "traces.parquet": _traces_parquet,
    "params.parquet": _params_parquet,
}


def tables_of(manifest: Manifest) -> list[str]:
    """Return the names of the tables that an experiment has."""
    return [name for name in TABLES if name != "params.parquet" or manifest.record_params]


def write_groups(files: Mapping[str, IO[bytes]], manifest: Manifest, groups: Iterable[Group]) -> None:
    """Write tables to files, by name, from all finished runs in order."""
    with ExitStack() as tables:
        adders = [tables.enter_context(TABLES[name](manifest, file)) for name, file in files.items()]
        for group in groups:
            for add in adders:
                add(group)
