"""surface.parquet: the loss around the paths of a network, and of which tables it is."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from io import BytesIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

SURFACE = "surface.parquet"
COLUMNS = ("x", "y", "train_loss")
KEY = b"tables"
OF = ("runs.csv", "params.parquet")  # which decide what is drawn


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
    """Return the surface that belongs to these tables; None where the file is none, or of others."""
    if content is None:
        return None
    try:
        found = pq.read_table(pa.BufferReader(content))
        if (found.schema.metadata or {}).get(KEY) != _digest(tables):
            return None
        table = found.select(list(COLUMNS)).to_pandas().astype(float)
    except (pa.ArrowException, KeyError, OSError, ValueError):
        return None
    shape = (table["y"].nunique(), table["x"].nunique())
    return table if np.prod(shape) == len(table) else None


def _digest(tables: Mapping[str, bytes]) -> bytes:
    return sha256(b"".join(sha256(tables.get(name, b"")).digest() for name in OF)).hexdigest().encode()
