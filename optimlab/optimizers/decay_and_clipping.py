"""Weight decay and gradient clipping around any rule.

A key of an optimizer's table adds them: ``weight_decay = 0.01`` or ``clip_norm = 1``. A rule that has
this hyper-parameter itself uses its own.

>>> from optimlab.optimizers import SGD
>>> WeightDecay(ClipNorm(SGD(learning_rate=0.5), clip_norm=1.0), weight_decay=0.01).learning_rate
0.5
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from optimlab.optimizers.base import Array, Hyperparameter, State, Task, Wrapper, begin
from optimlab.optimizers.terms import decayed_parts, scale_weights


@dataclass(frozen=True)
class WeightDecay(Wrapper):
    """Decoupled weight decay: any rule, with the weights shrunk before its step.

    ::

        w ← (1 − η λ) w,  then the rule's step

    λ acts on weights alone, not on biases and normalization, where the task's layout tells them apart.
    η is the rule's learning rate: a schedule of η scales the decay with it, as in PyTorch's and optax's
    AdamW. ``WeightDecay(Adam())`` takes the steps of `AdamW`. Differs from an L2 penalty, a problem's
    ``l2``, whose gradient goes through the rule: an adaptive rule divides it by √v̂, so that it shrinks
    weights with small gradients more than others.

    Parameters
    ----------
    around : the rule.
    weight_decay : λ, in [0, ∞).

    References
    ----------
    Loshchilov & Hutter (2019), Decoupled weight decay regularization, algorithms 1 and 2.

    Examples
    --------
    >>> from optimlab.optimizers import Adam
    >>> WeightDecay(Adam(), weight_decay=0.1).weight_decay
    0.1
    """

    around: Any
    _: KW_ONLY
    weight_decay: Hyperparameter = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if not hasattr(self.around, "learning_rate"):
            name = type(self.around).__name__
            raise TypeError(f"weight decay needs a learning_rate, which {name} does not have")

    def init(self, params: Array, task: Task | None = None) -> State:
        return {"decayed": decayed_parts(task), "around": begin(self.around, params, task)}

    def step(self, params: Array, gradient: Array, state: State) -> None:
        scale_weights(params, 1 - self.learning_rate * self.weight_decay, state["decayed"])
        self.around.step(params, gradient, state["around"])


@dataclass(frozen=True)
class ClipNorm(Wrapper):
    """Clipping by norm: any rule, with the gradient scaled down to a maximal norm.

    ::

        g ← g · c / max(‖g‖, c),  then the rule's step

    ‖g‖ is the norm of a run's whole gradient, as in optax's clip_by_global_norm; PyTorch's
    clip_grad_norm_ divides by ‖g‖ + 1e-6.

    Parameters
    ----------
    around : the rule.
    clip_norm : c, in (0, ∞).

    References
    ----------
    Pascanu, Mikolov & Bengio (2013), On the difficulty of training recurrent neural networks,
    algorithm 1.

    Examples
    --------
    >>> from optimlab.optimizers import Adam
    >>> ClipNorm(Adam(), clip_norm=0.5).clip_norm
    0.5
    """

    around: Any
    _: KW_ONLY
    clip_norm: Hyperparameter = 1.0

    def init(self, params: Array, task: Task | None = None) -> State:
        room = {"clipped": np.empty_like(params), "squares": np.empty(params.shape)}
        return {**room, "around": begin(self.around, params, task)}

    def step(self, params: Array, gradient: Array, state: State) -> None:
        # In float64, in which squares of float32 numbers cannot overflow.
        squares = np.square(gradient, out=state["squares"], dtype=np.float64)
        norm = np.sqrt(np.sum(squares, axis=-1, keepdims=True))
        factor = (self.clip_norm / np.maximum(norm, self.clip_norm)).astype(params.dtype)
        clipped = np.multiply(gradient, factor, out=state["clipped"])
        self.around.step(params, clipped, state["around"])


@dataclass(frozen=True)
class ClipValue(Wrapper):
    """Clipping by value: any rule, with each entry of the gradient limited.

    ::

        g ← min(max(g, −c), c),  then the rule's step

    Differs from `ClipNorm` in that the direction of the gradient changes.

    Parameters
    ----------
    around : the rule.
    clip_value : c, in (0, ∞).

    References
    ----------
    Graves (2013), Generating sequences with recurrent neural networks, section 2.1.

    Examples
    --------
    >>> from optimlab.optimizers import Adam
    >>> ClipValue(Adam(), clip_value=0.5).clip_value
    0.5
    """

    around: Any
    _: KW_ONLY
    clip_value: Hyperparameter = 1.0

    def init(self, params: Array, task: Task | None = None) -> State:
        return {"clipped": np.empty_like(params), "around": begin(self.around, params, task)}

    def step(self, params: Array, gradient: Array, state: State) -> None:
        limit = np.asarray(self.clip_value, params.dtype)
        clipped = np.clip(gradient, -limit, limit, out=state["clipped"])
        self.around.step(params, clipped, state["around"])
