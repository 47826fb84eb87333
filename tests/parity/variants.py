"""The nearest wrong variants of the rules: what other formulas, and other libraries, make of them.

Each is its formula as a textbook has it. They hold the gradient point as their parameters.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class Variant:
    """What they share: two averages, and hyper-parameters that are numbers or columns."""

    def __init__(self, **hyperparameters: Any) -> None:
        self.__dict__ |= {"beta2": 0.0, "momentum": 0.0, **hyperparameters}

    def init(self, params):
        return {"t": 0, "first": np.zeros_like(params), "second": np.zeros_like(params)}

    def gradient_point(self, params, state):
        return params

    def step(self, params, gradient, state):
        state["t"] += 1
        params -= self.learning_rate * self.direction(gradient, **state)

    def mean_square(self, decay, gradient, second):
        second[...] = decay * second + (1 - decay) * gradient**2
        return second

    def mean(self, gradient, first):
        first[...] = self.beta1 * first + (1 - self.beta1) * gradient
        return first


class NoMomentum(Variant):
    def direction(self, gradient, **_):
        return gradient


class DampedMomentum(Variant):
    def direction(self, gradient, first, **_):
        first[...] = self.momentum * first + (1 - self.momentum) * gradient
        return first


class LookAheadTwice(Variant):
    def direction(self, gradient, first, **_):
        first[...] = self.momentum * first + gradient
        return gradient + self.momentum * (gradient + self.momentum * first)


class AdaGradEpsOutside(Variant):
    def direction(self, gradient, second, **_):
        second += gradient**2
        return gradient / (np.sqrt(second) + self.eps)


class AdaGradFromATenth(Variant):
    def direction(self, gradient, second, **_):
        second += gradient**2
        return gradient / np.sqrt(second + 0.1 + self.eps)


class RMSpropEpsOutside(Variant):
    def direction(self, gradient, second, **_):
        return gradient / (np.sqrt(self.mean_square(self.rho, gradient, second)) + self.eps)


class RMSpropUnbiased(Variant):
    def direction(self, gradient, second, t, **_):
        mean_square = self.mean_square(self.rho, gradient, second) / (1 - self.rho**t)
        return gradient / np.sqrt(mean_square + self.eps)


class RMSpropEpsOfTheSum(Variant):
    """ε is added to what the state holds, E / (1 − ρ), as if that were E."""

    def direction(self, gradient, second, **_):
        mean_square = self.mean_square(self.rho, gradient, second)
        return gradient / np.sqrt(mean_square + (1 - self.rho) * self.eps)


class AdamBiased(Variant):
    def direction(self, gradient, first, second, **_):
        root = np.sqrt(self.mean_square(self.beta2, gradient, second))
        return self.mean(gradient, first) / (root + self.eps)


class AdamOfTheArticle(Variant):
    """Corrected by 1 − β at every step, not by 1 − βᵗ."""

    def direction(self, gradient, first, second, **_):
        root = np.sqrt(self.mean_square(self.beta2, gradient, second) / (1 - self.beta2))
        return self.mean(gradient, first) / (1 - self.beta1) / (root + self.eps)


class AdamEpsInside(Variant):
    def direction(self, gradient, first, second, t, **_):
        square = self.mean_square(self.beta2, gradient, second) / (1 - self.beta2**t)
        return self.mean(gradient, first) / (1 - self.beta1**t) / np.sqrt(square + self.eps)


class AdamNoMomentum(Variant):
    def direction(self, gradient, second, t, **_):
        square = self.mean_square(self.beta2, gradient, second) / (1 - self.beta2**t)
        return gradient / (np.sqrt(square) + self.eps)
