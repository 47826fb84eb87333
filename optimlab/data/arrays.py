"""Data given from Python as (features, target)."""

from __future__ import annotations

from typing import Any

import pandas as pd

from optimlab.data.dataset import unmasked
from optimlab.errors import UserError

TARGET = "target"  # the column of the target


def table_of(features: Any, target: Any) -> tuple[pd.DataFrame, list[str]]:
    """Return features (N, M) and targets (N,) or (N, K) as one table, and the names of the targets.

    Targets are named `TARGET`, and several ``TARGET[0]``, …; those of a DataFrame keep their names.
    Masked values are missing ones; a sparse matrix becomes a dense one.

    Raises
    ------
    UserError
        If their shapes or their pandas indexes do not fit, or a feature has a target's name.
    """
    are_indexed = all(isinstance(each, pd.DataFrame | pd.Series) for each in (features, target))
    if are_indexed and len(features) == len(target) and not features.index.equals(target.index):
        right = "give target.loc[features.index], or both as arrays if their rows are in the same order"
        raise UserError(f"features and target have different indexes: {right}")
    table = features
    if not isinstance(features, pd.DataFrame):
        array = unmasked(features.toarray() if hasattr(features, "toarray") else features)
        if array.ndim not in (1, 2):
            raise UserError(f"features must have the shape (N, M), got {array.shape}")
        table = pd.DataFrame(array)
    table = table.rename(columns=str)
    target = target if isinstance(target, pd.DataFrame | pd.Series) else unmasked(target)
    if target.ndim not in (1, 2) or len(target) != len(table):
        right = f"({len(table)},) or ({len(table)}, K)"
        text = f"features have {len(table):,} rows, so the target must have the shape {right}"
        raise UserError(f"{text}, got {target.shape}")
    if isinstance(target, pd.DataFrame):
        targets = target.rename(columns=str)
    elif target.ndim == 1 or target.shape[1] == 1:
        targets = pd.DataFrame({TARGET: target if target.ndim == 1 else target[:, 0]})
    else:
        targets = pd.DataFrame(target).rename(columns=f"{TARGET}[{{}}]".format)
    if both := set(table) & set(targets):
        raise UserError(f'a feature has the name "{min(both)}": rename it')
    names = list(map(str, targets))
    return table.assign(**{name: targets[name].array for name in names}), names
