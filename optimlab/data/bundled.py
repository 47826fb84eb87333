"""The data sets by name, beside the digits: the small ones bundled with scikit-learn.

They are read from its files, without importing it, which takes two seconds of each process.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from optimlab.data.dataset import Dataset

SIZES = ("radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity")
SHAPES = (*SIZES, "concave points", "symmetry", "fractal dimension")

# Name → the file of features and classes, and the names of its features.
CLASSES = {
    "wine": (
        "wine_data.csv",
        ("alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "total_phenols", "flavanoids",
         "nonflavanoid_phenols", "proanthocyanins", "color_intensity", "hue",
         "od280/od315_of_diluted_wines", "proline"),
    ),
    "breast_cancer": (
        "breast_cancer.csv",
        tuple(f"{prefix}{shape}{suffix}"
              for prefix, suffix in (("mean ", ""), ("", " error"), ("worst ", "")) for shape in SHAPES),
    ),
    "iris": (
        "iris.csv",
        ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"),
    ),
}  # fmt: skip
DIABETES_FEATURES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")


def scikit_learn_file(name: str) -> Path:
    """Return a data file of scikit-learn.

    Raises
    ------
    ModuleNotFoundError
        If scikit-learn is not installed.
    """
    package = find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("the bundled data come with scikit-learn, which is not installed")
    return Path(package.submodule_search_locations[0]) / "datasets/data" / name


@cache
def load_bundled(name: str) -> Dataset:
    """Return one of `BUNDLED`; linnerud has three targets."""
    return _classes(*CLASSES[name]) if name in CLASSES else NUMBERS[name]()


def _classes(file: str, features: tuple[str, ...]) -> Dataset:
    with scikit_learn_file(file).open(encoding="utf-8") as lines:
        classes = tuple(next(lines).strip().split(",")[2:])  # after the numbers of rows and features
        rows = np.loadtxt(lines, delimiter=",")
    targets = rows[:, -1].astype(np.intp)
    return Dataset("classification", rows[:, :-1].copy(), targets, classes, feature_names=features)


def _diabetes() -> Dataset:
    features = np.loadtxt(scikit_learn_file("diabetes_data_raw.csv.gz"))
    targets = np.loadtxt(scikit_learn_file("diabetes_target.csv.gz"))[:, None]
    return Dataset("regression", features, targets, (), ("progression",), DIABETES_FEATURES)


def _linnerud() -> Dataset:
    (exercises, features), (measurements, targets) = map(_headed, ("exercise", "physiological"))
    return Dataset("regression", features, targets, (), measurements, exercises)


def _headed(which: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names of the columns of a file of Linnerud's, and its numbers."""
    with scikit_learn_file(f"linnerud_{which}.csv").open(encoding="utf-8") as lines:
        return tuple(next(lines).split()), np.loadtxt(lines)


NUMBERS: dict[str, Callable[[], Dataset]] = {"diabetes": _diabetes, "linnerud": _linnerud}

# Name → what returns the data set.
BUNDLED: dict[str, Callable[[], Dataset]] = {
    name: partial(load_bundled, name) for name in (*CLASSES, *NUMBERS)
}
