"""Data: tables of features and targets, how they are split, and where they come from."""

from collections.abc import Callable

from optimlab.data.bundled import BUNDLED
from optimlab.data.dataset import DataError, Dataset, Split
from optimlab.data.digits import load_digits

DATASETS: dict[str, Callable[[], Dataset]] = {"digits": load_digits, **BUNDLED}

__all__ = ["DATASETS", "DataError", "Dataset", "Split"]
