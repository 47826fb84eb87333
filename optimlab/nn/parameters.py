"""Parameters: named arrays on one side, slices of a flat row on the other.

A network's P parameters are one row of numbers, so that an optimizer sees one array, and R networks
are one array (R, P). Layers see named views into the same memory: nothing is ever copied.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


class Layout:
    """Which slice of the flat row each named parameter is.

    Parameters
    ----------
    shapes : name → shape, in the order of the row.

    Examples
    --------
    >>> layout = Layout({"weight": (2, 3), "bias": (2,)})
    >>> layout.size
    8
    >>> views = layout.views(np.arange(16.0).reshape(2, 8))
    >>> views["bias"]
    array([[ 6.,  7.],
           [14., 15.]])
    >>> layout.weights
    ('weight',)
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = dict(shapes)
        self.slices: dict[str, slice] = {}
        start = 0
        for name, shape in self.shapes.items():
            stop = start + int(np.prod(shape))
            self.slices[name] = slice(start, stop)
            start = stop
        self.size = start

    @property
    def weights(self) -> tuple[str, ...]:
        """The names of what weight decay acts on: the matrices; where there are none, all."""
        matrices = tuple(name for name, shape in self.shapes.items() if len(shape) > 1)
        return matrices or tuple(self.shapes)

    def views(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return name → view (R, *shape) into `rows` (R, P)."""
        runs = len(rows)
        return {
            name: rows[:, self.slices[name]].reshape(runs, *shape) for name, shape in self.shapes.items()
        }


class Workspace:
    """Arrays that are used again at every step: made on first use, found by name and shape."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        self._arrays: dict[tuple[str, tuple[int, ...]], np.ndarray] = {}

    def array(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return the array of this name and shape; its content is whatever was left in it."""
        found = self._arrays.get((name, shape))
        if found is None:
            found = self._arrays[name, shape] = np.empty(shape, self.dtype)
        return found

    def clear(self) -> None:
        """Forget all arrays, so that a stack of another size does not keep the old one's."""
        self._arrays.clear()
