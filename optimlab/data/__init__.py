"""Data: tables of features and targets, how they are split, and where they come from."""

from collections.abc import Callable
from functools import partial

from optimlab.data import bundled
from optimlab.data.dataset import DataError, Dataset, Split
from optimlab.data.digits import load_digits

DATASETS: dict[str, Callable[[], Dataset]] = {
    "digits": load_digits,
    **{name: partial(bundled.load_bundled, name) for name in (*bundled.CLASSES, *bundled.NUMBERS)},
}

__all__ = ["DATASETS", "DataError", "Dataset", "Split"]
