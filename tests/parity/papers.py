"""Rules as their papers have them, number by number: oracles where no library has the same rule.

Nothing here is shared with the package: a state is a few Python floats, and a step is one of these.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np
from scipy.linalg import sqrtm
from trajectories import LAYOUT

Array = np.ndarray


def adan(h: dict[str, float], w: float) -> Callable[[float], float]:
    """Xie et al. (2022), with the betas of the authors' adan.py, which are 1 − those of the paper."""
    rate, b1, b2, b3 = h["learning_rate"], h["beta1"], h["beta2"], h["beta3"]
    m = v = n = 0.0
    t, before = 0, None

    def step(g: float) -> float:
        nonlocal m, v, n, w, t, before
        t += 1
        change = 0.0 if before is None else g - before
        before = g
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * change
        n = b3 * n + (1 - b3) * (g + b2 * change) ** 2
        root = sqrt(n / (1 - b3**t)) + h["eps"]
        w -= rate * (m / (1 - b1**t) + b2 * v / (1 - b2**t)) / root
        w /= 1 + rate * h["weight_decay"]
        return w

    return step


def lars(h: dict[str, float], w: Array, decays: bool) -> Callable[[Array], Array]:
    """You, Gitman & Ginsburg (2017), algorithm 1, for one layer."""
    decay = h["weight_decay"] if decays else 0.0
    v = np.zeros_like(w)

    def step(g: Array) -> Array:
        nonlocal w, v
        size, slope = sqrt(sum(x * x for x in w.flat)), sqrt(sum(x * x for x in g.flat))
        whole = slope + decay * size
        trust = h["trust_coefficient"] * size / whole if size and whole else 1.0
        v = h["momentum"] * v + h["learning_rate"] * trust * (g + decay * w)
        w = w - v
        return w

    return step


def shampoo(h: dict[str, float], w: Array, decays: bool) -> Callable[[Array], Array]:
    """Gupta, Koren & Singer (2018), algorithm 1; the roots by Newton's method for square roots."""
    eps, v, t = h["eps"], np.zeros_like(w), 0
    sums = [eps * np.eye(size) for size in w.shape]
    roots = [None] * w.ndim

    def step(g: Array) -> Array:
        nonlocal w, v, t
        if w.ndim == 1:
            sums[0] += np.diag(g * g)
            update = g / np.sqrt(np.diag(sums[0]))
        else:
            sums[0] += g @ g.T
            sums[1] += g.T @ g
            if t % h["precondition_period"] == 0:
                roots[:] = [np.linalg.inv(sqrtm(sqrtm(each))).real for each in sums]
            update = roots[0] @ g @ roots[1]
        t += 1
        v = h["momentum"] * v + (1 - h["momentum"]) * update
        w = w - h["learning_rate"] * v
        return w

    return step


def soap(h: dict[str, float], w: Array, decays: bool) -> Callable[[Array], Array]:
    """Vyas et al. (2024), as the authors' soap.py goes about it, in float64."""
    b1, b2 = h["beta1"], h["beta2"]
    m, v, t, bases = np.zeros_like(w), np.zeros_like(w), 0, None
    means = [np.zeros((size, size)) for size in w.shape] if w.ndim == 2 else []

    def project(x: Array) -> Array:
        return bases[0].T @ x @ bases[1] if means else x

    def back(x: Array) -> Array:
        return bases[0] @ x @ bases[1].T if means else x

    def remember(g: Array) -> None:
        for mean, outer in zip(means, (g @ g.T, g.T @ g) if means else (), strict=True):
            mean += (1 - b2) * (outer - mean)

    def step(g: Array) -> Array:
        nonlocal w, m, v, t, bases
        if bases is None:
            remember(g)
            bases = [np.linalg.eigh(mean)[1][:, ::-1] for mean in means]
            return w
        t += 1
        m = b1 * m + (1 - b1) * g  # in the original basis: the same, since it is turned with the basis
        v = b2 * v + (1 - b2) * project(g) ** 2
        corrected = sqrt(1 - b2**t) / (1 - b1**t)
        w = w - h["learning_rate"] * corrected * back(project(m) / (np.sqrt(v) + h["eps"]))
        w = w - h["learning_rate"] * (h["weight_decay"] if decays else 0.0) * w
        remember(g)
        if t % h["precondition_period"] == 0:
            for side, mean in enumerate(means):
                order = np.argsort(np.diag(bases[side].T @ mean @ bases[side]))[::-1]
                v = np.take(v, order, axis=side)
                bases[side] = np.linalg.qr(mean @ bases[side][:, order])[0]
        return w

    return step


ELEMENTWISE = {"Adan": adan}
LAYER_BY_LAYER = {"LARS": lars, "Shampoo": shampoo, "SOAP": soap}


def paper(rule: str, h: dict[str, float], start: Array) -> Callable[[Array], Array]:
    """Return a function: gradient (P,) → parameters after the step."""
    if rule in LAYER_BY_LAYER:
        layers = [
            (LAYOUT.slices[name], shape, LAYER_BY_LAYER[rule]) for name, shape in LAYOUT.shapes.items()
        ]
        walks = [make(h, start[at].reshape(shape), len(shape) == 2) for at, shape, make in layers]
        return lambda gradient: np.concatenate(
            [
                walk(gradient[at].reshape(shape)).ravel()
                for walk, (at, shape, _) in zip(walks, layers, strict=True)
            ]
        )
    steps = [ELEMENTWISE[rule](h, float(value)) for value in start]
    return lambda gradient: np.array([step(float(g)) for step, g in zip(steps, gradient, strict=True)])
