"""Activations: sigmoid, tanh, ReLU, leaky ReLU, ELU, GELU and softplus, each with its slope.

Each takes a number x and returns f(x) and f'(x). `Activation` applies it to the numbers of a stack.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from optimlab.compiled_code import Compiled
from optimlab.nn.compiled import compiled, exp, expm1

Array = np.ndarray


@compiled
def sigmoid(x: Any) -> Any:
    """1 / (1 + e⁻ˣ), with slope y (1 − y); for x < 0 as eˣ / (1 + eˣ), which does not overflow."""
    one = type(x)(1)
    power = exp(-abs(x))
    y = (power if x < 0 else one) / (one + power)
    return y, y * (one - y)


@compiled
def tanh(x: Any) -> Any:
    """tanh x, with slope 1 − y².

    For t = 1 − e^−2|x| it is t / (2 − t) near zero, and 1 − 2 e^−2|x| / (2 − t) far from there.
    """
    one, two = type(x)(1), type(x)(2)
    t = -expm1(-two * abs(x))
    is_near = t < 0.7
    share = (t if is_near else two * (one - t)) / (two - t)
    size = share if is_near else one - share
    y = -size if x < 0 else size
    return y, one - y * y


@compiled
def relu(x: Any) -> Any:
    """max(x, 0), with slope 1 for x ≥ 0 (at zero, too) and else 0."""
    zero, one = type(x)(0), type(x)(1)
    return (zero, zero) if x < 0 else (x, one)


@compiled
def leaky_relu(x: Any) -> Any:
    """x for x ≥ 0 and else αx, with slope 1 or α; α = 0.2."""
    slope = type(x)(0.2) if x < 0 else type(x)(1)
    return slope * x, slope


@compiled
def elu(x: Any) -> Any:
    """x for x ≥ 0 and else α (eˣ − 1), with slope 1 or y + α; α = 0.1."""
    one, alpha = type(x)(1), type(x)(0.1)
    y = x if x >= 0 else alpha * expm1(x)
    return y, one if x >= 0 else y + alpha


@compiled
def gelu(x: Any) -> Any:
    """x Φ(x), with Φ the normal distribution function, and slope Φ(x) + x φ(x).

    References
    ----------
    Hendrycks & Gimpel (2016), Gaussian error linear units, equation 1, without approximation.
    """
    number = np.float64(x)
    share = math.erfc(-number / math.sqrt(2)) / 2
    density = math.exp(-number * number / 2) / math.sqrt(2 * math.pi)
    return number * share, share + number * density


@compiled
def softplus(x: Any) -> Any:
    """log(1 + eˣ) = max(x, 0) + log(1 + e^−|x|), with slope 1 / (1 + e⁻ˣ) = 1 − e⁻ʸ."""
    y = (type(x)(0) if x < 0 else x) + math.log1p(exp(-abs(x)))
    return y, -expm1(-y)


class Activation:
    """An activation of all numbers of a stack of runs, in place.

    Parameters
    ----------
    function : returns f(x) and f'(x) of a number.

    Attributes
    ----------
    with_slope : overwrites x (R, features · samples) with f(x), and writes f'(x) to a second array.
    after_bias : overwrites x (R, features, samples) with f(x + b), for b (R, features).
    """

    def __init__(self, function: Compiled) -> None:
        @compiled
        def with_slope(x: Array, slope: Array) -> None:
            for run in range(x.shape[0]):
                for i in range(x.shape[1]):
                    x[run, i], slope[run, i] = function(x[run, i])

        @compiled
        def after_bias(x: Array, bias: Array) -> None:
            for run in range(x.shape[0]):
                for feature in range(x.shape[1]):
                    shift = bias[run, feature]
                    for sample in range(x.shape[2]):
                        x[run, feature, sample] = function(x[run, feature, sample] + shift)[0]

        self.name, self.with_slope, self.after_bias = function.function.__name__, with_slope, after_bias

    def __reduce__(self) -> tuple[Any, ...]:  # by name: its loops belong to the module
        return named, (self.name,)


ACTIVATIONS: dict[str, Activation] = {
    each.name: each for each in map(Activation, (sigmoid, tanh, relu, leaky_relu, elu, gelu, softplus))
}


def named(name: str) -> Activation:
    """Return an activation by its name."""
    return ACTIVATIONS[name]
