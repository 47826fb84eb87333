"""Equality to the last bit."""

import numpy as np


def bits(array):
    """Return the bytes of an array; NaN is NaN, whatever its sign and payload."""
    return np.where(np.isnan(array), np.nan, array).tobytes()
