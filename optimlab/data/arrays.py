"""Data given from Python as (features, target)."""

from __future__ import annotations

from typing import Any

import pandas as pd

from optimlab.data.dataset import unmasked
from optimlab.errors import UserError

TARGET = "target"  # the column of the target


def table_of(features: Any, target: Any) -> pd.DataFrame:
    """Return features (N, M) and a target (N,) as one table, with the column `TARGET`.

    Masked values are missing ones; a sparse matrix becomes a dense one.

    Raises
    ------
    UserError
        If their shapes or their pandas indexes do not fit, or a feature has the target's name.
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
    target = target.array if isinstance(target, pd.Series) else unmasked(target)
    if target.shape != (len(table),):
        text = f"features have {len(table):,} rows, so the target must have the shape ({len(table)},)"
        raise UserError(f"{text}, got {target.shape}")
    if TARGET in table:
        raise UserError(f'a feature has the name "{TARGET}": rename it')
    return table.assign(**{TARGET: target})
