"""Layer-wise rules: trust ratios per layer, and steps that treat a weight matrix as a matrix.

The task's layout says which numbers of the row form one array. Products, roots and bases are computed
for each run's matrix, batched over the runs (R, n, m), so that no run's bits depend on R.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimlab.optimizers.base import Array, Hyperparameter, Layout, Rule, State, Task
from optimlab.optimizers.terms import (
    adam_direction,
    average,
    average_square,
    bias,
    decayed_parts,
    fresh_state,
    layers,
    norm,
    scale_weights,
)


@dataclass(frozen=True, kw_only=True)
class LAMB(Rule):
    """LAMB: AdamW with each layer's step scaled to a fraction of the norm of the layer's weights.

    ::

        u = m̂ / (√v̂ + ε) + λ w       m̂ and v̂ as in Adam
        w ← w − η ‖w‖ / ‖u‖ · u       layer by layer; the ratio is 1 where a norm is 0

    Differs from `AdamW` in the ratio, and in that λ w is part of the step. Without a task the whole row
    is one layer.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    beta1, beta2 : β₁ and β₂, in [0, 1).
    eps : ε, in (0, ∞).
    weight_decay : λ, in [0, ∞).

    References
    ----------
    You et al. (2020), Large batch optimization for deep learning: training BERT in 76 minutes,
    algorithm 2.

    Examples
    --------
    >>> LAMB()
    LAMB(learning_rate=0.01, beta1=0.9, beta2=0.999, eps=1e-06, weight_decay=0.0)
    """

    learning_rate: Hyperparameter = 0.01
    beta1: Hyperparameter = 0.9
    beta2: Hyperparameter = 0.999
    eps: Hyperparameter = 1e-6
    weight_decay: Hyperparameter = 0.0

    def init(self, params: Array, task: Task | None = None) -> State:
        state = fresh_state(params, "first_moment", "second_moment", "decay")
        return {**state, "decayed": decayed_parts(task), "layers": layers(task)}

    def step(self, params: Array, gradient: Array, state: State) -> None:
        update = adam_direction(gradient, state, self.beta1, self.beta2, self.eps)
        decay = np.multiply(params, self.weight_decay, out=state["decay"])
        for part in state["decayed"]:
            update[..., part] += decay[..., part]
        for layer in state["layers"]:
            weights, step, room = params[..., layer], update[..., layer], decay[..., layer]
            step *= self.learning_rate * _trust(norm(weights, room), norm(step, room))
        params -= update


@dataclass(frozen=True, kw_only=True)
class LARS(Rule):
    """LARS: SGD with momentum, with each layer's rate scaled to the norm of the layer's weights.

    ::

        τ = γ ‖w‖ / (‖g‖ + λ ‖w‖)     layer by layer; 1 where ‖w‖ or the denominator is 0
        v ← μ v + η τ (g + λ w)
        w ← w − v

    Differs from `SGD` in τ. optax has ‖g + λ w‖ in the denominator. Without a task the whole row is one
    layer.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    momentum : μ, in [0, 1).
    weight_decay : λ, in [0, ∞).
    trust_coefficient : γ, in (0, ∞).

    References
    ----------
    You, Gitman & Ginsburg (2017), Large batch training of convolutional networks, algorithm 1.

    Examples
    --------
    >>> LARS()
    LARS(learning_rate=1.0, momentum=0.9, weight_decay=0.0, trust_coefficient=0.001)
    """

    learning_rate: Hyperparameter = 1.0
    momentum: Hyperparameter = 0.9
    weight_decay: Hyperparameter = 0.0
    trust_coefficient: Hyperparameter = 0.001

    def init(self, params: Array, task: Task | None = None) -> State:
        state = fresh_state(params, "velocity", "update")
        weights = {(part.start, part.stop) for part in decayed_parts(task)}
        marked = [(layer, (layer.start, layer.stop) in weights) for layer in layers(task)]
        return {**state, "layers": marked}

    def step(self, params: Array, gradient: Array, state: State) -> None:
        velocity, update = state["velocity"], state["update"]
        np.copyto(update, gradient)
        for layer, decays in state["layers"]:
            weights, step, room = params[..., layer], update[..., layer], state["scratch"][..., layer]
            decay = self.weight_decay if decays else 0.0
            size, slope = norm(weights, room), norm(step, room)
            trust = _trust(self.trust_coefficient * size, slope + decay * size)
            step += np.multiply(weights, decay, out=room)
            step *= self.learning_rate * trust
        velocity *= self.momentum
        velocity += update
        params -= velocity


def _trust(size: Array, length: Array) -> Array:
    """Return a trust ratio size / length for each run; 1 where one of them is 0."""
    is_known = (size > 0) & (length > 0)
    return np.divide(size, length, out=np.ones_like(length), where=is_known)


@dataclass(frozen=True, kw_only=True)
class Muon(Rule):
    """Muon: orthogonalized momentum, so that a step is equally long in all directions of a matrix.

    ::

        B ← μ B + (1 − μ) G            U = μ B + (1 − μ) G
        O = NS(U): X = U / ‖U‖, five times X ← a X + (b X Xᵀ + c (X Xᵀ)²) X
        W ← (1 − η λ) W − 0.2 η √max(n, m) O

    with a, b, c = 3.4445, −4.7750, 2.0315, which take all singular values to about 1.

    **The partition.** Muon is for hidden matrices: all matrices of the layout except the first, which
    takes the data, and the last, which gives the output. Everything else, including biases and
    normalization, is trained by `AdamW` at the same η. `Muon.hidden` names the matrices. In the default
    digits network it is one of three, 512 of 2,894 parameters; without a task, or with fewer than two
    hidden layers, there is none.

    Differs from `SGD` in O, and from `Shampoo` in that it keeps nothing but B. The factor 0.2
    √max(n, m) makes O as large as a step of AdamW, so that both share a rate; it is PyTorch's
    ``match_rms_adamw``.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    momentum : μ, in [0, 1).
    beta1, beta2, eps : those of AdamW.
    weight_decay : λ, in [0, ∞).

    References
    ----------
    Jordan et al. (2024), Muon: an optimizer for hidden layers in neural networks; the factor from Liu et
    al. (2025), Muon is scalable for LLM training, section 2.2.

    Examples
    --------
    >>> Muon().momentum
    0.95
    """

    learning_rate: Hyperparameter = 0.001
    momentum: Hyperparameter = 0.95
    beta1: Hyperparameter = 0.9
    beta2: Hyperparameter = 0.999
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.01

    @staticmethod
    def hidden(layout: Layout) -> list[str]:
        """Return the names of the hidden matrices: those between the first and the last."""
        return [name for name, shape in layout.shapes.items() if len(shape) == 2][1:-1]

    @classmethod
    def partition(cls, layout: Layout) -> str:
        """Return in words which of a layout's parameters are trained by momentum made orthogonal."""
        names = cls.hidden(layout)
        if not names:
            return "there is no hidden matrix, so AdamW trains everything"
        own = sum(layout.slices[name].stop - layout.slices[name].start for name in names)
        whole = sum(part.stop - part.start for part in layout.slices.values())
        return f"{own:,} of {whole:,} parameters ({', '.join(names)}) have Muon’s step, the rest AdamW’s"

    def init(self, params: Array, task: Task | None = None) -> State:
        hidden = self.hidden(task.layout) if task else []
        matrices = [(task.layout.slices[name], task.layout.shapes[name]) for name in hidden if task]
        others = _without(params.shape[-1], [part for part, _ in matrices])
        return {
            **fresh_state(params, "momentum"),
            "matrices": matrices,
            "others": [(part, fresh_state(params[..., part], *MOMENTS)) for part in others],
            "decayed": decayed_parts(task),
        }

    def step(self, params: Array, gradient: Array, state: State) -> None:
        scale_weights(params, 1 - self.learning_rate * self.weight_decay, state["decayed"])
        for part, moments in state["others"]:
            update = adam_direction(gradient[..., part], moments, self.beta1, self.beta2, self.eps)
            params[..., part] -= np.multiply(update, self.learning_rate, out=update)
        for part, shape in state["matrices"]:
            slope, room = gradient[..., part], state["scratch"][..., part]
            mean = average(state["momentum"][..., part], slope, self.momentum, room)
            mixed = self.momentum * mean
            mixed += np.multiply(slope, 1 - self.momentum, out=room)
            mixed /= np.maximum(norm(mixed, room), 1e-7)
            update = _orthogonal(_as_matrix(mixed, shape)).reshape(slope.shape)
            update *= self.learning_rate * (0.2 * max(shape) ** 0.5)
            params[..., part] -= update


MOMENTS = ("first_moment", "second_moment")


def _orthogonal(x: Array) -> Array:
    """Return matrices (…, n, m) of norm 1 with their singular values moved near 1, by Newton–Schulz."""
    is_tall = x.shape[-2] > x.shape[-1]
    x = np.ascontiguousarray(x.mT) if is_tall else x
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * (gram @ gram)) @ x
    return x.mT if is_tall else x


@dataclass(frozen=True, kw_only=True)
class Shampoo(Rule):
    """Shampoo: AdaGrad with a matrix for each side of a weight matrix instead of a number per weight.

    ::

        L ← L + G Gᵀ,  R ← R + Gᵀ G      both ε I at first
        V ← μ V + (1 − μ) L^(−¼) G R^(−¼)
        W ← W − η V

    Arrays that are not matrices use AdaGrad's diagonal: g / √(Σ g² + ε). The roots are computed at the
    first step and every k steps from then on, from eigenvalues, which are at least ε.

    Differs from `AdaGrad` in that it uses correlations between the gradients of weights, and from
    `SOAP` in that it forgets nothing.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    momentum : μ, in [0, 1).
    eps : ε, in (0, ∞).
    precondition_period : k, a whole number from 1 on.

    References
    ----------
    Gupta, Koren & Singer (2018), Shampoo: preconditioned stochastic tensor optimization, algorithm
    1; roots every k steps as in its section 7.

    Examples
    --------
    >>> Shampoo()
    Shampoo(learning_rate=0.01, momentum=0.9, eps=1e-06, precondition_period=10)
    """

    learning_rate: Hyperparameter = 0.01
    momentum: Hyperparameter = 0.9
    eps: Hyperparameter = 1e-6
    precondition_period: Hyperparameter = 10

    def init(self, params: Array, task: Task | None = None) -> State:
        matrices, others = _matrices(params, task)
        start = np.asarray(self.eps, params.dtype)[..., None] * np.ones(1, params.dtype)
        return {
            **fresh_state(params, "velocity", "update", "sum_of_squares"),
            "others": others,
            "matrices": [
                (part, shape, [_identities(params, size) * start for size in shape], [None, None])
                for part, shape in matrices
            ],
        }

    def step(self, params: Array, gradient: Array, state: State) -> None:
        update, scratch = state["update"], state["scratch"]
        is_time = np.equal(np.mod(state["steps"], self.precondition_period), 0)
        state["steps"] += 1
        for part in state["others"]:
            slope, squares, room = (a[..., part] for a in (gradient, state["sum_of_squares"], scratch))
            squares += np.multiply(slope, slope, out=room)
            np.sqrt(np.add(squares, self.eps, out=room), out=room)
            np.divide(slope, room, out=update[..., part])
        for part, shape, sums, roots in state["matrices"]:
            slope = _as_matrix(gradient[..., part], shape)
            for side, outer in enumerate((slope @ slope.mT, slope.mT @ slope)):
                sums[side] += outer
                if np.any(is_time):
                    root = _inverse_fourth_root(sums[side], self.eps)
                    roots[side] = _where(is_time, root, roots[side])
            update[..., part] = (roots[0] @ slope @ roots[1]).reshape(update[..., part].shape)
        velocity = average(state["velocity"], update, self.momentum, scratch)
        params -= np.multiply(velocity, self.learning_rate, out=scratch)


def _inverse_fourth_root(matrices: Array, floor: Hyperparameter) -> Array:
    """Return A^(−¼) of symmetric matrices (…, n, n)."""
    values, vectors = np.linalg.eigh(_finite(matrices))
    roots = np.maximum(values, floor) ** -0.25
    return (vectors * roots[..., None, :]) @ vectors.mT


@dataclass(frozen=True, kw_only=True)
class SOAP(Rule):
    """SOAP: Adam in the eigenbasis of Shampoo's two matrices, which turns slowly.

    ::

        L ← β₂ L + (1 − β₂) G Gᵀ,  R ← β₂ R + (1 − β₂) Gᵀ G
        G' = Pᵀ G Q                       P and Q: eigenvectors of L and R, of one step before
        M ← β₁ M + (1 − β₁) G             M' = Pᵀ M Q
        V ← β₂ V + (1 − β₂) G'²
        W ← (1 − η λ) (W − η √(1 − β₂ᵗ) / (1 − β₁ᵗ) · P (M' / (√V + ε)) Qᵀ)

    The first gradient gives P and Q, but no step. Every k steps they are updated by one power
    iteration and its QR decomposition. Arrays that are not matrices take Adam's step, P = Q = I.

    Differs from `Adam` in the basis, and from `Shampoo` in that V is updated at each step, even while
    the basis is old.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    beta1, beta2 : β₁ and β₂, in [0, 1).
    eps : ε, in (0, ∞).
    weight_decay : λ, in [0, ∞).
    precondition_period : k, a whole number from 1 on.

    References
    ----------
    Vyas et al. (2024), SOAP: improving and stabilizing Shampoo using Adam, algorithm 3 and 4; the
    details are those of the authors' soap.py.

    Examples
    --------
    >>> SOAP().precondition_period
    10
    """

    learning_rate: Hyperparameter = 0.003
    beta1: Hyperparameter = 0.95
    beta2: Hyperparameter = 0.95
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.01
    precondition_period: Hyperparameter = 10

    def init(self, params: Array, task: Task | None = None) -> State:
        matrices, _ = _matrices(params, task)
        return {
            **fresh_state(params, *MOMENTS, "update"),
            "is_new": True,
            "matrices": [
                (part, shape, [_identities(params, size) * 0 for size in shape], [None, None])
                for part, shape in matrices
            ],
            "decayed": decayed_parts(task),
        }

    def step(self, params: Array, gradient: Array, state: State) -> None:
        if state["is_new"]:
            state["is_new"] = False
            for part, shape, averages, bases in state["matrices"]:
                self._remember(_as_matrix(gradient[..., part], shape), averages)
                bases[:] = [_eigenvectors(each) for each in averages]
            return
        update, scratch = state["update"], state["scratch"]
        np.copyto(update, gradient)
        for part, shape, _, bases in state["matrices"]:
            _turn(update[..., part], shape, bases[0].mT, bases[1])
        state["steps"] += 1
        first = average(state["first_moment"], update, self.beta1, scratch)
        second = average_square(state["second_moment"], update, self.beta2, scratch)
        np.add(np.sqrt(second, out=scratch), self.eps, out=scratch)
        np.divide(first, scratch, out=update)
        for part, shape, _, bases in state["matrices"]:
            _turn(update[..., part], shape, bases[0], bases[1].mT)
        corrected = bias(self.beta2, state["steps"]) ** 0.5 / bias(self.beta1, state["steps"])
        params -= np.multiply(update, self.learning_rate * corrected, out=update)
        scale_weights(params, 1 - self.learning_rate * self.weight_decay, state["decayed"])

        is_time = np.equal(np.mod(state["steps"], self.precondition_period), 0)
        for part, shape, averages, bases in state["matrices"]:
            self._remember(_as_matrix(gradient[..., part], shape), averages)
            if np.any(is_time):
                squares = _as_matrix(second[..., part], shape)
                turned, sorted_squares = _turned(averages, bases, squares)
                squares[...] = _where(is_time, sorted_squares, squares)
                kept = first[..., part].copy()
                _turn(first[..., part], shape, bases[0], bases[1].mT)
                bases[:] = [_where(is_time, new, old) for new, old in zip(turned, bases, strict=True)]
                _turn(first[..., part], shape, bases[0].mT, bases[1])
                np.copyto(first[..., part], kept, where=~is_time)

    def _remember(self, slope: Array, averages: list[Array]) -> None:
        """Take the gradient (…, n, m) into the averages of G Gᵀ and Gᵀ G."""
        decay = self.beta2
        if isinstance(decay, np.ndarray):  # a column: (R, 1, 1) for matrices
            decay = decay[..., None]
        for mean, outer in zip(averages, (slope @ slope.mT, slope.mT @ slope), strict=True):
            mean *= decay
            mean += (1 - decay) * outer


def _turn(rows: Array, shape: tuple[int, ...], left: Array, right: Array) -> None:
    """Replace each matrix X, given as rows (…, n m), by left X right, in place."""
    rows[...] = (left @ _as_matrix(rows, shape) @ right).reshape(rows.shape)


def _eigenvectors(matrices: Array) -> Array:
    """Return the eigenvectors of symmetric matrices (…, n, n), the largest first."""
    return np.linalg.eigh(_finite(matrices)).eigenvectors[..., ::-1]


def _turned(averages: list[Array], bases: list[Array], squares: Array) -> tuple[list[Array], Array]:
    """Return both bases after a power iteration, and `squares`, all sorted with the largest first."""
    turned = []
    for side, (mean, basis) in enumerate(zip(map(_finite, averages), bases, strict=True)):
        sizes = np.sum(basis * (mean @ basis), axis=-2)
        order = np.argsort(-sizes, axis=-1, kind="stable")
        indices = order[..., :, None] if side == 0 else order[..., None, :]
        squares = np.take_along_axis(squares, indices, axis=side - 2)
        turned.append(np.linalg.qr(mean @ np.take_along_axis(basis, order[..., None, :], axis=-1)).Q)
    return turned, squares


def _where(is_time: Array, new: Array, old: Array | None) -> Array:
    """Return the new matrices for the runs that are due, and the old ones for the others."""
    return new if old is None else np.where(np.asarray(is_time)[..., None], new, old)


def _finite(matrices: Array) -> Array:
    """Return matrices (…, n, n), zero where a run has diverged, for which LAPACK would raise."""
    return np.where(np.isfinite(matrices).all(axis=(-2, -1), keepdims=True), matrices, 0)


def _matrices(
    params: Array, task: Task | None
) -> tuple[list[tuple[slice, tuple[int, ...]]], list[slice]]:
    """Return the slice and shape of each matrix of a layout, and the slices of everything else."""
    names = [name for name, shape in task.layout.shapes.items() if len(shape) == 2] if task else []
    matrices = [(task.layout.slices[name], task.layout.shapes[name]) for name in names if task]
    return matrices, _without(params.shape[-1], [part for part, _ in matrices])


def _without(size: int, parts: list[slice]) -> list[slice]:
    """Return the slices of a row of `size` numbers that no part covers; parts do not overlap."""
    ends = sorted((part.start, part.stop) for part in parts)
    starts = [0, *(stop for _, stop in ends)]
    stops = [*(start for start, _ in ends), size]
    return [slice(start, stop) for start, stop in zip(starts, stops, strict=True) if start < stop]


def _as_matrix(rows: Array, shape: tuple[int, ...]) -> Array:
    """Return a view (…, n, m) of rows (…, n m)."""
    return rows.reshape(*rows.shape[:-1], *shape)


def _identities(params: Array, size: int) -> Array:
    """Return an identity for each run: (…, size, size)."""
    return np.broadcast_to(np.eye(size, dtype=params.dtype), (*params.shape[:-1], size, size)).copy()
