"""Two optimizers as the article prints them, where that differs from the method they are named for."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class ConstantCorrectionAdam:
    """Adam that divides by 1 − β at every step, where Adam divides by 1 − βᵗ.

    At the first step both are the same. Later 1 − βᵗ goes to 1 and 1 − β stays: the first moment is too
    large by 1/(1 − β₁) = 10, the root of the second by √(1/(1 − β₂)) ≈ 31.6, and so the steps are those
    of an Adam without bias correction whose learning rate is 0.316 η (and whose ε is ε/31.6).
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def init(self, params):
        return {"m": np.zeros_like(params), "v": np.zeros_like(params)}

    def gradient_point(self, params, state):
        return params

    def step(self, params, gradient, state):
        m, v = state["m"], state["v"]
        m += (1 - self.beta1) * (gradient - m)
        v += (1 - self.beta2) * (gradient * gradient - v)
        m_hat, v_hat = m / (1 - self.beta1), v / (1 - self.beta2)
        params -= self.learning_rate * m_hat / (np.sqrt(v_hat) + self.eps)


@dataclass(frozen=True, kw_only=True)
class ClippedNesterov:
    """Nesterov whose look-ahead gradient is clipped, entry by entry, to ±`clip`."""

    learning_rate: float = 0.001
    momentum: float = 0.4
    clip: float = 1.0

    def init(self, params):
        return {"velocity": np.zeros_like(params)}

    def gradient_point(self, params, state):
        return params - self.momentum * state["velocity"]

    def step(self, params, gradient, state):
        velocity = state["velocity"]
        velocity *= self.momentum
        velocity += self.learning_rate * np.clip(gradient, -self.clip, self.clip)
        params -= velocity
