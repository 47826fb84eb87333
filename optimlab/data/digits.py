"""scikit-learn's 1,797 handwritten digits of 8×8 pixels, in [0, 1].

The images stand in the order of their writers. The last 297 are the test set: writers whom training
never saw, hence harder than a random split. The first 1,500 are split once, the same for every seed.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from optimlab.data.dataset import Dataset

TEST_IMAGES = 297
TRAIN_IMAGES = 1200


@cache
def load_digits() -> Dataset:
    """Return the digits with their split."""
    from sklearn import datasets  # slow to import, and not needed to check a TOML file
    from sklearn.model_selection import train_test_split

    bunch = datasets.load_digits()
    labels = bunch.target.astype(np.intp)
    known = np.arange(len(labels) - TEST_IMAGES)
    train, validation = train_test_split(
        known, train_size=TRAIN_IMAGES, stratify=labels[known], random_state=0
    )
    test = np.arange(len(known), len(labels))
    splits = {"train": np.sort(train), "validation": np.sort(validation), "test": test}
    return Dataset(
        task="classification",
        features=bunch.data / 16,
        targets=labels,
        class_names=tuple(map(str, range(10))),
        feature_names=tuple(map(str, bunch.feature_names)),
        splits=splits,
    )
