"""Rules as their papers have them, number by number: oracles where no library has the same rule.

Nothing here is shared with the package: a state is a few Python floats, and a step is one of these.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np

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


ELEMENTWISE = {"Adan": adan}


def paper(rule: str, h: dict[str, float], start: Array) -> Callable[[Array], Array]:
    """Return a function: gradient (P,) → parameters after the step."""
    steps = [ELEMENTWISE[rule](h, float(value)) for value in start]
    return lambda gradient: np.array([step(float(g)) for step, g in zip(steps, gradient, strict=True)])
