"""The nearest wrong variants of the rules: what other formulas, and other libraries, make of them.

Each is its formula as a textbook has it. They hold the gradient point as their parameters.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from optimlab.optimizers import (
    LAMB,
    LARS,
    SGD,
    SOAP,
    AdamW,
    DoG,
    Muon,
    Prodigy,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
    Shampoo,
)
from optimlab.optimizers.terms import decayed_parts


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


class AdamWCoupled(Variant):
    """The decay goes through the gradient: L2, as in the loss."""

    def step(self, params, gradient, state):
        decayed = gradient + self.weight_decay * params
        t, first, second = state["t"] + 1, state["first"], state["second"]
        state["t"] = t
        square = self.mean_square(self.beta2, decayed, second) / (1 - self.beta2**t)
        mean = self.mean(decayed, first) / (1 - self.beta1**t)
        params -= self.learning_rate * mean / (np.sqrt(square) + self.eps)


class AdamWDecayOfThePaper(Variant):
    """The share is λ, not η λ."""

    def direction(self, gradient, first, second, t, **_):
        return adam(self, gradient, first, second, t)

    def step(self, params, gradient, state):
        params *= 1 - self.weight_decay / 10
        super().step(params, gradient, state)


def adam(self, gradient, first, second, t):
    square = self.mean_square(self.beta2, gradient, second) / (1 - self.beta2**t)
    return self.mean(gradient, first) / (1 - self.beta1**t) / (np.sqrt(square) + self.eps)


class PlainAdam(Variant):
    def direction(self, gradient, first, second, t, **_):
        return adam(self, gradient, first, second, t)


class NAdamWithoutSchedule(Variant):
    """μ is β₁ at every step, as in optax."""

    def direction(self, gradient, first, second, t, **_):
        square = self.mean_square(self.beta2, gradient, second) / (1 - self.beta2**t)
        mixed = self.beta1 * self.mean(gradient, first) / (1 - self.beta1 ** (t + 1))
        mixed = mixed + (1 - self.beta1) * gradient / (1 - self.beta1**t)
        return mixed / (np.sqrt(square) + self.eps)


class RAdamEpsOfTheMean(Variant):
    """ε is added after the correction by 1 − β₂ᵗ, as in optax."""

    def direction(self, gradient, first, second, t, **_):
        corrected = 1 - self.beta2**t
        square = self.mean_square(self.beta2, gradient, second) / corrected
        mean = self.mean(gradient, first) / (1 - self.beta1**t)
        limit = 2 / (1 - self.beta2) - 1
        rho = limit - 2 * t * self.beta2**t / corrected
        long = np.maximum(rho, 5)
        factor = np.sqrt((long - 4) * (long - 2) * limit / ((limit - 4) * (limit - 2) * long))
        return mean * np.where(rho > 5, factor / (np.sqrt(square) + self.eps), 1)


class AMSGradOfTheCorrected(Variant):
    """The maximum of v̂, as in optax, not of v."""

    def direction(self, gradient, first, second, t, **state):
        largest = self.__dict__.setdefault("largest", np.zeros_like(first))
        square = self.mean_square(self.beta2, gradient, second) / (1 - self.beta2**t)
        np.maximum(largest, square, out=largest)
        return self.mean(gradient, first) / (1 - self.beta1**t) / (np.sqrt(largest) + self.eps)


class AdamaxBiased(Variant):
    def direction(self, gradient, first, second, **_):
        np.maximum(self.beta2 * second, np.abs(gradient) + self.eps, out=second)
        return self.mean(gradient, first) / second


class AdaDeltaOfTheNewStep(Variant):
    """D has seen the step that it scales, by the gradient's size."""

    def direction(self, gradient, first, second, **_):
        square = self.mean_square(self.rho, gradient, second)
        step = np.sqrt(first + self.eps) / np.sqrt(square + self.eps) * gradient
        first[...] = self.rho * first + (1 - self.rho) * step**2
        return np.sqrt(first + self.eps) / np.sqrt(square + self.eps) * gradient


class AdaDeltaEpsOutside(Variant):
    def direction(self, gradient, first, second, **_):
        square = self.mean_square(self.rho, gradient, second)
        step = (np.sqrt(first) + self.eps) / (np.sqrt(square) + self.eps) * gradient
        first[...] = self.rho * first + (1 - self.rho) * step**2
        return step


class AdaBeliefOfTheOldMean(Variant):
    """The surprise is measured before the average has seen the gradient."""

    def direction(self, gradient, first, second, t, **_):
        square = self.mean_square(self.beta2, gradient - first, second)
        second += self.eps
        mean = self.mean(gradient, first) / (1 - self.beta1**t)
        return mean / (np.sqrt(square / (1 - self.beta2**t)) + self.eps)


class AdaBeliefOneEps(Variant):
    def direction(self, gradient, first, second, t, **_):
        mean = self.mean(gradient, first)
        square = self.mean_square(self.beta2, gradient - mean, second) / (1 - self.beta2**t)
        return mean / (1 - self.beta1**t) / (np.sqrt(square) + self.eps)


class YogiBiased(Variant):
    def direction(self, gradient, first, second, **_):
        square = gradient**2
        second -= (1 - self.beta2) * np.sign(second - square) * square
        return self.mean(gradient, first) / (np.sqrt(second) + self.eps)


class AdanOfOptax(Variant):
    """1 − β₂ in the place of β₂."""

    def direction(self, gradient, first, second, t, **_):
        kept = self.__dict__.setdefault("kept", {"before": gradient.copy(), "v": np.zeros_like(first)})
        change = gradient - kept["before"]
        kept["before"] = gradient.copy()
        kept["v"] = self.beta2 * kept["v"] + (1 - self.beta2) * change
        square = self.mean_square(self.beta3, gradient + (1 - self.beta2) * change, second)
        mean = self.mean(gradient, first) / (1 - self.beta1**t)
        mean = mean + (1 - self.beta2) * kept["v"] / (1 - self.beta2**t)
        return mean / (np.sqrt(square / (1 - self.beta3**t)) + self.eps)

    def step(self, params, gradient, state):
        super().step(params, gradient, state)
        params /= 1 + self.learning_rate * self.weight_decay


class AdEMAMixCorrected(Variant):
    """The long memory is freed from its bias, too."""

    def direction(self, gradient, first, second, t, **_):
        long = self.__dict__.setdefault("long", np.zeros_like(first))
        long[...] = self.beta3 * long + (1 - self.beta3) * gradient
        square = self.mean_square(self.beta2, gradient, second) / (1 - self.beta2**t)
        mean = self.mean(gradient, first) / (1 - self.beta1**t)
        mean = mean + self.alpha * long / (1 - self.beta3**t)
        return mean / (np.sqrt(square) + self.eps)

    def step(self, params, gradient, state):
        params *= 1 - self.learning_rate * self.weight_decay
        super().step(params, gradient, state)


class ADOPTUnclipped(Variant):
    def direction(self, gradient, first, second, t, **_):
        if t == 1:
            second[...] = gradient**2
            return np.zeros_like(first)
        scaled = gradient / np.maximum(np.sqrt(second), self.eps)
        self.mean_square(self.beta2, gradient, second)
        return self.mean(scaled, first)


class ADOPTOfTheNewSquare(Variant):
    """The gradient is scaled by a second moment that has seen it."""

    def direction(self, gradient, first, second, t, **_):
        if t == 1:
            second[...] = gradient**2
            return np.zeros_like(first)
        self.mean_square(self.beta2, gradient, second)
        limit = (t - 1) ** 0.25
        scaled = gradient / np.maximum(np.sqrt(second), self.eps)
        return self.mean(np.clip(scaled, -limit, limit), first)


class LionOfOneDecay(Variant):
    """The sign of the average itself."""

    def direction(self, gradient, first, **_):
        first[...] = self.beta2 * first + (1 - self.beta2) * gradient
        return np.sign(first)

    def step(self, params, gradient, state):
        params *= 1 - self.learning_rate * self.weight_decay
        super().step(params, gradient, state)


class LionWithoutDecay(Variant):
    def direction(self, gradient, first, **_):
        mixed = np.sign(self.beta1 * first + (1 - self.beta1) * gradient)
        first[...] = self.beta2 * first + (1 - self.beta2) * gradient
        return mixed


class SignOfTheGradient(Variant):
    def direction(self, gradient, **_):
        return np.sign(gradient)


class AverageOfSigns(Variant):
    def direction(self, gradient, first, **_):
        first[...] = self.momentum * first + (1 - self.momentum) * np.sign(gradient)
        return first


class DoGOfTheLastDistance(DoG):
    """How far it is away now, in the place of how far it has ever been."""

    def step(self, params, gradient, state):
        if np.any(params != state["start"]):
            state["distance"][...] = 0
        super().step(params, gradient, state)


class ProdigyOfTheFirstDistance(Prodigy):
    def step(self, params, gradient, state):
        super().step(params, gradient, state)
        state["distance"][...] = self.initial_distance


def schedule_free_sgd_at_its_walk(**hyperparameters):
    return ScheduleFreeSGD(**{**hyperparameters, "momentum": 0.0})


def schedule_free_adamw_at_its_walk(**hyperparameters):
    return ScheduleFreeAdamW(**{**hyperparameters, "beta1": 0.0})


def lars_without_trust(learning_rate, momentum, **_):
    return SGD(learning_rate=learning_rate, momentum=momentum)


class LARSOfOneLayer(LARS):
    def init(self, params, task=None):
        return super().init(params)


class LAMBOfOneLayer(LAMB):
    def init(self, params, task=None):
        return super().init(params)


class MuonOfAllMatrices(Muon):
    @staticmethod
    def hidden(layout):
        return [name for name, shape in layout.shapes.items() if len(shape) == 2]


class MuonOfNoMatrix(Muon):
    @staticmethod
    def hidden(layout):
        return []


class ShampooOfTheDiagonal(Shampoo):
    def init(self, params, task=None):
        return super().init(params)


def shampoo_of_fresh_roots(**hyperparameters):
    return Shampoo(**{**hyperparameters, "precondition_period": 1})


class SOAPOfNoBasis(SOAP):
    def init(self, params, task=None):
        return {**super().init(params), "decayed": decayed_parts(task)}


class SOAPOfAFixedBasis(SOAP):
    def step(self, params, gradient, state):
        SOAP(**{**vars(self), "precondition_period": 1000}).step(params, gradient, state)


NEAREST = {
    "DoG": [DoGOfTheLastDistance],
    "Prodigy": [ProdigyOfTheFirstDistance],
    "ScheduleFreeSGD": [schedule_free_sgd_at_its_walk],
    "ScheduleFreeAdamW": [schedule_free_adamw_at_its_walk, AdamW],
    "LAMB": [AdamW, LAMBOfOneLayer],
    "LARS": [lars_without_trust, LARSOfOneLayer],
    "Muon": [MuonOfAllMatrices, MuonOfNoMatrix],
    "Shampoo": [ShampooOfTheDiagonal, shampoo_of_fresh_roots],
    "SOAP": [SOAPOfNoBasis, SOAPOfAFixedBasis],
    "AdamW": [AdamWCoupled, AdamWDecayOfThePaper, PlainAdam],
    "NAdam": [NAdamWithoutSchedule, PlainAdam],
    "RAdam": [RAdamEpsOfTheMean, PlainAdam],
    "AMSGrad": [AMSGradOfTheCorrected, PlainAdam],
    "Adamax": [AdamaxBiased, PlainAdam],
    "AdaDelta": [AdaDeltaOfTheNewStep, AdaDeltaEpsOutside],
    "AdaBelief": [AdaBeliefOfTheOldMean, AdaBeliefOneEps, PlainAdam],
    "Yogi": [YogiBiased, PlainAdam],
    "Adan": [AdanOfOptax],
    "AdEMAMix": [AdEMAMixCorrected],
    "ADOPT": [ADOPTUnclipped, ADOPTOfTheNewSquare],
    "Lion": [LionOfOneDecay, LionWithoutDecay],
    "Signum": [SignOfTheGradient, AverageOfSigns],
}
