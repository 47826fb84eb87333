"""Softmax, cross-entropy and one-hot labels.

Logits are (R, C, B): for each of R runs, C classes by B samples. Labels are whole numbers 0 … C−1 of
shape (R, B), or (B,) where all runs share them. The loss is the mean over the batch.
"""

from __future__ import annotations

import numpy as np

from optimlab.nn.parameters import ones

Array = np.ndarray


def one_hot(labels: Array, classes: int) -> Array:
    """Return an array of zeros with a one at each label: shape (*labels.shape, classes), float64.

    Raises
    ------
    ValueError
        When a label is not in 0 … classes − 1.

    Examples
    --------
    >>> one_hot(np.array([2, 0]), 3)
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    labels = np.asarray(labels)
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(f"labels must be in 0 … {classes - 1}, got {labels.min()} … {labels.max()}")
    return np.eye(classes)[labels]


def softmax(logits: Array) -> Array:
    """Return e^z / Σ e^z over the classes (axis −2), for logits (…, C, B) of any size."""
    powers = np.exp(logits - logits.max(axis=-2, keepdims=True))
    return powers / powers.sum(axis=-2, keepdims=True)


def cross_entropy_and_gradient(logits: Array, labels: Array) -> tuple[Array, Array]:
    """Return the mean cross-entropy (R,) and its gradient by the logits (R, C, B).

    The loss of a sample is log Σ e^z − z[label], and its gradient softmax(z) − one_hot(label): the
    two pieces of the article, ``−1/p`` and ``p (1 − p)``, whose product this is, are never formed.
    The logits are overwritten by the gradient.
    """
    z = by_class(logits)
    batch = z.shape[-1]
    at_label = label_positions(labels, z.shape)
    flat = z.reshape(-1)
    z -= np.maximum.reduce(z)
    score = flat[at_label]

    np.exp(z, out=z)
    total = sum_over_classes(z)
    z /= total
    flat[at_label] -= 1
    np.divide(z, batch, out=logits.transpose(1, 0, 2))  # which z may be

    np.log(total, out=total)
    total -= score
    return np.vecdot(total, ones(batch, total.dtype)) / batch, logits


def cross_entropy_and_correct(logits: Array, labels: Array) -> tuple[Array, Array]:
    """Return each run's summed cross-entropy (R,) and its number of correct samples (R,), as float64.

    A sample is correct when its label's logit is above all others: a tie, as in a network that gives
    every class the same, is not. The logits may be overwritten.
    """
    z = by_class(logits)
    at_label = label_positions(labels, z.shape)
    flat = z.reshape(-1)
    score = flat[at_label]
    flat[at_label] = -np.inf
    rival = np.maximum.reduce(z)
    correct = np.count_nonzero(score > rival, axis=1)

    flat[at_label] = score
    np.maximum(rival, score, out=rival)
    z -= rival
    score -= rival
    np.exp(z, out=z)
    total = sum_over_classes(z)
    np.log(total, out=total)
    total -= score
    return np.sum(total.astype(np.float64), axis=1), correct


def sum_over_classes(z: Array) -> Array:
    """Return the sum over the first axis, in its order whatever the length of the others is."""
    total = z[0].copy()
    for one_class in z[1:]:
        total += one_class
    return total


def by_class(logits: Array) -> Array:
    """Return the logits (R, C, B) as (C, R, B), one class after another in memory: a copy if need be.

    What goes over the classes is then a few operations on whole rows of memory.
    """
    return np.ascontiguousarray(logits.transpose(1, 0, 2))


def binary_cross_entropy_sum(probabilities: Array, labels: Array) -> Array:
    """Return the article's loss (R,): Σ −y log p − (1 − y) log(1 − p) over samples and classes.

    Each class counts as a yes-or-no question of its own. The article reports this loss and descends the
    categorical one (see `cross_entropy_and_gradient`). Probabilities (R, C, B) are clipped to
    [10⁻¹⁵, 1 − 10⁻¹⁵].
    """
    clipped = np.clip(probabilities.astype(np.float64), 1e-15, 1 - 1e-15)
    p = by_class(clipped)
    at_label = label_positions(labels, p.shape)
    flat = p.reshape(-1)
    true = flat[at_label]
    flat[at_label] = 0  # log(1 − 0) adds nothing
    return -np.log(true).sum(axis=1) - sum_over_classes(np.log1p(-p).sum(axis=2))


def label_positions(labels: Array, shape: tuple[int, ...]) -> Array:
    """Return where each sample's label stands in a flat array of this shape (C, R, B): (R, B)."""
    _, runs, batch = shape
    return labels * (runs * batch) + np.arange(runs * batch).reshape(runs, batch)
