"""A data set: features, targets and splits, and its preparation for a network.

Everything estimated from data, such as a mean to fill gaps or a deviation to scale by, is estimated on
the training part alone.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, get_args

import numpy as np
from annotated_types import Ge

from optimlab.validation import Checked, kind_of

Array = np.ndarray
Task = Literal["classification", "regression"]
Scaling = Literal["standard", "minmax", "none"]

TASKS = get_args(Task)
ROLES = ("train", "validation", "test")
SMALLEST_DEVIATION = 1e-150  # the squares of smaller ones lose digits, or are 0
BY = ("stratified", "random", "order", "group:<column>")


class DataError(ValueError):
    """Data that cannot be used as the experiment file says; `key` is the setting to change."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True)
class Dataset:
    """Features, targets, and their names.

    Attributes
    ----------
    task : "classification" or "regression".
    features : numbers (N, F); NaN where a value is missing.
    targets : in classification, labels 0 … C − 1 (N,); in regression, numbers (N, K), or (N,) for K = 1.
    class_names : the names of the C classes, in classification.
    target_names : the names of the K targets, in regression.
    feature_names : the names of the F features.
    groups : column → group of each row (N,); ``Split.by = "group:column"`` keeps groups together.
    splits : role → rows, if the data come with a split; at least "train" and "validation".

    Raises
    ------
    DataError
        If these are inconsistent.
    """

    task: Task
    features: Array
    targets: Array
    class_names: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ("target",)
    feature_names: tuple[str, ...] = ()
    groups: Mapping[str, Array] = field(default_factory=dict)
    splits: Mapping[str, Array] | None = None

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise DataError("data", f"task must be one of {', '.join(TASKS)}, got {self.task!r}")
        features, targets = _numbers("features", self.features), _numbers("targets", self.targets)
        if features.ndim != 2 or not features.size:
            raise DataError("data", f"features must be numbers (N, F), got shape {features.shape}")
        if np.isinf(features).any():
            raise DataError("data", "features must be finite")
        if self.task == "classification":
            targets = _labels(targets, self.class_names)
        else:
            targets = _targets(targets, self.target_names)
        if self.feature_names and len(self.feature_names) != features.shape[1]:
            text = f"there are {features.shape[1]} features and {len(self.feature_names)} feature_names"
            raise DataError("data", text)
        for name, values in (("targets", targets), *self.groups.items()):
            if len(values) != len(features):
                text = f"there are {len(features)} rows of features and {len(values)} of {name}"
                raise DataError("data", text)
        splits = self.splits
        if splits is not None:
            splits = _splits(splits, len(features))
        for name, value in (("features", features), ("targets", targets), ("splits", splits)):
            object.__setattr__(self, name, value)

    @property
    def outputs(self) -> int:
        """The number of outputs of a network: one per class or per target."""
        return len(self.class_names) if self.task == "classification" else self.targets.shape[1]


def _splits(given: Any, samples: int) -> dict[str, Array]:
    """Return role → rows, after checking that they are a split."""
    if not isinstance(given, Mapping):
        raise DataError("data", f"splits must be a dictionary: role → rows, got {kind_of(given)}")
    splits = {role: _rows(role, rows, samples) for role, rows in given.items()}
    _check_parts(splits)
    return splits


def _numbers(name: str, values: Any) -> Array:
    """Return values as float64, after checking that they are numbers."""
    array = unmasked(values)
    if array.dtype.kind not in "iufb":
        raise DataError("data", f"{name} must be numbers, got an array of {array.dtype}")
    return array.astype(np.float64)


def unmasked(values: Any) -> Array:
    """Return values as an array, with NaN where they are masked."""
    return values.astype(float).filled(np.nan) if np.ma.is_masked(values) else np.asarray(values)


def _labels(targets: Array, names: tuple[str, ...]) -> Array:
    """Return labels as integers, after checking that each is the index of a class."""
    are_texts = all(isinstance(name, str) for name in names)
    if len(names) < 2 or not are_texts or len(set(names)) < len(names):
        raise DataError("data", f"class_names must be at least two different names, got {names!r}")
    if targets.ndim != 1 or not np.isin(targets, np.arange(len(names))).all():
        wrong = targets[~np.isin(targets, np.arange(len(names)))]
        given = f"{wrong.flat[0]:g}" if wrong.size else f"shape {targets.shape}"
        raise DataError("data", f"targets must be labels 0 … {len(names) - 1} (N,), got {given}")
    return targets.astype(np.intp)


def _targets(targets: Array, names: tuple[str, ...]) -> Array:
    """Return targets as (N, K), after checking that they are finite and named."""
    targets = targets[:, None] if targets.ndim == 1 else targets
    if targets.ndim != 2:
        raise DataError("data", f"targets must be numbers (N, K), got shape {targets.shape}")
    if not np.isfinite(targets).all():
        raise DataError("data", "targets must be finite")
    if len(names) != targets.shape[1]:
        text = f"there are {targets.shape[1]} targets and {len(names)} target_names"
        raise DataError("data", text)
    return targets


def _rows(role: str, rows: Any, count: int) -> Array:
    """Return the row indices of a part, given as indices or as a mask, after checking them."""
    rows = np.asarray(rows)
    if rows.dtype == bool and rows.shape == (count,):
        rows = np.flatnonzero(rows)
    is_sound = rows.ndim == 1 and rows.dtype.kind in "iu" and len(rows) > 0
    if not is_sound or rows.min() < 0 or rows.max() >= count or len(np.unique(rows)) < len(rows):
        text = f"the split's {role} must be at least one of the rows 0 … {count - 1}, each once"
        raise DataError("data", text)
    return rows.astype(np.intp)


def _check_parts(splits: Mapping[str, Array]) -> None:
    """Raise DataError if the parts of a split are not the roles, or share a row."""
    if not {"train", "validation"} <= splits.keys() <= set(ROLES):
        text = f"a split has train, validation and perhaps test; this one has {', '.join(splits)}"
        raise DataError("data", text)
    rows, counts = np.unique(np.concatenate(list(splits.values())), return_counts=True)
    if counts.max() > 1:
        where = [role for role, part in splits.items() if rows[counts.argmax()] in part]
        text = f"row {rows[counts.argmax()]} of the split is in {' and in '.join(where)}"
        raise DataError("data", f"{text}: rows trained on say nothing about new data")


class Part(NamedTuple):
    """The samples of one role: features (N, F), and labels (N,) or targets (N, K)."""

    features: Array
    targets: Array


@dataclass(frozen=True, kw_only=True)
class Split(Checked):
    """How rows are divided into training, validation and test.

    Parameters
    ----------
    validation, test : the size of each part: a share below 1, or a number of rows. With test = 0 there
        is no test part.
    by : "stratified" gives each part its share of every class; "random" draws rows; "order" takes the
        last rows for the test and those before them for validation; "group:column" never separates rows
        of the same group. By default stratified in classification, random in regression.
    seed : of the draw.
    resample : whether each run's seed draws a different split, so that intervals over seeds include the
        luck of the split.
    """

    validation: Annotated[int | float, Ge(0)] = 0.2
    test: Annotated[int | float, Ge(0)] = 0.2
    by: str | None = None
    seed: Annotated[int, Ge(0)] = 0
    resample: bool = False

    def rows(self, data: Dataset, rng: np.random.Generator) -> dict[str, Array]:
        """Return role → rows, ascending, drawn with the given generator.

        Raises
        ------
        DataError
            If a part would be empty, a class would be missing from training, or `by` does not suit the
            data.
        """
        by = self.by or ("stratified" if data.task == "classification" else "random")
        count = len(data.features)
        units = np.arange(count)  # of each row: those of a unit stay together
        if by.startswith("group:"):
            units = self._groups(data, by.removeprefix("group:"))
        elif by not in ("random", "stratified", "order"):
            raise DataError("split.by", f"must be one of {', '.join(BY)}, got {by!r}")
        number = int(units.max()) + 1
        order = units if by == "order" else rng.permutation(number)
        if by == "stratified" and data.task != "classification":
            raise DataError("split.by", 'stratified needs classes; use "random"')
        sizes = {role: self._size(role, count) for role in ("validation", "test")}
        fewest = data.outputs if by == "stratified" else 1
        if sum(sizes.values()) + fewest > count:
            text = f"asks for {sum(sizes.values()):,} rows for validation and test, of {count:,} in all"
            each = ", and each class needs one in training" if by == "stratified" else ""
            raise DataError("split", f"{text}, which leaves no row for training{each}")
        if by == "stratified":
            parts = _cut_by_class(order, data.targets, sizes)
        else:
            parts = _cut(order, units, sizes)
        parts = {role: np.sort(parts[role]) for role in ROLES if role in parts and len(parts[role])}
        for role in ("train", "validation", *(("test",) if sizes["test"] else ())):
            if role not in parts:
                key = "split" if role == "train" else f"split.{role}"
                among = f", in {number:,} groups" if by.startswith("group:") else ""
                text = f"leaves no row for {_NAMES[role]}: there are {count:,} in all{among}"
                raise DataError(key, text)
        _check_classes(data, parts["train"])
        return parts

    def _size(self, role: str, count: int) -> int:
        wanted = getattr(self, role)
        is_all = isinstance(wanted, float) and wanted == 1  # written 1.0, it is hardly a single row
        if is_all or (wanted >= 1 and wanted != int(wanted)):
            text = f"must be a share below 1 or a whole number of rows, got {wanted}"
            raise DataError(f"split.{role}", text)
        size = int(wanted) if wanted >= 1 else round(wanted * count)
        if size == 0 and (wanted > 0 or role == "validation"):
            text = f"gives {_NAMES[role]} no row: {wanted:g} of {count:,} rows"
            raise DataError(f"split.{role}", text)
        return size

    def _groups(self, data: Dataset, column: str) -> Array:
        """Return the index of each row's group (N,)."""
        groups = {unicodedata.normalize("NFC", name): rows for name, rows in data.groups.items()}
        column = unicodedata.normalize("NFC", column)
        if column not in groups:
            known = ", ".join(groups) or "none"
            raise DataError("split.by", f"there is no column {column!r}; there are: {known}")
        if self.resample:
            text = (
                "with groups, parts differ in size from seed to seed; leave out resample or the groups"
            )
            raise DataError("split.resample", text)
        _, index = np.unique(groups[column].astype(str), return_inverse=True)
        return index


_NAMES = {"train": "training", "validation": "validation", "test": "the test"}


def _cut_by_class(order: Array, labels: Array, sizes: Mapping[str, int]) -> dict[str, Array]:
    """Return role → rows, with parts of the given sizes.

    Each part has its share of every class, to within a row, and each class has at least one row in
    training: rows are sorted by class, and those of a part are taken evenly spaced.
    """
    _, firsts = np.unique(labels[order], return_index=True)
    kept, left = order[firsts], np.delete(order, firsts)
    left = left[np.argsort(labels[left], kind="stable")]
    parts = {}
    for role in ("test", "validation"):
        size = min(sizes[role], len(left))
        at = ((np.arange(size) + 0.5) * len(left) / max(size, 1)).astype(int)
        parts[role], left = left[at], np.delete(left, at)
    return parts | {"train": np.concatenate([kept, left])}


def _cut(order: Array, units: Array, sizes: Mapping[str, int]) -> dict[str, Array]:
    """Return role → rows: whole units, from the end of `order`, until a part has at least its size."""
    ends = np.cumsum([0, *np.bincount(units)[order[::-1]]])
    place = np.argsort(order[::-1])[units]  # of each row
    parts, begin = {}, 0
    for role in ("test", "validation"):
        end = min(int(np.searchsorted(ends, ends[begin] + sizes[role])), len(order))
        parts[role] = np.flatnonzero((begin <= place) & (place < end))
        begin = end
    return parts | {"train": np.flatnonzero(begin <= place)}


def _check_classes(data: Dataset, train: Array) -> None:
    """Raise DataError if training lacks a class, or all its targets are equal."""
    targets = data.targets[train]
    if data.task == "classification":
        absent = sorted(set(range(data.outputs)) - set(targets.tolist()))
        if absent:
            names = ", ".join(data.class_names[each] for each in absent[:5])
            text = f'leaves no row of {names} for training; by = "stratified" gives each class one'
            raise DataError("split", text)
        if len(set(targets.tolist())) == 1:
            raise DataError("target", f"has only one class in training, {data.class_names[0]}")
        return
    constant = np.ptp(targets, axis=0) == 0
    if constant.any():
        name = data.target_names[int(np.argmax(constant))]
        value = targets[0, int(np.argmax(constant))]
        raise DataError("target", f"{name} is {value:g} in every row of training: nothing to learn")


def prepare(
    data: Dataset,
    rows: Mapping[str, Array],
    scaling: Scaling,
    target_scaling: Scaling,
    dtype: str,
) -> tuple[dict[str, Part], Array]:
    """Return role → samples, filled and scaled by the training part, and the targets' scale (K,).

    A missing value is filled with the mean of its column. A column that is constant in training is
    shifted but not divided. One unit of a scaled target is `scale` units of the data.

    Raises
    ------
    DataError
        If a column has no value in training, or a number is too large.
    """
    features = data.features
    train = features[rows["train"]]
    gaps = np.isnan(features)
    if gaps.any():
        known = ~np.isnan(train)
        empty = ~known.any(axis=0)
        if empty.any():
            name = data.feature_names[int(np.argmax(empty))] if data.feature_names else "a column"
            raise DataError("missing", f"{name} has no value in the training part; ignore it")
        means = np.where(known, train, 0).sum(axis=0) / known.sum(axis=0)
        features = np.where(gaps, means, features)
    features, _ = _scaled(features, rows["train"], scaling, dtype, data.feature_names)
    targets, scale = data.targets, np.ones(1)
    if data.task == "regression":
        names = data.target_names
        targets, scale = _scaled(targets, rows["train"], target_scaling, dtype, names, "target_scaling")
    parts = {role: Part(features[at], targets[at]) for role, at in rows.items()}
    return parts, scale


def _scaled(
    values: Array,
    train: Array,
    scaling: Scaling,
    dtype: str,
    names: tuple[str, ...],
    key: str = "scaling",
) -> tuple[Array, Array]:
    """Return columns (N, F) scaled by their training rows, and the scale of each in its units (F,).

    `key` is the setting that says how. Refuses numbers that are too large for the dtype or for their
    column's deviation to be computed, and a column that varies but is constant in the dtype.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        shift, stretch = _fit(values[train], scaling)
        scaled = ((values - shift) / stretch if scaling != "none" else values).astype(dtype)
    names = names or tuple(f"column {number}" for number in range(1, values.shape[1] + 1))
    is_bad = (~np.isfinite(scaled) | ~np.isfinite(stretch)).any(axis=0)
    if is_bad.any():
        index = int(np.argmax(is_bad))
        text = f"numbers as large as {np.abs(values[:, index]).max():g}, too large for {dtype}"
        raise DataError("data", f"{names[index]} has {text}")
    is_lost = (np.ptp(values[train], axis=0) > 0) & (np.ptp(scaled[train], axis=0) == 0)
    if is_lost.any():
        raise DataError(
            key, f"{names[int(np.argmax(is_lost))]} varies too little for {dtype}: it must be scaled"
        )
    return scaled, stretch


def _fit(values: Array, scaling: Scaling) -> tuple[Array, Array]:
    """Return what is subtracted from each column (F,), and what it is then divided by (F,)."""
    if scaling == "standard":
        spread = np.ptp(values, axis=0)
        is_constant = spread == 0  # its mean and deviation have rounding errors
        shift = np.where(is_constant, values[0], values.mean(axis=0))
        stretch = np.where(is_constant, 0, values.std(axis=0))
        is_tiny = (stretch < SMALLEST_DEVIATION) & ~is_constant
        if is_tiny.any():
            tiny = (values[:, is_tiny] - shift[is_tiny]) / spread[is_tiny]
            stretch[is_tiny] = spread[is_tiny] * tiny.std(axis=0)
    elif scaling == "minmax":
        shift, stretch = values.min(axis=0), np.ptp(values, axis=0)
    else:
        shift, stretch = np.zeros(values.shape[1]), np.ones(values.shape[1])
    return shift, np.where(stretch == 0, 1, stretch)
