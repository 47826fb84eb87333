"""The loss that the article reports; it descends another one, the categorical cross-entropy."""

import numpy as np

from optimlab.nn import softmax

LEAST = 1e-15  # a probability is clipped to [LEAST, 1 − LEAST]


def binary_loss_sum(logits, labels):
    """Return Σ −y log p − (1 − y) log(1 − p) over samples and classes: (R,).

    Each class counts as a separate binary classification.

    Parameters
    ----------
    logits : (R, C, N).
    labels : (N,) or (R, N).
    """
    p = np.clip(softmax(logits.astype(np.float64)), LEAST, 1 - LEAST)
    labels = np.broadcast_to(labels, (len(p), p.shape[-1]))[:, None]
    true = np.take_along_axis(p, labels, axis=1)
    np.put_along_axis(p, labels, 0, axis=1)  # log(1 − 0) adds nothing
    return -np.log(true).sum(axis=(1, 2)) - np.log1p(-p).sum(axis=2).sum(axis=1)
