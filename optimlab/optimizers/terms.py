"""Building blocks of several rules: running averages, their bias, weight decay, norms.

Each works in place on rows (R, P) or a single run (P,), and treats each row separately.
"""

from __future__ import annotations

import numpy as np

from optimlab.optimizers.base import Array, Hyperparameter, State, Task


def fresh_state(params: Array, *names: str) -> State:
    """Return an initial state: an array of zeros for each name, and a scratch array."""
    zeros = {name: np.zeros_like(params) for name in names}
    return {"steps": 0, **zeros, "scratch": np.empty_like(params)}


def average(mean: Array, value: Array, decay: Hyperparameter, scratch: Array) -> Array:
    """Return m ← β m + (1 − β) x; `value` may be `scratch`."""
    mean *= decay
    mean += np.multiply(value, 1 - decay, out=scratch)
    return mean


def average_square(mean: Array, value: Array, decay: Hyperparameter, scratch: Array) -> Array:
    """Return v ← β v + (1 − β) x²; `value` may be `scratch`."""
    return average(mean, np.multiply(value, value, out=scratch), decay, scratch)


def bias(decay: Hyperparameter, steps: int) -> Hyperparameter:
    """Return 1 − βᵗ, the total weight of t values in an average that began at zero."""
    return 1 - decay**steps


def over_root(
    mean: Array, square: Array, correction: Hyperparameter, eps: Hyperparameter, scratch: Array
) -> Array:
    """Return m / (√(v / c) + ε) in the scratch array, with c the bias of v."""
    np.multiply(square, 1 / correction, out=scratch)
    np.add(np.sqrt(scratch, out=scratch), eps, out=scratch)
    return np.divide(mean, scratch, out=scratch)


def adam_direction(
    gradient: Array, state: State, beta1: Hyperparameter, beta2: Hyperparameter, eps: Hyperparameter
) -> Array:
    """Update both averages with the gradient, and return Adam's m̂ / (√v̂ + ε) in the scratch array."""
    state["steps"] += 1
    scratch = state["scratch"]
    first = average(state["first_moment"], gradient, beta1, scratch)
    second = average_square(state["second_moment"], gradient, beta2, scratch)
    direction = over_root(first, second, bias(beta2, state["steps"]), eps, scratch)
    return np.multiply(direction, 1 / bias(beta1, state["steps"]), out=scratch)


def decayed_parts(task: Task | None) -> list[slice]:
    """Return the slices that weight decay acts on: the weights, or the whole row without a task."""
    if task is None:
        return [slice(None)]
    return [task.layout.slices[name] for name in task.layout.weights]


def layers(task: Task | None) -> list[slice]:
    """Return the slices of a task's arrays, each a layer; without a task, the whole row."""
    return [slice(None)] if task is None else list(task.layout.slices.values())


def scale_weights(params: Array, factor: Hyperparameter, parts: list[slice]) -> None:
    """Multiply the weights by a factor: 1 − η λ is decoupled weight decay."""
    if np.any(factor != 1):
        for part in parts:
            params[..., part] *= factor


def norm(rows: Array, scratch: Array) -> Array:
    """Return the Euclidean norm of each row, (R, 1) or (1,); `scratch` has the shape of `rows`."""
    return np.sqrt(np.sum(np.multiply(rows, rows, out=scratch), axis=-1, keepdims=True))
