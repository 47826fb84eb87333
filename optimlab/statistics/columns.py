"""The columns of the tables of an experiment, of any origin: a file, a database, a DataFrame."""

from __future__ import annotations

from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from optimlab.experiment.runs import LEGAL, RUN_COLUMNS
from optimlab.metrics import metric_of

NEEDED = {
    "runs": ("run_id", "optimizer", "rule", "learning_rate", "seed", "role", "status"),
    "traces": ("run_id", "optimizer", "seed", "step", "epoch"),
}


def as_written(name: str, table: Any) -> pd.DataFrame:
    """Return a table with the types of results: text for labels, numbers for all that is measured.

    Labels may be categories or numbers, numbers may be text, and columns may be in the index.

    Parameters
    ----------
    name : "runs" or "traces".
    table : the table, which is not changed.

    Raises
    ------
    TypeError
        If it is no DataFrame.
    ValueError
        If it lacks a column or has it twice, or if a column has missing or illegal values.
    """
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"{name} must be a pandas DataFrame, got a {type(table).__name__}")
    in_index = [each for each in table.index.names if each in NEEDED[name] and each not in table]
    table = table.reset_index(in_index).reset_index(drop=True)
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise ValueError(f"the table of {name} has two columns {twice[0]}")
    absent = [each for each in NEEDED[name] if each not in table]
    if absent:
        raise ValueError(f"the table of {name} lacks the column {absent[0]}")
    return table.assign(**{str(each): _column(name, table[each]) for each in table})


def _column(name: str, values: pd.Series) -> pd.Series:
    column = str(values.name)
    if RUN_COLUMNS.get(column) is str:
        if column in NEEDED[name] and values.isna().any():
            raise ValueError(f"the table of {name} has a row without {column}")
        values = values.astype(object).astype(str)
        legal = LEGAL.get(column)
        if legal and (wrong := set(values.unique()) - set(legal)):
            raise ValueError(f"{column} must be one of {', '.join(legal)}, got {min(wrong)!r}")
        return values
    is_number = column in (*RUN_COLUMNS, *NEEDED[name]) or metric_of(column.removeprefix("final_"))
    if not is_number or is_numeric_dtype(values):
        return values
    try:
        return pd.to_numeric(values.astype(object))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{column} in the table of {name} must be numbers: {error}") from None
