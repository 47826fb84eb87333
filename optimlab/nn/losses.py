"""Softmax, cross-entropy and one-hot labels.

Logits are (R, C, B): for each of R runs, C classes by B samples. Labels are whole numbers 0 … C−1 of
shape (R, B), or (B,) where all runs share them. The loss is the mean over the batch.
"""

from __future__ import annotations

import numpy as np

from optimlab.nn.parameters import Workspace, ones

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


def cross_entropy_and_gradient(
    logits: Array, labels: Array, workspace: Workspace
) -> tuple[Array, Array]:
    """Return the mean cross-entropy (R,) and its gradient by the logits (R, C, B).

    The loss of a sample is log Σ e^z − z[label], and its gradient softmax(z) − one_hot(label): the
    two pieces of the article, ``−1/p`` and ``p (1 − p)``, whose product this is, are never formed.
    The logits are overwritten by the gradient.
    """
    runs, classes, batch = logits.shape
    maximum = np.max(logits, axis=1, out=workspace.array("maximum", (runs, batch)))
    logits -= maximum[:, None]
    at_label = label_positions(labels, runs, classes, batch)
    flat = logits.reshape(-1)
    score = flat[at_label]

    np.exp(logits, out=logits)
    total = np.matmul(ones(classes, logits.dtype), logits, out=maximum)
    logits /= total[:, None]
    flat[at_label] -= 1
    logits /= batch

    np.log(total, out=total)
    total -= score
    return np.vecdot(total, ones(batch, total.dtype)) / batch, logits


def cross_entropy_and_correct(logits: Array, labels: Array, workspace: Workspace) -> tuple[Array, Array]:
    """Return each run's summed cross-entropy (R,) and its number of correct samples (R,), as float64.

    A sample is correct when its label's logit is above all others: a tie, as in a network that gives
    every class the same, is not. The logits are overwritten.
    """
    runs, classes, batch = logits.shape
    at_label = label_positions(labels, runs, classes, batch)
    flat = logits.reshape(-1)
    score = flat[at_label]
    flat[at_label] = -np.inf
    rival = np.max(logits, axis=1, out=workspace.array("rival", (runs, batch)))
    correct = np.count_nonzero(score > rival, axis=1)

    flat[at_label] = score
    np.maximum(rival, score, out=rival)
    logits -= rival[:, None]
    score -= rival
    np.exp(logits, out=logits)
    total = np.matmul(ones(classes, logits.dtype), logits, out=rival)
    np.log(total, out=total)
    total -= score
    return total.sum(axis=1, dtype=np.float64), correct


def binary_cross_entropy_sum(probabilities: Array, labels: Array) -> Array:
    """Return the article's loss (R,): Σ −y log p − (1 − y) log(1 − p) over samples and classes.

    Each class counts as a yes-or-no question of its own. The article reports this loss and descends the
    categorical one (see `cross_entropy_and_gradient`). Probabilities (R, C, B) are clipped to
    [10⁻¹⁵, 1 − 10⁻¹⁵].
    """
    runs, classes, batch = probabilities.shape
    clipped = np.clip(probabilities.astype(np.float64), 1e-15, 1 - 1e-15)
    at_label = label_positions(labels, runs, classes, batch)
    flat = clipped.reshape(-1)
    true = flat[at_label]
    flat[at_label] = 0  # log(1 − 0) adds nothing
    return -np.log(true).sum(axis=1) - np.log1p(-clipped).sum(axis=(1, 2))


def label_positions(labels: Array, runs: int, classes: int, batch: int) -> Array:
    """Return where each sample's label stands in the flat logits: whole numbers (R, B)."""
    return np.arange(runs)[:, None] * (classes * batch) + labels * batch + np.arange(batch)
