"""The tables of an experiment: their columns and types, declared once, and how to read them back.

Labels, rules and reasons are text, whatever they look like: "1", "01", "nan" and "true" are labels.
"""

from __future__ import annotations

from collections.abc import Collection
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from optimlab.experiment.runs import RUN_COLUMNS
from optimlab.metrics import metric_of
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
