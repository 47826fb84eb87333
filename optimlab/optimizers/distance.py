"""Rules that estimate their rate from the distance travelled, over a run's whole row.

Their learning rate multiplies the rate that they estimate; it is 1 unless there is a schedule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimlab.optimizers.base import Array, Hyperparameter, Rule, State, Task
from optimlab.optimizers.terms import (
    average,
    average_square,
    bias,
    decayed_parts,
    fresh_state,
    norm,
    scale_weights,
)


@dataclass(frozen=True, kw_only=True)
class DoG(Rule):
    """DoG: SGD whose rate is the largest distance from the start over the norm of all gradients so far.

    ::

        r ← max(r, ‖w − w₀‖)         r = ρ (1 + ‖w₀‖) at first
        G ← G + ‖g‖²
        w ← w − η r / √(G + ε) · g

    Differs from `AdaGrad` in that G is one sum for the whole run, and in r, which replaces the rate.
    The authors report an average of w: see `EMA`. With batch normalization they start at ρ = 1e-4.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    initial_distance : ρ, in (0, ∞): the length of the first step.
    eps : ε, in (0, ∞).

    References
    ----------
    Ivgi, Hinder & Carmon (2023), DoG is SGD's best friend: a parameter-free dynamic step size schedule,
    algorithm 1.

    Examples
    --------
    >>> DoG()
    DoG(learning_rate=1.0, initial_distance=1e-06, eps=1e-08)
    """

    learning_rate: Hyperparameter = 1.0
    initial_distance: Hyperparameter = 1e-6
    eps: Hyperparameter = 1e-8

    def init(self, params: Array) -> State:
        state = fresh_state(params)
        size = norm(params, state["scratch"])
        distance = (self.initial_distance * (1 + size)).astype(params.dtype)
        return {**state, "start": params.copy(), "distance": distance, "squares": np.zeros_like(size)}

    def step(self, params: Array, gradient: Array, state: State) -> None:
        distance, squares, scratch = state["distance"], state["squares"], state["scratch"]
        away = np.subtract(params, state["start"], out=scratch)
        np.maximum(distance, norm(away, scratch), out=distance)
        squares += norm(gradient, scratch) ** 2
        rate = self.learning_rate * distance / np.sqrt(squares + self.eps)
        params -= np.multiply(gradient, rate, out=scratch)


@dataclass(frozen=True, kw_only=True)
class Prodigy(Rule):
    """Prodigy: AdamW that estimates its rate from how well gradients point back to the start.

    ::

        c = η √(1 − β₂ᵗ) / (1 − β₁ᵗ)
        r ← √β₂ r + c d² ⟨g, w₀ − w⟩
        s ← √β₂ s + c d² g
        m ← β₁ m + (1 − β₁) d g
        v ← β₂ v + (1 − β₂) d² g²
        d' = max(d, r / ‖s‖₁),  d = δ at first
        w ← w − c d m / (√v + d' ε) − c d λ w
        d ← d'

    Differs from `AdamW` in d, the rate. The bias correction, in c, is optax's; the paper has none. The
    sums s and r are as in the formulas; optax divides them by δ.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    beta1, beta2 : β₁ and β₂, in [0, 1).
    eps : ε, in (0, ∞).
    weight_decay : λ, in [0, ∞).
    initial_distance : δ, in (0, ∞): the first d, which only ever grows.

    References
    ----------
    Mishchenko & Defazio (2024), Prodigy: an expeditiously adaptive parameter-free learner, algorithm 4.

    Examples
    --------
    >>> Prodigy().learning_rate
    1.0
    """

    learning_rate: Hyperparameter = 1.0
    beta1: Hyperparameter = 0.9
    beta2: Hyperparameter = 0.999
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.0
    initial_distance: Hyperparameter = 1e-6

    def init(self, params: Array, task: Task | None = None) -> State:
        nothing = np.zeros_like(params[..., :1])
        return {
            **fresh_state(params, "first_moment", "second_moment", "sum", "scaled"),
            "start": params.copy(),
            "distance": nothing + self.initial_distance,
            "progress": nothing,
            "decayed": decayed_parts(task),
        }

    def step(self, params: Array, gradient: Array, state: State) -> None:
        state["steps"] += 1
        scaled, scratch, distance = state["scaled"], state["scratch"], state["distance"]
        decay = self.beta2**0.5
        corrected = bias(self.beta2, state["steps"]) ** 0.5 / bias(self.beta1, state["steps"])
        rate = self.learning_rate * corrected * distance

        back = np.subtract(state["start"], params, out=scratch)
        back *= gradient
        # Divided by the first distance, so that the sums do not vanish in float32.
        share = distance / self.initial_distance
        state["progress"] *= decay
        state["progress"] += share * rate * np.sum(back, axis=-1, keepdims=True)
        state["sum"] *= decay
        state["sum"] += np.multiply(gradient, share * rate, out=scratch)
        np.multiply(gradient, distance, out=scaled)
        first = average(state["first_moment"], scaled, self.beta1, scratch)
        second = average_square(state["second_moment"], scaled, self.beta2, scratch)

        size = np.sum(np.abs(state["sum"], out=scratch), axis=-1, keepdims=True)
        estimate = np.divide(state["progress"], size, out=np.zeros_like(size), where=size > 0)
        np.maximum(distance, estimate, out=distance)
        np.add(np.sqrt(second, out=scratch), self.eps * distance, out=scratch)
        np.divide(first, scratch, out=scratch)
        scratch *= rate
        scale_weights(params, 1 - rate * self.weight_decay, state["decayed"])
        params -= scratch
