"""The five classic optimizers: all the maths on one page.

Every in-place operation writes to memory that exists already, because fresh arrays cost more than
the arithmetic. Where a factor can move from an array to a number, it does: the docstrings give the
textbook's formula, the code the same one with the constants folded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimlab.optimizers.base import Array, Hyperparameter, State, check_hyperparameters


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
        return {"velocity": np.zeros_like(params), "scratch": np.empty_like(params)}

    def gradient_point(self, params: Array, state: State) -> Array:
        return params

    def step(self, params: Array, gradient: Array, state: State) -> None:
        velocity, scratch = state["velocity"], state["scratch"]
        velocity *= self.momentum
        velocity += np.multiply(gradient, self.learning_rate, out=scratch)
        params -= velocity


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
        return {"velocity": np.zeros_like(params), "scratch": np.empty_like(params)}

    def gradient_point(self, params: Array, state: State) -> Array:
        look_ahead = np.multiply(state["velocity"], self.momentum, out=state["scratch"])
        return np.subtract(params, look_ahead, out=look_ahead)

    def step(self, params: Array, gradient: Array, state: State) -> None:
        velocity, scratch = state["velocity"], state["scratch"]
        velocity *= self.momentum
        velocity += np.multiply(gradient, self.learning_rate, out=scratch)
        params -= velocity


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
        return {"sum_of_squares": np.zeros_like(params), "scratch": np.empty_like(params)}

    def gradient_point(self, params: Array, state: State) -> Array:
        return params

    def step(self, params: Array, gradient: Array, state: State) -> None:
        sum_of_squares, scratch = state["sum_of_squares"], state["scratch"]
        sum_of_squares += np.multiply(gradient, gradient, out=scratch)
        np.sqrt(np.add(sum_of_squares, self.eps, out=scratch), out=scratch)
        np.divide(gradient, scratch, out=scratch)
        params -= np.multiply(scratch, self.learning_rate, out=scratch)


@dataclass(frozen=True, kw_only=True)
class RMSprop:
    """RMSprop: the gradient over a running root mean square of itself.

    ::

        E ← ρ E + (1 − ρ) g²
        w ← w − η g / √(E + ε)

    ε is inside the root and E starts at zero, as in Keras and optax; PyTorch adds ε outside and
    calls ρ alpha. The state holds E / (1 − ρ), which saves a pass over the array.

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
        return {"mean_square": np.zeros_like(params), "scratch": np.empty_like(params)}

    def gradient_point(self, params: Array, state: State) -> Array:
        return params

    def step(self, params: Array, gradient: Array, state: State) -> None:
        mean_square, scratch = state["mean_square"], state["scratch"]
        mean_square *= self.rho
        mean_square += np.multiply(gradient, gradient, out=scratch)
        np.sqrt(np.add(mean_square, self.eps / (1 - self.rho), out=scratch), out=scratch)
        np.divide(gradient, scratch, out=scratch)
        params -= np.multiply(scratch, self.learning_rate / (1 - self.rho) ** 0.5, out=scratch)


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam: momentum over RMSprop, both freed from the bias of their start at zero.

    ::

        m ← β₁ m + (1 − β₁) g        m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) g²       v̂ = v / (1 − β₂ᵗ)
        w ← w − η m̂ / (√v̂ + ε)

    ε is outside the root, as in the paper's algorithm 1, PyTorch and optax; in Keras and scikit-learn
    it acts as ε / √(1 − β₂ᵗ). The state holds m / (1 − β₁) and v / (1 − β₂), which saves three passes
    over the array.

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
            "scratch": np.empty_like(params),
        }

    def gradient_point(self, params: Array, state: State) -> Array:
        return params

    def step(self, params: Array, gradient: Array, state: State) -> None:
        state["steps"] += 1
        first, second, scratch = state["first_moment"], state["second_moment"], state["scratch"]
        first *= self.beta1
        first += gradient
        second *= self.beta2
        second += np.multiply(gradient, gradient, out=scratch)

        first_scale = (1 - self.beta1) / (1 - self.beta1 ** state["steps"])
        second_scale = ((1 - self.beta2) / (1 - self.beta2 ** state["steps"])) ** 0.5
        np.add(np.sqrt(second, out=scratch), self.eps / second_scale, out=scratch)
        np.divide(first, scratch, out=scratch)
        scratch *= self.learning_rate * (first_scale / second_scale)
        params -= scratch
