"""scikit-learn's 1,797 handwritten digits of 8×8 pixels, in [0, 1].

The images are in the order of their writers. The last 297 are the test set: their writers do not occur
in training, so it is harder than a random split. The first 1,500 are split once, alike for all seeds.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from optimlab.data.bundled import scikit_learn_file
from optimlab.data.dataset import Dataset

TEST_IMAGES = 297
TRAIN_IMAGES = 1200


@cache
def load_digits() -> Dataset:
    """Return the digits with their split.

    They are read from scikit-learn's file and split as its `train_test_split` does, but without
    importing scikit-learn, which takes a worker longer than fifty trainings.

    Raises
    ------
    ModuleNotFoundError
        If scikit-learn is not installed.
    """
    rows = np.loadtxt(scikit_learn_file("digits.csv.gz"), delimiter=",")
    labels = rows[:, -1].astype(np.intp)
    known = np.arange(len(labels) - TEST_IMAGES)
    train = _stratified(labels[known], TRAIN_IMAGES)
    splits = {
        "train": train,
        "validation": np.setdiff1d(known, train),
        "test": np.arange(len(known), len(labels)),
    }
    return Dataset(
        task="classification",
        features=rows[:, :-1] / 16,
        targets=labels,
        class_names=tuple(map(str, range(10))),
        feature_names=tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8)),
        splits=splits,
    )


def _stratified(labels: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of `count` labels, drawn from each class in proportion, ascending."""
    rng = np.random.RandomState(0)
    sizes = np.bincount(labels)
    shares = sizes / sizes.sum() * count
    counts = np.floor(shares).astype(int)
    rest = shares - counts
    for value in np.unique(rest)[::-1]:  # the largest remainders are rounded up, ties at random
        tied = np.flatnonzero(rest == value)
        rounded_up = min(len(tied), count - counts.sum())
        if rounded_up:
            counts[rng.choice(tied, rounded_up, replace=False)] += 1
    drawn = [
        np.flatnonzero(labels == label)[rng.permutation(size)[: counts[label]]]
        for label, size in enumerate(sizes)
    ]
    return np.sort(np.concatenate(drawn))
