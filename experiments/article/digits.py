"""The article's data: the first 1,500 digits of the set train, the last 297 validate."""

from dataclasses import replace

import numpy as np

from optimlab.data import DATASETS, Dataset


def digits() -> Dataset:
    data = DATASETS["digits"]()
    splits = {"train": np.arange(1500), "validation": np.arange(1500, len(data.targets))}
    return replace(data, splits=splits)
