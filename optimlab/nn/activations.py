"""Activations: sigmoid, tanh, ReLU, leaky ReLU, ELU, GELU and softplus, each with its slope.

`forward` overwrites its input x with y = f(x); `backward` overwrites dL/dy with dL/dx. What the slope
needs is kept in between, so one object serves one place in one network.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from optimlab.nn.parameters import Workspace

Array = np.ndarray


class Activation(Protocol):
    """What a network asks of an activation."""

    def forward(self, x: Array, workspace: Workspace) -> Array:
        """Return f(x), in the memory of `x`."""

    def backward(self, gradient: Array, workspace: Workspace) -> Array:
        """Return `gradient` · f'(x), in the memory of `gradient`."""


class Sigmoid:
    """1 / (1 + e⁻ˣ), with slope y (1 − y).

    Computed as (1 + tanh(x/2)) / 2: the same function, without an overflow for x far below zero.
    """

    def forward(self, x: Array, workspace: Workspace) -> Array:
        x *= 0.5
        np.tanh(x, out=x)
        x += 1
        x *= 0.5
        self.y = x
        return self.y

    def backward(self, gradient: Array, workspace: Workspace) -> Array:
        slope = np.subtract(1, self.y, out=workspace.like("slope", self.y))
        slope *= self.y
        gradient *= slope
        return gradient


class Tanh:
    """tanh x, with slope 1 − y²."""

    def forward(self, x: Array, workspace: Workspace) -> Array:
        self.y = np.tanh(x, out=x)
        return self.y

    def backward(self, gradient: Array, workspace: Workspace) -> Array:
        slope = np.multiply(self.y, self.y, out=workspace.like("slope", self.y))
        np.subtract(1, slope, out=slope)
        gradient *= slope
        return gradient


class ReLU:
    """max(x, 0), with slope 1 for x ≥ 0 (at zero, too) and else 0."""

    def forward(self, x: Array, workspace: Workspace) -> Array:
        # A 0/1 mask in the dtype of x: times such a mask is faster than np.maximum, both ways.
        self.slope = np.greater_equal(x, 0, out=workspace.like("slope", x))
        x *= self.slope
        return x

    def backward(self, gradient: Array, workspace: Workspace) -> Array:
        gradient *= self.slope
        return gradient


class LeakyReLU:
    """x for x ≥ 0 and else αx, with slope 1 or α; α = 0.2."""

    alpha = 0.2

    def forward(self, x: Array, workspace: Workspace) -> Array:
        self.slope = np.greater_equal(x, 0, out=workspace.like("slope", x))
        self.slope *= 1 - self.alpha
        self.slope += self.alpha
        x *= self.slope
        return x

    def backward(self, gradient: Array, workspace: Workspace) -> Array:
        gradient *= self.slope
        return gradient


class ELU:
    """x for x ≥ 0 and else α (eˣ − 1), with slope 1 or y + α; α = 0.1."""

    alpha = 0.1

    def forward(self, x: Array, workspace: Workspace) -> Array:
        below = np.minimum(x, 0, out=workspace.like("below", x))
        np.expm1(below, out=below)
        below *= self.alpha
        np.maximum(x, 0, out=x)
        x += below
        self.below = below
        self.is_positive = x >= 0
        return x

    def backward(self, gradient: Array, workspace: Workspace) -> Array:
        self.below += self.alpha
        np.copyto(self.below, 1, where=self.is_positive)
        gradient *= self.below
        return gradient


class GELU:
    """x Φ(x), with Φ the normal distribution, and slope Φ(x) + x φ(x).

    References
    ----------
    Hendrycks & Gimpel (2016), Gaussian error linear units, equation 1, without approximation.
    """

    def forward(self, x: Array, workspace: Workspace) -> Array:
        from scipy.special import ndtr  # slow to import

        share = ndtr(x, out=workspace.like("share", x))
        density = np.multiply(x, x, out=workspace.like("density", x))
        density *= -0.5
        np.exp(density, out=density)
        density *= 1 / math.sqrt(2 * math.pi)
        density *= x
        density += share
        self.slope = density
        x *= share
        return x

    def backward(self, gradient: Array, workspace: Workspace) -> Array:
        gradient *= self.slope
        return gradient


class Softplus:
    """log(1 + eˣ) = max(x, 0) + log(1 + e^−|x|), with slope 1 / (1 + e⁻ˣ) = 1 − e⁻ʸ."""

    def forward(self, x: Array, workspace: Workspace) -> Array:
        rest = np.abs(x, out=workspace.like("rest", x))
        np.exp(np.negative(rest, out=rest), out=rest)
        np.maximum(x, 0, out=x)
        x += np.log1p(rest, out=rest)
        self.y = x
        return self.y

    def backward(self, gradient: Array, workspace: Workspace) -> Array:
        slope = np.negative(self.y, out=workspace.like("slope", self.y))
        np.expm1(slope, out=slope)
        gradient *= np.negative(slope, out=slope)
        return gradient


ACTIVATIONS: dict[str, type[Activation]] = {
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "elu": ELU,
    "gelu": GELU,
    "softplus": Softplus,
}
