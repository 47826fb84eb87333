"""The data sets by name, beside the digits: the small ones bundled with scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np

from optimlab.data.dataset import Dataset

CLASSES = ("wine", "breast_cancer", "iris")
NUMBERS = ("diabetes", "linnerud")  # linnerud has three targets


@cache
def load_bundled(name: str) -> Dataset:
    """Return one of `CLASSES` or `NUMBERS`; linnerud has three targets."""
    from sklearn import datasets  # slow to import

    options = {"scaled": False} if name == "diabetes" else {}
    bunch = getattr(datasets, f"load_{name}")(**options)
    features = np.asarray(bunch.data, float)
    names = tuple(map(str, bunch.feature_names))
    if name in CLASSES:
        classes = tuple(map(str, bunch.target_names))
        targets = bunch.target.astype(np.intp)
        return Dataset("classification", features, targets, classes, feature_names=names)
    targets = np.asarray(bunch.target, float).reshape(len(features), -1)
    target_names = tuple(map(str, getattr(bunch, "target_names", ["progression"])))
    return Dataset("regression", features, targets, (), target_names, names)


# Name → what returns the data set.
BUNDLED: dict[str, Callable[[], Dataset]] = {
    name: partial(load_bundled, name) for name in (*CLASSES, *NUMBERS)
}
