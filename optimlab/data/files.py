"""Data in files: CSV, Parquet and NPZ. Errors name the row and column.

A column whose cells are all numbers is one feature; any other, booleans included, is categorical and
gives one 0/1 feature per category. A target that is text, or whose loss needs classes, is a class.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from optimlab.data.dataset import DataError, Dataset, Task

Array = np.ndarray

SUFFIXES = (".csv", ".parquet", ".npz")
LARGEST_FILE = 500_000_000
MOST_CATEGORIES = 100  # of a column of text; more are probably names or numbers, not categories
FEW_CATEGORIES = 10  # always allowed; beyond that, a column may have at most half as many as rows
DATE = re.compile(r"\d{4}-\d\d?-\d\d?([T ].*)?|\d\d?[./]\d\d?[./]\d{4}")
MISSING = {"", "NA", "N/A", "NaN", "nan", "null", "NULL", "?"}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
WITH_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Reading:
    """How to read a file.

    Attributes
    ----------
    targets : the columns to predict.
    ignored : columns to ignore.
    group : a column of groups that `optimlab.data.Split` keeps together; it is not a feature.
    missing : how to treat a row that lacks a value: "refuse", "drop", or "mean", which fills it.
    separator, decimal : of a CSV file: the character between cells, and the decimal mark.
    task : the task that the loss is for; None to infer it from the target.
    """

    targets: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    group: str | None = None
    missing: Literal["refuse", "drop", "mean"] = "refuse"
    separator: str = ","
    decimal: str = "."
    task: Task | None = None


@dataclass(frozen=True)
class Column:
    """A column: numbers (N,) with NaN for missing values, or texts (N,) with None."""

    cells: Array

    @property
    def is_text(self) -> bool:
        return self.cells.dtype == object

    @property
    def gaps(self) -> Array:
        """Where a value is missing (N,)."""
        if self.is_text:
            return np.array([value is None for value in self.cells], bool)
        return np.isnan(self.cells)

    def categories(self) -> list[str]:
        """Return the distinct values as texts, sorted."""
        if self.is_text:
            return sorted({value for value in self.cells if value is not None})
        return [_shown(value) for value in np.unique(self.cells[~np.isnan(self.cells)]).tolist()]

    def codes(self, categories: list[str]) -> Array:
        """Return the index of each value's category (N,); −1 where it is missing."""
        code = {name: number for number, name in enumerate(categories)}
        texts = self.cells if self.is_text else [_shown(value) for value in self.cells.tolist()]
        return np.array([code.get(text, -1) for text in texts], np.intp)


def _shown(value: float) -> str:
    """Return a number with all its digits, so that different numbers have different texts."""
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e16 else repr(value)


def read_file(file: Path, reading: Reading) -> Dataset:
    """Return the data set in a file.

    Raises
    ------
    DataError
        If it cannot be read, or a cell is invalid.
    """
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise DataError("data", f"{file.name} has more than {LARGEST_FILE // 10**6:,} MB")
        content = file.read_bytes()
    except FileNotFoundError:
        raise DataError("data", f"there is no file {file}") from None
    except OSError as error:
        raise DataError("data", f"{file} cannot be read: {error.strerror}") from error
    return _parse(content, file.suffix, reading)


@lru_cache(4)
def _parse(content: bytes, suffix: str, reading: Reading) -> Dataset:
    columns = {".csv": _csv, ".parquet": _parquet, ".npz": _npz}[suffix](content, reading)
    for name, column in columns.items():
        if not column.is_text and np.isinf(column.cells).any():
            row = int(np.argmax(np.isinf(column.cells)))
            raise DataError("data", f"{_at(row, name)}: a number must be finite")
    return _dataset(columns, reading)


def _at(row: int, column: str) -> str:
    return f'row {row + 1:,}, column "{column}"'


# Kinds of files


def _csv(content: bytes, reading: Reading) -> dict[str, Column]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text = f"is not UTF-8 text: {error.reason} at byte {error.start:,}"
        raise DataError("data", text) from error
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=reading.separator, strict=True)
        rows = [[cell.strip() for cell in row] for row in lines if row]
    except csv.Error as error:
        text = f'is not a CSV file with separator = "{reading.separator}": {error}'
        raise DataError("data", text) from error
    if len(rows) < 2:
        raise DataError("data", "must have a line of names, and a line for each sample below it")
    names, *cells = rows
    if len(names) == 1:
        other = next((mark for mark in ";\t,|" if mark in names[0]), None)
        if other and other != reading.separator:
            shown = repr(other).strip("'")
            raise DataError(
                "separator", f'the first line has only one name; is it separator = "{shown}"?'
            )
    _check_names(names)
    for row, cell in enumerate(cells):
        if len(cell) != len(names):
            raise DataError(
                "data",
                f"row {row + 1:,} has {len(cell):,} cells, but the first line has {len(names):,} names",
            )
    return {name: _as_column(name, texts, reading) for name, *texts in zip(names, *cells, strict=True)}


def _as_column(name: str, cells: list[str], reading: Reading) -> Column:
    """Return a column of text cells as numbers, if all of them are."""
    comma = reading.decimal == ","
    plain = [cell.replace(",", ".") if comma and WITH_COMMA.fullmatch(cell) else cell for cell in cells]
    is_gap = np.array([cell in MISSING for cell in cells])
    is_number = np.array([bool(NUMBER.fullmatch(cell)) for cell in plain])
    if (is_gap | is_number).all() and is_number.any():
        return Column(
            np.array([float(c) if n else np.nan for c, n in zip(plain, is_number, strict=True)])
        )
    texts = np.array([None if gap else cell for cell, gap in zip(cells, is_gap, strict=True)], object)
    if name in reading.ignored or name == reading.group:
        return Column(texts)
    known = int((~is_gap).sum())
    commas = [row for row, cell in enumerate(cells) if WITH_COMMA.fullmatch(cell)]
    if not comma and len(commas) + int(is_number.sum()) == known and commas:
        text = f'{_at(commas[0], name)}: "{cells[commas[0]]}" is not a number; is it decimal = ","?'
        raise DataError("decimal", text)
    if is_number.sum() > known / 2:
        row = int(np.argmin(is_number | is_gap))
        text = f'{_at(row, name)}: "{cells[row]}" is not a number, but most of the column is'
        raise DataError("data", text)
    return Column(texts)


def _parquet(content: bytes, reading: Reading) -> dict[str, Column]:
    import pandas as pd
    import pyarrow as pa

    try:
        table = pd.read_parquet(io.BytesIO(content))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError("data", f"is not a Parquet file: {error}") from error
    names = [str(name) for name in table.columns]
    _check_names(names)
    columns = {}
    for name, (_, series) in zip(names, table.items(), strict=True):
        if pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_bool_dtype(series):
            columns[name] = Column(series.to_numpy(np.float64, na_value=np.nan))
        elif all(isinstance(value, str | bool) for value in series.dropna()):
            texts = [None if gap else str(v) for v, gap in zip(series, series.isna(), strict=True)]
            columns[name] = Column(np.array(texts, object))
        elif name not in reading.ignored:
            raise DataError(
                "ignore", f'column "{name}" is of type {series.dtype}: neither numbers nor text'
            )
    return columns


def _npz(content: bytes, reading: Reading) -> dict[str, Column]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            read = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError("data", f"is not an NPZ file of numbers and texts: {error}") from error
    columns: dict[str, Column] = {}
    for name, array in read.items():
        if array.ndim == 0:
            raise DataError("data", f'array "{name}" has no rows')
        flat = array.reshape(len(array), -1)
        for index, values in enumerate(flat.T):
            column = name if array.ndim == 1 or flat.shape[1] == 1 else f"{name}[{index}]"
            if values.dtype.kind in "USb":
                columns[column] = Column(np.array([str(v) or None for v in values.tolist()], object))
            elif values.dtype.kind in "iuf":
                columns[column] = Column(values.astype(np.float64))
            else:
                raise DataError(
                    "data", f'array "{name}" is of type {array.dtype}: neither numbers nor text'
                )
    lengths = {name: len(array) for name, array in read.items()}
    if len(set(lengths.values())) > 1:
        text = ", ".join(f'"{name}" {length:,}' for name, length in lengths.items())
        raise DataError("data", f"all arrays must have the same number of rows; they have: {text}")
    return columns


def _check_names(names: list[str]) -> None:
    for index, name in enumerate(names):
        if not name:
            raise DataError("data", f"column {index + 1} has no name in the first line")
        if name in names[:index]:
            raise DataError("data", f'two columns have the name "{name}"')


# From columns to a data set


def _dataset(columns: Mapping[str, Column], reading: Reading) -> Dataset:
    _check_columns(columns, reading)
    used = {
        name: column
        for name, column in columns.items()
        if name not in (*reading.targets, *reading.ignored, reading.group)
    }
    if not used:
        raise DataError("data", "has no column beside the target to learn from")
    columns, features_of = _without_gaps(columns, used, reading)
    features, names = [], []
    for name, values in _features(features_of):
        names.append(name)
        features.append(values)
    group = {reading.group: columns[reading.group].cells} if reading.group else {}
    targets = {name: columns[name] for name in reading.targets}
    first = targets[reading.targets[0]]
    task = reading.task or ("classification" if first.is_text else "regression")
    if task == "regression":
        for name, column in targets.items():
            if column.is_text:
                text = f'"{name}" is text, such as "{column.cells[0]}", but the loss needs numbers'
                raise DataError("target", text)
        numbers = np.stack([column.cells for column in targets.values()], axis=1)
        return Dataset(
            task, np.stack(features, axis=1), numbers, (), reading.targets, tuple(names), group
        )
    if len(targets) > 1:
        raise DataError("target", "must be one column if classes are predicted")
    classes = first.categories()
    if len(classes) < 2:
        raise DataError("target", f'must have at least two classes; all rows are "{classes[0]}"')
    return Dataset(
        task,
        np.stack(features, axis=1),
        first.codes(classes),
        tuple(classes),
        feature_names=tuple(names),
        groups=group,
    )


def _check_columns(columns: Mapping[str, Column], reading: Reading) -> None:
    there = ", ".join(columns) or "none"
    if not reading.targets:
        raise DataError("target", f"is missing: which column is to be predicted? There are: {there}")
    for index, name in enumerate(reading.targets):
        if name in reading.targets[:index]:
            raise DataError("target", f'names the column "{name}" twice')
        if name in reading.ignored:
            raise DataError("ignore", f'"{name}" is the target')
    keys = [("target", reading.targets), ("ignore", reading.ignored)]
    keys.append(("split.by", (reading.group,) if reading.group else ()))
    for key, names in keys:
        for name in names:
            if name not in columns:
                raise DataError(key, f'there is no column "{name}"; there are: {there}')


def _without_gaps(
    columns: Mapping[str, Column], used: Mapping[str, Column], reading: Reading
) -> tuple[Mapping[str, Column], Mapping[str, Column]]:
    """Return all columns, and those of features, without dropped rows.

    Raises
    ------
    DataError
        If a value is missing that must not be.
    """
    required = {name: columns[name] for name in (*reading.targets, reading.group) if name}
    if reading.missing != "mean":
        required |= used
    if reading.missing == "drop":
        kept = ~np.any([column.gaps for column in required.values()], axis=0)
        if not kept.any():
            raise DataError("missing", "every row lacks a value")
        columns = {name: Column(column.cells[kept]) for name, column in columns.items()}
        return columns, {name: columns[name] for name in used}
    for name, column in required.items():
        gaps = column.gaps
        if gaps.any():
            text = f"{_at(int(np.argmax(gaps)), name)}: the value is missing"
            more = f", and {gaps.sum() - 1:,} more in this column" if gaps.sum() > 1 else ""
            fill = ', and "mean" fills it' if name in used else ""
            raise DataError("missing", f'{text}{more}; missing = "drop" drops such rows{fill}')
    return columns, used


def _features(columns: Mapping[str, Column]) -> Iterator[tuple[str, Array]]:
    """Yield name and values of each feature: a column of numbers, or one per category of text."""
    for name, column in columns.items():
        if not column.is_text:
            yield name, column.cells
            continue
        categories = column.categories()
        codes, gaps = column.codes(categories), column.gaps
        rows = int((~gaps).sum())
        if len(categories) > min(MOST_CATEGORIES, max(FEW_CATEGORIES, rows / 2)):
            text = f'column "{name}" has {len(categories):,} different texts, such as "{categories[0]}"'
            raise DataError("ignore", f"{text}, in {rows:,} rows: too many for categories, so ignore it")
        if all(DATE.fullmatch(category) for category in categories):
            text = f'column "{name}" has dates, such as "{categories[0]}"'
            raise DataError("ignore", f"{text}, which have no order here: ignore it, or give numbers")
        for number, category in enumerate(categories):
            yield f"{name}={category}", np.where(gaps, np.nan, codes == number)
