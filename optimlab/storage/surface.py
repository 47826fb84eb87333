"""surface.parquet: the loss around the paths of a network, tied to the tables it was computed from."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    import pandas as pd

SURFACE = "surface.parquet"
COLUMNS = ("x", "y", "train_loss")
KEY = b"tables"
DECIDING = ("runs.csv", "params.parquet")  # the tables that decide what is drawn


def as_surface(table: pd.DataFrame, tables: Mapping[str, bytes]) -> bytes:
    """Return the file of a surface that belongs to these tables.

    Parameters
    ----------
    table : x, y and train_loss.
    tables : name → content.
    """
    columns = {name: table[name].to_numpy(dtype=float) for name in COLUMNS}
    file = BytesIO()
    made = pa.table(columns).replace_schema_metadata({KEY: _digest(tables)})
    pq.write_table(made, file)
    return file.getvalue()


def surface_of(content: bytes | None, tables: Mapping[str, bytes]) -> pd.DataFrame | None:
    """Return the surface, if the file is valid and belongs to these tables; else None."""
    if content is None:
        return None
    try:
        stored = pq.read_table(pa.BufferReader(content))
        if (stored.schema.metadata or {}).get(KEY) != _digest(tables):
            return None
        table = stored.select(list(COLUMNS)).to_pandas().astype(float)
    except (pa.ArrowException, KeyError, OSError, ValueError):
        return None
    shape = (table["y"].nunique(), table["x"].nunique())
    return table if np.prod(shape) == len(table) else None


def _digest(tables: Mapping[str, bytes]) -> bytes:
    digests = (sha256(tables.get(name, b"")).digest() for name in DECIDING)
    return sha256(b"".join(digests)).hexdigest().encode()
