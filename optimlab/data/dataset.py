"""A data set: features, targets and splits; and what a network sees of it.

Whatever is estimated from data, be it a mean to fill a gap or a deviation to scale by, is estimated on
the training part alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, get_args

import numpy as np
from annotated_types import Ge

Array = np.ndarray
Task = Literal["classification", "regression"]
Scaling = Literal["standard", "minmax", "none"]

TASKS = get_args(Task)
ROLES = ("train", "validation", "test")
BY = ("stratified", "random", "order", "group:<column>")


class DataError(ValueError):
    """Data that cannot be learned as a file asks for; `key` is the setting that could mend it."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True)
class Dataset:
    """What is to be learned.

    Attributes
    ----------
    task : "classification" or "regression".
    features : numbers (N, F); NaN where a value is missing.
    targets : labels 0 … C − 1 (N,), or numbers (N, K) to be predicted; (N,) is one of them.
    class_names : the C classes, of a classification.
    target_names : the K targets, of a regression.
    feature_names : the F features.
    groups : column → what `Split.by` = "group:column" keeps together (N,).
    splits : role → rows, where the data bring a split of their own; "train" and "validation" at least.

    Raises
    ------
    DataError
        When these do not go together.
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
            splits = {role: _rows(role, rows, len(features)) for role, rows in splits.items()}
            _check_parts(splits)
        for name, value in (("features", features), ("targets", targets), ("splits", splits)):
            object.__setattr__(self, name, value)

    @property
    def outputs(self) -> int:
        """How many outputs a network needs: one per class, or per target."""
        return len(self.class_names) if self.task == "classification" else self.targets.shape[1]


def _numbers(name: str, values: Any) -> Array:
    """Return values as numbers, if they are."""
    array = np.asarray(values)
    if array.dtype.kind not in "iufb":
        raise DataError("data", f"{name} must be numbers, got an array of {array.dtype}")
    return array.astype(np.float64)


def _labels(targets: Array, names: tuple[str, ...]) -> Array:
    """Return labels as whole numbers, if each is the place of a class."""
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError("data", f"class_names must be two different names or more, got {names!r}")
    if targets.ndim != 1 or not np.isin(targets, np.arange(len(names))).all():
        wrong = targets[~np.isin(targets, np.arange(len(names)))]
        found = f"{wrong.flat[0]:g}" if wrong.size else f"shape {targets.shape}"
        raise DataError("data", f"targets must be labels 0 … {len(names) - 1} (N,), got {found}")
    return targets.astype(np.intp)


def _targets(targets: Array, names: tuple[str, ...]) -> Array:
    """Return targets (N, K), if they are finite and each has a name."""
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
    """Return the rows of a part, given so or as a mask, if they are rows."""
    rows = np.asarray(rows)
    if rows.dtype == bool and rows.shape == (count,):
        rows = np.flatnonzero(rows)
    is_sound = rows.ndim == 1 and rows.dtype.kind in "iu" and len(rows) > 0
    if not is_sound or rows.min() < 0 or rows.max() >= count or len(np.unique(rows)) < len(rows):
        text = f"the split's {role} must be different rows of 0 … {count - 1}, one at least"
        raise DataError("data", text)
    return rows.astype(np.intp)


def _check_parts(splits: Mapping[str, Array]) -> None:
    """Raise where the parts of a split are others than the roles, or share a row."""
    if not {"train", "validation"} <= splits.keys() <= set(ROLES):
        text = f"a split has train, validation and perhaps test; this one has {', '.join(splits)}"
        raise DataError("data", text)
    rows, counts = np.unique(np.concatenate(list(splits.values())), return_counts=True)
    if counts.max() > 1:
        where = [role for role, own in splits.items() if rows[counts.argmax()] in own]
        text = f"row {rows[counts.argmax()]} of the split is in {' and in '.join(where)}"
        raise DataError("data", f"{text}: what is trained on tells nothing of new data")


class Part(NamedTuple):
    """The samples of one role: features (N, F), and labels (N,) or targets (N, K)."""

    features: Array
    targets: Array


@dataclass(frozen=True, kw_only=True)
class Split:
    """Which rows train, and which validate and test.

    Parameters
    ----------
    validation, test : how much is for each: a share below 1, or a number of rows. Without a test part
        (0), nothing is reported of it.
    by : "stratified" gives each part its share of every class; "random" draws; "order" takes the last
        rows for the test and those before them for validation; "group:column" never parts rows of the
        same group. By default stratified for classes, and else random.
    seed : of the draw.
    resample : whether each run's seed draws a split of its own, so that what is said of the seeds holds
        for the luck of the split, too.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    validation: Annotated[float, Ge(0)] = 0.2
    test: Annotated[float, Ge(0)] = 0.2
    by: str | None = None
    seed: Annotated[int, Ge(0)] = 0
    resample: bool = False

    def rows(self, data: Dataset, rng: np.random.Generator) -> dict[str, Array]:
        """Return role → rows, ascending, as drawn by a generator.

        Raises
        ------
        DataError
            When a part would be empty, a class would be missing from training, or `by` is not for this
            data.
        """
        by = self.by or ("stratified" if data.task == "classification" else "random")
        count = len(data.features)
        if by.startswith("group:"):
            groups = self._groups(data, by.removeprefix("group:"))
            order = rng.permutation(int(groups.max()) + 1)
            units, of_unit = order, [np.flatnonzero(groups == group) for group in range(len(order))]
        elif by in ("random", "stratified", "order"):
            units = np.arange(count) if by == "order" else rng.permutation(count)
            of_unit = None
        else:
            raise DataError("split.by", f"must be one of {', '.join(BY)}, got {by!r}")
        if by == "stratified" and data.task != "classification":
            raise DataError("split.by", 'stratified is for classes; take "random"')
        sizes = {role: self._size(role, count) for role in ("validation", "test")}
        fewest = data.outputs if by == "stratified" else 1
        if sum(sizes.values()) + fewest > count:
            text = f"asks for {sum(sizes.values()):,} rows for validation and test of {count:,} in all"
            each = ", and each class needs one in training" if by == "stratified" else ""
            raise DataError("split", f"{text}, which leaves no row for training{each}")
        if of_unit is None:
            parts = _cut(units, sizes, data.targets if by == "stratified" else None)
        else:
            parts = _cut_groups(units, of_unit, sizes)
        parts = {role: np.sort(parts[role]) for role in ROLES if role in parts and len(parts[role])}
        for role in ("train", "validation", *(("test",) if sizes["test"] else ())):
            if role not in parts:
                key = "split" if role == "train" else f"split.{role}"
                raise DataError(key, f"leaves no row for {_NAMES[role]}: there are {count:,} in all")
        _check_classes(data, parts["train"])
        return parts

    def _size(self, role: str, count: int) -> int:
        wanted = getattr(self, role)
        if wanted >= 1 and wanted != int(wanted):
            text = f"must be a share below 1 or a whole number of rows, got {wanted:g}"
            raise DataError(f"split.{role}", text)
        size = int(wanted) if wanted >= 1 else round(wanted * count)
        if size == 0 and (wanted > 0 or role == "validation"):
            text = f"gives {_NAMES[role]} no row: {wanted:g} of {count:,} rows"
            raise DataError(f"split.{role}", text)
        return size

    def _groups(self, data: Dataset, column: str) -> Array:
        """Return the number of each row's group."""
        if column not in data.groups:
            known = ", ".join(data.groups) or "none"
            raise DataError("split.by", f"there is no column {column!r}; there are: {known}")
        if self.resample:
            text = "groups give parts of other sizes to each seed; leave out resample, or the groups"
            raise DataError("split.resample", text)
        _, groups = np.unique(data.groups[column].astype(str), return_inverse=True)
        return groups


_NAMES = {"train": "training", "validation": "validation", "test": "the test"}


def _cut(order: Array, sizes: Mapping[str, int], labels: Array | None) -> dict[str, Array]:
    """Return rows by role, as many as wanted, from the end of an order of rows.

    With labels, each class has its share in each part, to within a row, and the first of its rows in
    training: rows are sorted by class, and those of a part are taken at equal distances.
    """
    parts, left = {}, order
    kept = left[:0]
    if labels is not None:
        _, firsts = np.unique(labels[order], return_index=True)
        kept, left = order[firsts], np.delete(order, firsts)
        left = left[np.argsort(labels[left], kind="stable")]
    for role in ("test", "validation"):
        size = min(sizes[role], len(left))
        if labels is None:
            at = np.arange(len(left) - size, len(left))
        else:
            at = ((np.arange(size) + 0.5) * len(left) / max(size, 1)).astype(int)
        parts[role], left = left[at], np.delete(left, at)
    return parts | {"train": np.concatenate([kept, left])}


def _cut_groups(order: Array, groups: list[Array], sizes: Mapping[str, int]) -> dict[str, Array]:
    """Return rows by role: whole groups, in an order, until a part has at least its size."""
    todo, parts = list(order), {}
    for role in ("test", "validation"):
        taken: list[Array] = []
        while todo and sum(map(len, taken)) < sizes[role]:
            taken.append(groups[todo.pop()])
        parts[role] = np.concatenate(taken) if taken else np.arange(0)
    parts["train"] = np.concatenate([groups[each] for each in todo]) if todo else np.arange(0)
    return parts


def _check_classes(data: Dataset, train: Array) -> None:
    """Raise where training has too little to learn from."""
    targets = data.targets[train]
    if data.task == "classification":
        absent = sorted(set(range(data.outputs)) - set(targets.tolist()))
        if absent:
            names = ", ".join(data.class_names[each] for each in absent[:5])
            text = f'leaves no row of {names} for training; by = "stratified" gives each class one'
            raise DataError("split", text)
        if len(set(targets.tolist())) == 1:
            raise DataError("target", f"has one class alone in training, {data.class_names[0]}")
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
    """Return the samples by role, filled and scaled by the training part, and the targets' scale (K,).

    A missing value is filled with the mean of its column. A column that is constant in training is
    shifted, and not stretched. A one of a scaled target is `scale` in the data's units.

    Raises
    ------
    DataError
        When a column has no value in training, or a number is too large.
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
        targets, scale = _scaled(targets, rows["train"], target_scaling, dtype, data.target_names)
    parts = {role: Part(features[at], targets[at]) for role, at in rows.items()}
    return parts, scale


def _scaled(
    values: Array, train: Array, scaling: Scaling, dtype: str, names: tuple[str, ...]
) -> tuple[Array, Array]:
    """Return columns (N, F), scaled by their training rows, and what a one of each is in its units (F,).

    Raises
    ------
    DataError
        When a number is too large for the dtype, or for its column's deviation to be computed, and when
        a column that varies does not in the dtype.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        shift, stretch = _fit(values[train], scaling)
        scaled = ((values - shift) / stretch if scaling != "none" else values).astype(dtype)
    names = names or tuple(f"column {place}" for place in range(1, values.shape[1] + 1))
    is_bad = (~np.isfinite(scaled) | ~np.isfinite(stretch)).any(axis=0)
    if is_bad.any():
        place = int(np.argmax(is_bad))
        text = f"numbers as large as {np.abs(values[:, place]).max():g}, too large for {dtype}"
        raise DataError("data", f"{names[place]} has {text}")
    is_lost = (np.ptp(values[train], axis=0) > 0) & (np.ptp(scaled[train], axis=0) == 0)
    if is_lost.any():
        raise DataError(
            "scaling",
            f"{names[int(np.argmax(is_lost))]} varies too little for {dtype}: it must be scaled",
        )
    return scaled, stretch


def _fit(values: Array, scaling: Scaling) -> tuple[Array, Array]:
    """Return what is subtracted from each column, and by what it is divided then."""
    if scaling == "standard":
        is_constant = np.ptp(values, axis=0) == 0  # its mean and deviation have rounding errors
        shift = np.where(is_constant, values[0], values.mean(axis=0))
        stretch = np.where(is_constant, 0, values.std(axis=0))
    elif scaling == "minmax":
        shift, stretch = values.min(axis=0), np.ptp(values, axis=0)
    else:
        shift, stretch = np.zeros(values.shape[1]), np.ones(values.shape[1])
    return shift, np.where(stretch == 0, 1, stretch)
