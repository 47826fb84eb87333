"""Derivatives without calculus: central differences along a random direction."""

import numpy as np


def directional_error(function, gradient, at, rng, width=1e-5):
    """Return the relative error (R,) of `gradient` (R, …) of `function` (R, …) → (R,) in one direction.

    The direction is random and its entries are of size one, so each entry of the gradient counts.
    """
    direction = rng.choice([-1.0, 1.0], at.shape) * rng.uniform(0.5, 1.5, at.shape)
    ahead, behind = function(at + width * direction), function(at - width * direction)
    measured = (ahead - behind) / (2 * width)
    claimed = (gradient * direction).reshape(len(at), -1).sum(axis=1)
    return np.abs(measured - claimed) / np.maximum(np.abs(measured), np.abs(claimed))
