"""Activations: sigmoid, tanh, ReLU, leaky ReLU, ELU, GELU and softplus, each with its slope.

Each is a loop over the numbers of each run, (R, features · samples). It overwrites x with y = f(x), and
writes f'(x) to `slope`.
"""

from __future__ import annotations

import math

import numpy as np

from optimlab.nn.compiled import Compiled, compiled, exp, expm1

Array = np.ndarray


@compiled
def sigmoid(x: Array, slope: Array) -> None:
    """1 / (1 + e⁻ˣ), with slope y (1 − y); for x < 0 as eˣ / (1 + eˣ), which does not overflow."""
    one = x.dtype.type(1)
    for run in range(x.shape[0]):
        for i in range(x.shape[1]):
            power = exp(-abs(x[run, i]))
            y = (power if x[run, i] < 0 else one) / (one + power)
            x[run, i] = y
            slope[run, i] = y * (one - y)


@compiled
def tanh(x: Array, slope: Array) -> None:
    """tanh x, with slope 1 − y².

    For t = 1 − e^−2|x| it is t / (2 − t), near zero; far from there 1 − 2 e^−2|x| / (2 − t).
    """
    one, two = x.dtype.type(1), x.dtype.type(2)
    for run in range(x.shape[0]):
        for i in range(x.shape[1]):
            t = -expm1(-two * abs(x[run, i]))
            is_near = t < 0.7
            share = (t if is_near else two * (one - t)) / (two - t)
            size = share if is_near else one - share
            y = -size if x[run, i] < 0 else size
            x[run, i] = y
            slope[run, i] = one - y * y


@compiled
def relu(x: Array, slope: Array) -> None:
    """max(x, 0), with slope 1 for x ≥ 0 (at zero, too) and else 0."""
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for run in range(x.shape[0]):
        for i in range(x.shape[1]):
            is_below = x[run, i] < 0
            slope[run, i] = zero if is_below else one
            x[run, i] = zero if is_below else x[run, i]


@compiled
def leaky_relu(x: Array, slope: Array) -> None:
    """x for x ≥ 0 and else αx, with slope 1 or α; α = 0.2."""
    one, alpha = x.dtype.type(1), x.dtype.type(0.2)
    for run in range(x.shape[0]):
        for i in range(x.shape[1]):
            factor = alpha if x[run, i] < 0 else one
            slope[run, i] = factor
            x[run, i] *= factor


@compiled
def elu(x: Array, slope: Array) -> None:
    """x for x ≥ 0 and else α (eˣ − 1), with slope 1 or y + α; α = 0.1."""
    one, alpha = x.dtype.type(1), x.dtype.type(0.1)
    for run in range(x.shape[0]):
        for i in range(x.shape[1]):
            is_above = x[run, i] >= 0
            y = x[run, i] if is_above else alpha * expm1(x[run, i])
            slope[run, i] = one if is_above else y + alpha
            x[run, i] = y


@compiled
def gelu(x: Array, slope: Array) -> None:
    """x Φ(x), with Φ the normal distribution, and slope Φ(x) + x φ(x).

    References
    ----------
    Hendrycks & Gimpel (2016), Gaussian error linear units, equation 1, without approximation.
    """
    for run in range(x.shape[0]):
        for i in range(x.shape[1]):
            number = np.float64(x[run, i])
            share = math.erfc(-number / math.sqrt(2)) / 2
            density = math.exp(-number * number / 2) / math.sqrt(2 * math.pi)
            slope[run, i] = share + number * density
            x[run, i] = number * share


@compiled
def softplus(x: Array, slope: Array) -> None:
    """log(1 + eˣ) = max(x, 0) + log(1 + e^−|x|), with slope 1 / (1 + e⁻ˣ) = 1 − e⁻ʸ."""
    zero = x.dtype.type(0)
    for run in range(x.shape[0]):
        for i in range(x.shape[1]):
            y = (zero if x[run, i] < 0 else x[run, i]) + math.log1p(exp(-abs(x[run, i])))
            x[run, i] = y
            slope[run, i] = -expm1(-y)


ACTIVATIONS: dict[str, Compiled] = {
    each.function.__name__: each for each in (sigmoid, tanh, relu, leaky_relu, elu, gelu, softplus)
}
