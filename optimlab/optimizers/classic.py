"""The five classic optimizers: all the maths on one page.

Each step is a plain loop over runs and parameters, as the formula above it has it; numba compiles it.
What depends on no parameter is taken in float64, before the inner loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from optimlab.compiled_code import Compiled
from optimlab.nn.compiled import as_written, rounded
from optimlab.optimizers.base import Array, Hyperparameter, State, check_hyperparameters


def _over_all(loop: Compiled, hyperparameters: tuple[Any, ...], *arrays: Array) -> None:
    """Call a loop with arrays (R, P), or of one run alone (P,), and the hyper-parameters h (R, n)."""
    rows = [array if array.ndim == 2 else array[None] for array in arrays]
    h = np.empty((len(rows[0]), len(hyperparameters)))
    for column, value in enumerate(hyperparameters):
        h[:, column : column + 1] = value
    loop(*rows, h)


@as_written
def step_with_momentum(w: Array, g: Array, v: Array, h: Array) -> None:
    """v ← μ v + η g, w ← w − v."""
    real = w.dtype.type
    for run in range(w.shape[0]):
        rate, keep = real(h[run, 0]), real(h[run, 1])
        for i in range(w.shape[1]):
            v[run, i] = keep * v[run, i] + rate * g[run, i]
            w[run, i] -= v[run, i]


@dataclass(frozen=True, kw_only=True)
class SGD:
    """Stochastic gradient descent with momentum: a heavy ball that rolls downhill.

    ::

        v ← μ v + η g
        w ← w − v

    The learning rate η is inside the velocity v, as in Keras and scikit-learn; PyTorch and optax
    multiply by it afterwards. Both are the same while η is constant. Momentum 0 is plain gradient
    descent.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    momentum : μ, in [0, 1).

    References
    ----------
    Polyak (1964), Some methods of speeding up the convergence of iteration methods.

    Examples
    --------
    >>> SGD(learning_rate=0.1)
    SGD(learning_rate=0.1, momentum=0.9)
    """

    learning_rate: Hyperparameter = 0.01
    momentum: Hyperparameter = 0.9

    def __post_init__(self) -> None:
        check_hyperparameters(self)

    def init(self, params: Array) -> State:
        return {"velocity": np.zeros_like(params)}

    def gradient_point(self, params: Array, state: State) -> Array:
        return params

    def step(self, params: Array, gradient: Array, state: State) -> None:
        hyperparameters = self.learning_rate, self.momentum
        _over_all(step_with_momentum, hyperparameters, params, gradient, state["velocity"])


@rounded
def look_ahead(w: Array, v: Array, point: Array, h: Array) -> None:
    """point = w − μ v."""
    for run in range(w.shape[0]):
        momentum = w.dtype.type(h[run, 0])
        for i in range(w.shape[1]):
            point[run, i] = w[run, i] - momentum * v[run, i]


@dataclass(frozen=True, kw_only=True)
class Nesterov:
    """Nesterov's accelerated gradient: look ahead along the velocity, then correct.

    ::

        v ← μ v + η ∇f(w − μ v)
        w ← w − v

    The parameters are w, and all metrics are those of w. PyTorch, Keras, optax and scikit-learn hold
    the look-ahead point itself as their parameters: theirs = w − μ v, while η is constant.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    momentum : μ, in [0, 1).

    References
    ----------
    Nesterov (1983), A method of solving a convex programming problem with convergence rate O(1/k²);
    in this form Sutskever et al. (2013), On the importance of initialization and momentum in deep
    learning, equations 3 and 4.

    Examples
    --------
    >>> Nesterov(learning_rate=0.1)
    Nesterov(learning_rate=0.1, momentum=0.9)
    """

    learning_rate: Hyperparameter = 0.01
    momentum: Hyperparameter = 0.9

    def __post_init__(self) -> None:
        check_hyperparameters(self)

    def init(self, params: Array) -> State:
        return {"velocity": np.zeros_like(params)}

    def gradient_point(self, params: Array, state: State) -> Array:
        point = np.empty_like(params)
        _over_all(look_ahead, (self.momentum,), params, state["velocity"], point)
        return point

    def step(self, params: Array, gradient: Array, state: State) -> None:
        hyperparameters = self.learning_rate, self.momentum
        _over_all(step_with_momentum, hyperparameters, params, gradient, state["velocity"])


@as_written
def step_of_adagrad(w: Array, g: Array, G: Array, h: Array) -> None:
    """G ← G + g², w ← w − η g / √(G + ε)."""
    real = w.dtype.type
    for run in range(w.shape[0]):
        rate, eps = real(h[run, 0]), real(h[run, 1])
        for i in range(w.shape[1]):
            G[run, i] += g[run, i] * g[run, i]
            w[run, i] -= rate * g[run, i] / np.sqrt(G[run, i] + eps)


@dataclass(frozen=True, kw_only=True)
class AdaGrad:
    """AdaGrad: each parameter's steps shrink with the gradients that it has seen.

    ::

        G ← G + g²
        w ← w − η g / √(G + ε)

    ε is inside the root, as in Keras and optax, whose G starts at 0.1 by default; here it starts at 0,
    as in PyTorch, which adds ε outside.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    eps : ε, in (0, ∞).

    References
    ----------
    Duchi, Hazan & Singer (2011), Adaptive subgradient methods, section 1.1 (diagonal form).

    Examples
    --------
    >>> AdaGrad(learning_rate=0.1)
    AdaGrad(learning_rate=0.1, eps=1e-08)
    """

    learning_rate: Hyperparameter = 0.01
    eps: Hyperparameter = 1e-8

    def __post_init__(self) -> None:
        check_hyperparameters(self)

    def init(self, params: Array) -> State:
        return {"sum_of_squares": np.zeros_like(params)}

    def gradient_point(self, params: Array, state: State) -> Array:
        return params

    def step(self, params: Array, gradient: Array, state: State) -> None:
        hyperparameters = self.learning_rate, self.eps
        _over_all(step_of_adagrad, hyperparameters, params, gradient, state["sum_of_squares"])


@as_written
def step_of_rmsprop(w: Array, g: Array, E: Array, h: Array) -> None:
    """E ← ρ E + (1 − ρ) g², w ← w − η g / √(E + ε)."""
    real = w.dtype.type
    for run in range(w.shape[0]):
        rate, rho, eps = real(h[run, 0]), real(h[run, 1]), real(h[run, 2])
        new = real(1 - h[run, 1])
        for i in range(w.shape[1]):
            E[run, i] = rho * E[run, i] + new * (g[run, i] * g[run, i])
            w[run, i] -= rate * g[run, i] / np.sqrt(E[run, i] + eps)


@dataclass(frozen=True, kw_only=True)
class RMSprop:
    """RMSprop: the gradient over a running root mean square of itself.

    ::

        E ← ρ E + (1 − ρ) g²
        w ← w − η g / √(E + ε)

    ε is inside the root and E starts at zero, as in Keras and optax; PyTorch adds ε outside and
    calls ρ alpha.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    rho : ρ, in [0, 1).
    eps : ε, in (0, ∞).

    References
    ----------
    Tieleman & Hinton (2012), Neural networks for machine learning, lecture 6e.

    Examples
    --------
    >>> RMSprop(learning_rate=0.1)
    RMSprop(learning_rate=0.1, rho=0.9, eps=1e-08)
    """

    learning_rate: Hyperparameter = 0.001
    rho: Hyperparameter = 0.9
    eps: Hyperparameter = 1e-8

    def __post_init__(self) -> None:
        check_hyperparameters(self)

    def init(self, params: Array) -> State:
        return {"mean_square": np.zeros_like(params)}

    def gradient_point(self, params: Array, state: State) -> Array:
        return params

    def step(self, params: Array, gradient: Array, state: State) -> None:
        hyperparameters = self.learning_rate, self.rho, self.eps
        _over_all(step_of_rmsprop, hyperparameters, params, gradient, state["mean_square"])


@as_written
def step_of_adam(w: Array, g: Array, m: Array, v: Array, h: Array) -> None:
    """m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², w ← w − η m̂ / (√v̂ + ε)."""
    real = w.dtype.type
    for run in range(w.shape[0]):
        beta1, beta2, t = h[run, 1], h[run, 2], h[run, 4]
        rate, eps = real(h[run, 0]), real(h[run, 3])
        keep_m, new_m, m_scale = real(beta1), real(1 - beta1), real(1 / (1 - beta1**t))
        keep_v, new_v, v_scale = real(beta2), real(1 - beta2), real(1 / (1 - beta2**t))
        for i in range(w.shape[1]):
            first = keep_m * m[run, i] + new_m * g[run, i]
            second = keep_v * v[run, i] + new_v * (g[run, i] * g[run, i])
            m[run, i], v[run, i] = first, second  # reading them again takes twice as long
            m_hat, v_hat = first * m_scale, second * v_scale
            w[run, i] -= rate * m_hat / (np.sqrt(v_hat) + eps)


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam: momentum over RMSprop, both freed from the bias of their start at zero.

    ::

        m ← β₁ m + (1 − β₁) g        m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) g²       v̂ = v / (1 − β₂ᵗ)
        w ← w − η m̂ / (√v̂ + ε)

    ε is outside the root, as in the paper's algorithm 1, PyTorch and optax; in Keras and scikit-learn
    it acts as ε / √(1 − β₂ᵗ).

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    beta1, beta2 : β₁ and β₂, in [0, 1).
    eps : ε, in (0, ∞).

    References
    ----------
    Kingma & Ba (2015), Adam: a method for stochastic optimization, algorithm 1.

    Examples
    --------
    >>> Adam(learning_rate=0.1)
    Adam(learning_rate=0.1, beta1=0.9, beta2=0.999, eps=1e-08)
    """

    learning_rate: Hyperparameter = 0.001
    beta1: Hyperparameter = 0.9
    beta2: Hyperparameter = 0.999
    eps: Hyperparameter = 1e-8

    def __post_init__(self) -> None:
        check_hyperparameters(self)

    def init(self, params: Array) -> State:
        return {
            "steps": 0,
            "first_moment": np.zeros_like(params),
            "second_moment": np.zeros_like(params),
        }

    def gradient_point(self, params: Array, state: State) -> Array:
        return params

    def step(self, params: Array, gradient: Array, state: State) -> None:
        state["steps"] += 1
        hyperparameters = self.learning_rate, self.beta1, self.beta2, self.eps, state["steps"]
        moments = state["first_moment"], state["second_moment"]
        _over_all(step_of_adam, hyperparameters, params, gradient, *moments)
