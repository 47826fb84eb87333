"""Rules whose result is an average of their iterates, and wrappers around any rule.

A wrapper holds another optimizer, whose learning rate it has:

>>> from optimlab.optimizers import RAdam
>>> Lookahead(Cautious(RAdam(learning_rate=0.01)), sync_period=6).learning_rate
0.01

An experiment names one as ``rule = "Lookahead(Cautious(RAdam))"``; its table takes the
hyper-parameters of all three.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from optimlab.optimizers.base import (
    Array,
    Hyperparameter,
    Rule,
    State,
    Task,
    Wrapper,
    begin,
    eval_params,
)
from optimlab.optimizers.terms import (
    average,
    average_square,
    bias,
    decayed_parts,
    fresh_state,
    layers,
)


@dataclass(frozen=True, kw_only=True)
class ScheduleFreeSGD(Rule):
    """Schedule-Free SGD: takes gradients between an SGD iterate and its average, and needs no schedule.

    ::

        y = (1 − μ) z + μ w,  where the gradient g is taken
        z ← z − η (g + λ y)
        c = η*² / Σ η*²,  η* the largest η so far, summed over the steps
        w ← (1 − c) w + c z

    Differs from `SGD` in that w is the average, and that μ sets where between z and w the gradient is
    taken. The parameters are w, and all metrics are those of w; PyTorch and optax hold y, and compute w
    for an evaluation. A schedule of η should be a warm-up only, which c allows for.
    Batch normalization's running averages are those at y.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    momentum : μ, in [0, 1).
    weight_decay : λ, in [0, ∞).

    References
    ----------
    Defazio et al. (2024), The road less scheduled, equations 3 to 5 and algorithm 1.

    Examples
    --------
    >>> ScheduleFreeSGD(learning_rate=0.5)
    ScheduleFreeSGD(learning_rate=0.5, momentum=0.9, weight_decay=0.0)
    """

    learning_rate: Hyperparameter = 1.0
    momentum: Hyperparameter = 0.9
    weight_decay: Hyperparameter = 0.0

    def init(self, params: Array, task: Task | None = None) -> State:
        return _begin_walk(params, task)

    def gradient_point(self, params: Array, state: State) -> Array:
        return _between(params, state, self.momentum)

    def step(self, params: Array, gradient: Array, state: State) -> None:
        np.copyto(state["update"], gradient)
        _walk(params, state, self, self.momentum)


@dataclass(frozen=True, kw_only=True)
class ScheduleFreeAdamW(Rule):
    """Schedule-Free AdamW: the average of RMSprop iterates replaces momentum and schedule.

    ::

        y = (1 − β₁) z + β₁ w,  where the gradient g is taken
        v ← β₂ v + (1 − β₂) g²       v̂ = v / (1 − β₂ᵗ)
        z ← z − η (g / (√v̂ + ε) + λ y)
        c = η*² / Σ η*²,  η* the largest η so far, summed over the steps
        w ← (1 − c) w + c z

    Differs from `ScheduleFreeSGD` in √v̂, and from `AdamW` in that β₁ is not the decay of an average.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    beta1, beta2 : β₁ and β₂, in [0, 1).
    eps : ε, in (0, ∞).
    weight_decay : λ, in [0, ∞).

    References
    ----------
    Defazio et al. (2024), The road less scheduled, algorithm 1.

    Examples
    --------
    >>> ScheduleFreeAdamW().learning_rate
    0.0025
    """

    learning_rate: Hyperparameter = 0.0025
    beta1: Hyperparameter = 0.9
    beta2: Hyperparameter = 0.999
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.0

    def init(self, params: Array, task: Task | None = None) -> State:
        return {**_begin_walk(params, task), "second_moment": np.zeros_like(params)}

    def gradient_point(self, params: Array, state: State) -> Array:
        return _between(params, state, self.beta1)

    def step(self, params: Array, gradient: Array, state: State) -> None:
        update = state["update"]
        second = average_square(state["second_moment"], gradient, self.beta2, update)
        np.multiply(second, 1 / bias(self.beta2, state["steps"] + 1), out=update)
        np.add(np.sqrt(update, out=update), self.eps, out=update)
        np.divide(gradient, update, out=update)
        _walk(params, state, self, self.beta1)


def _begin_walk(params: Array, task: Task | None) -> State:
    state = {**fresh_state(params, "update"), "walk": params.copy()}
    return {**state, "largest_rate": 0.0, "weights": 0.0, "decayed": decayed_parts(task)}


def _between(params: Array, state: State, share: Hyperparameter) -> Array:
    """Return y, between the iterate z and its average, in the scratch array."""
    between = np.subtract(params, state["walk"], out=state["scratch"])
    between *= share
    return np.add(between, state["walk"], out=between)


def _walk(params: Array, state: State, rule: Any, share: Hyperparameter) -> None:
    """Move the iterate z by the state's update, and its average `params` towards it."""
    state["steps"] += 1
    walk, update, rate = state["walk"], state["update"], rule.learning_rate
    if np.any(rule.weight_decay):
        between = _between(params, state, share)
        between *= rule.weight_decay
        for part in state["decayed"]:
            update[..., part] += between[..., part]
    update *= rate
    walk -= update
    state["largest_rate"] = np.maximum(state["largest_rate"], rate)
    state["weights"] = state["weights"] + state["largest_rate"] ** 2
    towards = np.subtract(walk, params, out=update)
    towards *= state["largest_rate"] ** 2 / state["weights"]
    params += towards


@dataclass(frozen=True)
class EMA(Wrapper):
    """EMA: any rule, evaluated at the exponential moving average of its parameters.

    ::

        w ← the rule's step from w
        a ← β a + (1 − β) w          â = a / (1 − βᵗ), or 1 − Π β where β changes

    The metrics are those of â. Differs from `Lookahead` in that the average never affects the rule.
    The average is bias-corrected, as Adam's moments are, so that the starting point does not enter it.

    Parameters
    ----------
    around : the rule.
    decay : β, in [0, 1): about the last 1 / (1 − β) steps count.

    References
    ----------
    Polyak & Juditsky (1992), Acceleration of stochastic approximation by averaging; in this form
    Kingma & Ba (2015), Adam: a method for stochastic optimization, section 7.2.

    Examples
    --------
    >>> from optimlab.optimizers import RAdam
    >>> EMA(RAdam(learning_rate=0.1), decay=0.9).learning_rate
    0.1
    """

    around: Any
    _: KW_ONLY
    decay: Hyperparameter = 0.99

    def init(self, params: Array, task: Task | None = None) -> State:
        state = {**fresh_state(params, "average"), "share_of_zero": 1.0}
        return {**state, "around": begin(self.around, params, task)}

    def step(self, params: Array, gradient: Array, state: State) -> None:
        state["steps"] += 1
        self.around.step(params, gradient, state["around"])
        inner = eval_params(self.around, params, state["around"])
        average(state["average"], inner, self.decay, state["scratch"])
        state["share_of_zero"] = state["share_of_zero"] * self.decay

    def eval_params(self, params: Array, state: State) -> Array:
        """Return â."""
        if state["steps"] == 0:
            return params
        return state["average"] / (1 - state["share_of_zero"])


@dataclass(frozen=True)
class Lookahead(Wrapper):
    """Lookahead: k steps forward by any rule, then one step back towards where they began.

    ::

        w ← the rule's step from w
        every k steps:  s ← s + α (w − s),  w ← s

    The metrics are those of the slow weights s. Differs from `EMA` in that the rule continues from
    them, with its state unchanged.

    Parameters
    ----------
    around : the rule.
    slow_step_size : α, in (0, 1].
    sync_period : k, a whole number from 1 on.

    References
    ----------
    Zhang et al. (2019), Lookahead optimizer: k steps forward, 1 step back, algorithm 1.

    Examples
    --------
    >>> from optimlab.optimizers import RAdam
    >>> Lookahead(RAdam(), sync_period=10).slow_step_size
    0.5
    """

    around: Any
    _: KW_ONLY
    slow_step_size: Hyperparameter = 0.5
    sync_period: Hyperparameter = 5

    def init(self, params: Array, task: Task | None = None) -> State:
        state = {**fresh_state(params), "slow": params.copy()}
        return {**state, "around": begin(self.around, params, task)}

    def step(self, params: Array, gradient: Array, state: State) -> None:
        state["steps"] += 1
        self.around.step(params, gradient, state["around"])
        is_time = np.mod(state["steps"], self.sync_period) == 0  # (R, 1) where the period is a column
        if np.any(is_time):
            slow = state["slow"]
            ahead = np.subtract(params, slow, out=state["scratch"])
            slow += np.multiply(ahead, self.slow_step_size * is_time, out=ahead)
            np.copyto(params, slow, where=is_time)

    def eval_params(self, params: Array, state: State) -> Array:
        """Return the slow weights."""
        return state["slow"]


@dataclass(frozen=True)
class Cautious(Wrapper):
    """Cautious: any rule, without those components of its step that the newest gradient opposes.

    ::

        u = the rule's step: alone it would give w − u
        φ = 1 where u g > 0, 0 elsewhere
        w ← w − φ u / max(mean φ, 0.001)

    The mean is over each array of the task's layout, or over the whole row without a task: the remaining
    entries are scaled up by the inverse of their share. The rule's weight decay is part of its step.

    Parameters
    ----------
    around : the rule.

    References
    ----------
    Liang et al. (2024), Cautious optimizers: improving training with one line of code, section 2.

    Examples
    --------
    >>> from optimlab.optimizers import RAdam
    >>> Cautious(RAdam(learning_rate=0.1)).learning_rate
    0.1
    """

    around: Any

    def init(self, params: Array, task: Task | None = None) -> State:
        state = {**fresh_state(params, "before", "agrees"), "layers": layers(task)}
        return {**state, "around": begin(self.around, params, task)}

    def step(self, params: Array, gradient: Array, state: State) -> None:
        before, agrees = state["before"], state["agrees"]
        np.copyto(before, params)
        self.around.step(params, gradient, state["around"])
        update = np.subtract(before, params, out=state["scratch"])
        np.copyto(params, before)
        np.greater(np.multiply(update, gradient, out=agrees), 0, out=agrees)
        for layer in state["layers"]:
            share = np.mean(agrees[..., layer], axis=-1, keepdims=True)
            agrees[..., layer] /= np.maximum(share, 1e-3)
        update *= agrees
        params -= update
