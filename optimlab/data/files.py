"""Data in files: CSV, Parquet and NPZ. Errors name the row and column.

A column whose cells are all numbers is one feature; any other, booleans included, is categorical and
gives one 0/1 feature per category. A target that is text, or whose loss needs classes, is a class.
"""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeGuard

import numpy as np
from numpy.lib.npyio import NpzFile

from optimlab.data.dataset import DataError, Dataset, Task
from optimlab.errors import IS_FOLDER

Array = np.ndarray

SUFFIXES = (".csv", ".parquet", ".npz")
LARGEST_FILE = 500_000_000
MOST_CATEGORIES = 100  # of a column of text; more are probably names or numbers, not categories
FEW_CATEGORIES = 10  # always allowed; beyond that, a column may have at most half as many as rows
MISSING = {"", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "null", "NULL", "?"}
MONTH = "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
DATE = re.compile(
    r"\d{4}[-/.]\d\d?[-/.]\d\d?([T ].*)?|\d\d?[-/.]\d\d?[-/.]\d{4}([T ,].*)?"
    r"|\d\d?[-/]\d\d?[-/]\d\d|\d\d\.\d\d\.\d\d"
    rf"|\d\d?\.?[ -]{MONTH}[ ,-]+\d{{2,4}}|{MONTH} \d\d?,? \d{{4}}",
    re.IGNORECASE,
)
TIME = re.compile(r"\d\d?:\d\d(:\d\d([.,]\d+)?)?( ?[ap]\.?m\.?)?", re.IGNORECASE)
# Decimal mark → what is a number with it.
NUMBER = {
    mark: re.compile(rf"[+-]?(\d+{re.escape(mark)}?\d*|{re.escape(mark)}\d+)([eE][+-]?\d+)?")
    for mark in ".,"
}
# A number as people write it: groups of thousands, a currency, a percent sign, another minus, quotes.
GROUPED = r"\d{1,3}(?P<mark>[.,'’\s])\d{3}(?:(?P=mark)\d{3})*(?:[.,]\d+)?"
DRESSED = re.compile(rf"['’]?[-+−]?\s?[$€£¥]?\s?(?:{GROUPED}|\d+(?:[.,]\d+)?)\s?[%$€£¥]?['’]?")
LISTED = 20  # columns in a message
LARGEST_EXACT = 2**53  # from it on, whole numbers that differ may be the same float


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

    def names_things(self, column: str) -> bool:
        """Return whether the values of a column are labels, of classes or groups."""
        is_class = column in self.targets and self.task == "classification"
        return is_class or column == self.group


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


def _text(value: object) -> str | None:
    """Return a value as text, the same for all ways to type it; None if it is missing."""
    text = unicodedata.normalize("NFC", str(value)).strip()
    return None if text in MISSING else text


def _numbers_or_labels(name: str, numbers: Array, values: Iterable[object], reading: Reading) -> Column:
    """Return a column of numbers; of texts if they are labels that would become the same number."""
    if reading.names_things(name) and (np.abs(numbers) >= LARGEST_EXACT).any():
        return Column(np.array(list(map(_text, values)), object))
    return Column(numbers)


def is_data_file(name: object) -> TypeGuard[str]:
    """Return whether a name is that of a file of data, by its ending."""
    return isinstance(name, str) and Path(name).suffix.lower() in SUFFIXES


def read_file(file: Path, reading: Reading) -> Dataset:
    """Return the data set in a file.

    Raises
    ------
    DataError
        If it cannot be read, or a cell is invalid; the message names the file.
    """
    try:
        if file.exists() and not file.is_file():
            wrong = IS_FOLDER if file.is_dir() else "is not a file"
            raise DataError("data", f"{file} {wrong}")
        if file.stat().st_size > LARGEST_FILE:
            raise DataError("data", f"{file.name} has more than {LARGEST_FILE // 10**6:,} MB")
        content = file.read_bytes()
    except FileNotFoundError:
        raise DataError("data", f"there is no file {file}") from None
    except OSError as error:
        raise DataError("data", f"{file} cannot be read: {error.strerror}") from error
    reading = replace(
        reading,
        targets=tuple(map(_name, reading.targets)),
        ignored=tuple(map(_name, reading.ignored)),
        group=reading.group and _name(reading.group),
    )
    try:
        return _parse(content, file.suffix.lower(), reading)
    except DataError as error:
        raise DataError(error.key, f"{file.name}: {error}") from error


@lru_cache(4)
def _parse(content: bytes, suffix: str, reading: Reading) -> Dataset:
    columns = {".csv": _csv, ".parquet": _parquet, ".npz": _npz}[suffix](content, reading)
    for name, column in columns.items():
        if not column.is_text and np.isinf(column.cells).any():
            row = int(np.argmax(np.isinf(column.cells)))
            raise DataError("data", f"{_at(row, name)}: a number must be finite")
    if not any(len(column.cells) for column in columns.values()):
        raise DataError("data", "has no rows")
    return _dataset(columns, reading)


def _name(name: object) -> str:
    """Return the name of a column, the same for all ways to type it."""
    return unicodedata.normalize("NFC", str(name))


def _at(row: int, column: str) -> str:
    return f'row {row + 1:,}, column "{column}"'


# Kinds of files


@contextmanager
def _decoding(failure: str) -> Iterator[None]:
    """Raise DataError for any error in the block: libraries raise many kinds for a damaged file.

    Parameters
    ----------
    failure : what the message says before the error's own words.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        why = str(error) or type(error).__name__
        if "allow_pickle" in why:
            why = "it holds Python objects; save numbers or text"
        raise DataError("data", f"{failure}: {why}") from error


def _csv(content: bytes, reading: Reading) -> dict[str, Column]:
    try:
        text = unicodedata.normalize("NFC", content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        where = f"{error.reason} at byte {error.start:,}, in line {line:,}"
        text = f"is not UTF-8 text: {where}; save it as UTF-8"
        raise DataError("data", text) from error
    if "\0" in text:  # as in UTF-16
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError("data", f"is not UTF-8 text: a zero byte in line {line:,}; save it as UTF-8")
    before = csv.field_size_limit(LARGEST_FILE)  # a column to be ignored may have long texts
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=reading.separator, strict=True)
        rows = [[cell.strip() for cell in row] for row in lines if row]
    except csv.Error as error:
        text = f'is not a CSV file with separator = "{reading.separator}": {error}'
        raise DataError("data", text) from error
    finally:
        csv.field_size_limit(before)
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
    _check_names(names, reading)
    for row, cell in enumerate(cells):
        if len(cell) != len(names):
            raise DataError(
                "data",
                f"row {row + 1:,} has {_count(cell, 'cell')}, but the first line has "
                f"{_count(names, 'name')}",
            )
    return {name: _as_column(name, texts, reading) for name, *texts in zip(names, *cells, strict=True)}


def _count(things: list[str], name: str) -> str:
    """Return a number of things as text."""
    return f"{len(things):,} {name}{'' if len(things) == 1 else 's'}"


def _as_column(name: str, cells: list[str], reading: Reading) -> Column:
    """Return a column of text cells as numbers, if all of them are."""
    mark, other = reading.decimal, "," if reading.decimal == "." else "."
    is_gap = np.array([cell in MISSING for cell in cells])
    is_number = np.array([bool(NUMBER[mark].fullmatch(cell)) for cell in cells])
    if (is_gap | is_number).all() and is_number.any():
        plain = (cell.replace(mark, ".") for cell in cells)
        numbers = [float(c) if n else np.nan for c, n in zip(plain, is_number, strict=True)]
        return _numbers_or_labels(name, np.array(numbers), cells, reading)
    texts = np.array([None if gap else cell for cell, gap in zip(cells, is_gap, strict=True)], object)
    if reading.names_things(name) or name in reading.ignored:
        return Column(texts)
    strange = {row: cell for row, cell in enumerate(cells) if not (is_gap[row] or is_number[row])}
    if not strange:
        return Column(texts)
    row, cell = next(iter(strange.items()))
    wrong = f'{_at(row, name)}: "{cell}" is not a number'
    if all(map(NUMBER[other].fullmatch, strange.values())):
        thousands = re.fullmatch(GROUPED, cell.lstrip("+-"))
        more = " A mark between thousands has to be left out." if thousands else ""
        raise DataError("decimal", f'{wrong}; is it decimal = "{other}"?{more}')
    if all(map(DRESSED.fullmatch, strange.values())):
        right = "write digits and a decimal mark only, such as 1234.5".replace(".", mark)
        raise DataError("data", f"{wrong}: {right}")
    if is_number.sum() > (~is_gap).sum() / 2:
        text = "but most of the column is; leave the cell of a missing value empty"
        raise DataError("data", f"{wrong}, {text}")
    return Column(texts)


@_decoding("is not a Parquet file")
def _parquet(content: bytes, reading: Reading) -> dict[str, Column]:
    import pandas as pd
    from pyarrow.parquet import read_schema

    schema = read_schema(io.BytesIO(content))
    _check_names(list(map(_name, schema.names)), reading)
    table = pd.read_parquet(io.BytesIO(content))
    # Of a categorical column of numbers, Parquet itself keeps only the numbers.
    categorical = {
        _name(each.get("name"))
        for each in (schema.pandas_metadata or {}).get("columns", ())
        if each.get("pandas_type") == "categorical"
    }
    names = list(map(_name, table.columns))
    _check_names(names, reading)
    columns = {}
    for name, (_, series) in zip(names, table.items(), strict=True):
        values = series.dropna()
        if pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_bool_dtype(series):
            numbers = series.to_numpy(np.float64, na_value=np.nan)
            if name in categorical:
                texts = [None if math.isnan(number) else _shown(number) for number in numbers.tolist()]
                columns[name] = Column(np.array(texts, object))
            else:
                exact = (v if known else "" for v, known in zip(series, series.notna(), strict=True))
                columns[name] = _numbers_or_labels(name, numbers, exact, reading)
        elif len(values) and all(isinstance(value, Decimal) for value in values):
            columns[name] = Column(pd.to_numeric(series).to_numpy(np.float64))
        elif all(isinstance(value, str | bool | np.bool_) for value in values):
            texts = [None if gap else _text(v) for v, gap in zip(series, series.isna(), strict=True)]
            columns[name] = Column(np.array(texts, object))
        elif name not in reading.ignored:
            kind = type(values.iloc[0]).__name__ if series.dtype == object else series.dtype
            text = f'column "{name}" is of type {kind}, neither numbers nor text'
            raise DataError("ignore", f"{text}: ignore it, or give numbers")
    return columns


@_decoding("is not an NPZ file")
def _npz(content: bytes, reading: Reading) -> dict[str, Column]:
    arrays = np.load(io.BytesIO(content), allow_pickle=False)
    if not isinstance(arrays, NpzFile):
        raise DataError("data", "is not an NPZ file: it holds a single array, without a name")
    read: dict[str, Array] = {}
    _check_names(list(map(_name, arrays.files)), reading)
    keys = {_name(key): key for key in arrays.files}
    with arrays:
        for name, key in keys.items():
            if name not in reading.ignored:
                read[name] = _array(arrays, key)
    lengths = {name: len(array) for name, array in read.items()}
    if len(set(lengths.values())) > 1:
        text = ", ".join(f'"{name}" {length:,}' for name, length in lengths.items())
        raise DataError("data", f"all arrays must have the same number of rows; they have: {text}")
    rows = next(iter(lengths.values()), 0)
    columns = {name: Column(np.full(rows, None)) for name in keys if name in reading.ignored}
    for name, array in read.items():
        flat = array.reshape(rows, math.prod(array.shape[1:]))
        for index, values in enumerate(flat.T):
            column = name if flat.shape[1] == 1 else f"{name}[{index}]"
            if column in columns:
                raise DataError("data", f'two columns have the name "{column}"')
            if array.dtype.kind in "iuf":
                with np.errstate(over="ignore"):  # what is infinite in float64 is refused later
                    numbers = values.astype(np.float64)
                columns[column] = _numbers_or_labels(column, numbers, values, reading)
            else:
                columns[column] = Column(np.array(list(map(_text, values.tolist())), object))
    return columns


def _array(arrays: NpzFile, name: str) -> Array:
    """Return an array of numbers, text or booleans, with a row for each sample."""
    with _decoding(f'array "{name}" cannot be read'):
        array: Array | bytes = arrays[name]
        if isinstance(array, bytes):  # the file in the archive is not an array
            raise DataError("ignore", f'"{name}" is not an array: ignore it')
        if array.dtype.kind == "S":
            array = np.char.decode(array, "utf-8")
    if array.ndim == 0:
        raise DataError("ignore", f'array "{name}" has no rows: ignore it')
    if array.dtype.kind not in "iufbU":
        text = f'array "{name}" is of type {array.dtype}, neither numbers nor text'
        raise DataError("ignore", f"{text}: ignore it, or give numbers")
    return array.astype(str) if array.dtype.kind == "b" else array


def _check_names(names: list[str], reading: Reading) -> None:
    known: set[str] = set()
    for index, name in enumerate(names):
        if not name and name in reading.ignored:
            continue
        if not name:
            text = f"column {index + 1} has no name in the first line"
            raise DataError("data", f'{text}: name it, or ignore = [""] if it is an index')
        if name in known:
            raise DataError("data", f'two columns have the name "{name}"')
        known.add(name)


# From columns to a data set


def _dataset(columns: Mapping[str, Column], reading: Reading) -> Dataset:
    names_of_targets = tuple(each for name in reading.targets for each in _columns_of(name, columns))
    reading = replace(reading, targets=names_of_targets)
    _check_columns(columns, reading)
    others = (*reading.targets, *reading.ignored, reading.group)
    used = [name for name in columns if name not in others]
    if not used:
        raise DataError("data", "has no column beside the target to learn from")
    _check_empty(columns, used, reading)
    columns = _without_gaps(columns, used, reading)
    names, values = zip(*_all_features({name: columns[name] for name in used}), strict=True)
    features = np.stack(values, axis=1)
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
        return Dataset(task, features, numbers, (), reading.targets, names, group)
    if len(targets) > 1:
        raise DataError("target", "must be one column if classes are predicted")
    classes = first.categories()
    if len(classes) < 2:
        raise DataError("target", f'must have at least two classes; all rows are "{classes[0]}"')
    codes = first.codes(classes)
    return Dataset(task, features, codes, tuple(classes), feature_names=names, groups=group)


def _check_columns(columns: Mapping[str, Column], reading: Reading) -> None:
    there = ", ".join(list(columns)[:LISTED]) or "none"
    if len(columns) > LISTED:
        there += f", and {len(columns) - LISTED:,} more"
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


def _columns_of(name: str, columns: Mapping[str, Column]) -> tuple[str, ...]:
    """Return the columns that a name means: that of this name, or those of an array of several."""
    several = re.compile(rf"{re.escape(name)}\[\d+\]")
    found = () if name in columns else tuple(filter(several.fullmatch, columns))
    return found or (name,)


def _check_empty(columns: Mapping[str, Column], used: list[str], reading: Reading) -> None:
    """Raise DataError if a column of features or a target has no value at all."""
    for name in (*reading.targets, *used):
        if columns[name].gaps.all():
            key, right = ("ignore", ": ignore it") if name in used else ("target", "")
            raise DataError(key, f'column "{name}" has no value in any row{right}')


def _without_gaps(
    columns: Mapping[str, Column], used: list[str], reading: Reading
) -> Mapping[str, Column]:
    """Return all columns without the rows to drop; refuse other missing values."""
    required = [name for name in (*reading.targets, reading.group) if name]
    required += used if reading.missing != "mean" else []
    gaps_of = {name: columns[name].gaps for name in required}
    if reading.missing == "drop":
        kept = ~np.any(list(gaps_of.values()), axis=0)
        if not kept.any():
            counts = {name: int(gaps.sum()) for name, gaps in gaps_of.items()}
            most = max(counts, key=counts.__getitem__)
            text = f'every row lacks a value; column "{most}" lacks {counts[most]:,} of {len(kept):,}'
            raise DataError("missing", text)
        return {name: Column(column.cells[kept]) for name, column in columns.items()}
    for name, gaps in gaps_of.items():
        if gaps.any():
            text = f"{_at(int(np.argmax(gaps)), name)}: the value is missing"
            more = f", and {gaps.sum() - 1:,} more in this column" if gaps.sum() > 1 else ""
            fill = ', and "mean" fills it' if name in used else ""
            raise DataError("missing", f'{text}{more}; missing = "drop" drops such rows{fill}')
    return columns


def _all_features(columns: Mapping[str, Column]) -> list[tuple[str, Array]]:
    """Return name and values of each feature; an error names all columns that are to be ignored."""
    found: list[tuple[str, Array]] = []
    wrong: dict[str, DataError] = {}
    for name, column in columns.items():
        try:
            found += _features(name, column)
        except DataError as error:
            wrong[name] = error
    if not wrong:
        return found
    first, *_ = wrong.values()
    others = [f'"{name}"' for name, error in wrong.items() if error.key == "ignore"][1:LISTED]
    more = f"; and {', '.join(others)}, too" if first.key == "ignore" and others else ""
    raise DataError(first.key, f"{first}{more}")


def _features(name: str, column: Column) -> Iterator[tuple[str, Array]]:
    """Yield name and values of each feature of a column: itself, or one per category of text."""
    if not column.is_text:
        yield name, column.cells
        return
    categories = column.categories()
    codes, gaps = column.codes(categories), column.gaps
    rows = int((~gaps).sum())
    if len(categories) > min(MOST_CATEGORIES, max(FEW_CATEGORIES, rows / 2)):
        text = f'column "{name}" has {len(categories):,} different texts, such as "{categories[0]}"'
        if all(NUMBER["."].fullmatch(category) for category in categories):
            raise DataError("data", f"{text}: give its numbers as numbers, not as text")
        raise DataError("ignore", f"{text}, in {rows:,} rows: too many for categories, so ignore it")
    for what, form in (("dates", DATE), ("times", TIME)):
        if all(form.fullmatch(category) for category in categories):
            text = f'column "{name}" has {what}, such as "{categories[0]}"'
            raise DataError("ignore", f"{text}, which have no order here: ignore it, or give numbers")
    for number, category in enumerate(categories):
        yield f"{name}={category}", np.where(gaps, np.nan, codes == number)
