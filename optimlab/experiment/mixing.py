"""Mixed runs: a run's numbers must not depend on the runs that share its stack.

A plug-in is checked twice: when an experiment is loaded, by a few steps on made-up gradients, and in the
sweep, where one run of each optimizer and problem is also trained alone, before the others are accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from optimlab.errors import Interrupted
from optimlab.nn.parameters import Layout
from optimlab.optimizers import Task, begin, eval_params

ADVICE = (
    "reduce over the last axis alone (axis=-1, keepdims=True), take learning_rate for the column (R, 1) "
    "that it is, keep what is remembered in the state, and draw no random numbers of the stack's shape"
)

STEPS = 60
LAYOUT = Layout({"first.weight": (1, 2), "hidden.weight": (2, 2), "last.weight": (2, 1), "bias": (2,)})
DECADES = 9  # the made-up gradients range from 10⁻⁹ to 10⁹


def mixes_runs(rule: Callable[..., Any], given: Mapping[str, Any], rates: Sequence[float]) -> bool:
    """Return whether a run's steps depend on the other rows of its stack, which no rule may.

    Three rows with different learning rates and gradients of all sizes take steps together and each
    alone; in the last steps one row has a gradient of zero, or one that is not finite. An exception
    counts only if the rule raises it for a single row.

    Parameters
    ----------
    rule : the class of the optimizer.
    given : all hyper-parameters except the learning rate.
    rates : the experiment's learning rates, one or more.
    """
    low, high = min(rates), max(rates)
    column = np.array([low / 2, low, low / 4] if low == high else [(low * high) ** 0.5, high, low])
    rng = np.random.default_rng(0)
    exponents = rng.uniform(-DECADES, DECADES, (STEPS, 1, 1)) + rng.uniform(-2, 2, (STEPS, 3, 1))
    points, gradients = rng.normal(size=(2, STEPS, 3, LAYOUT.size))
    gradients *= 10**exponents
    gradients[-4, 0] = 0
    gradients[-3, 1, 0], gradients[-2, 2], gradients[-1, 0] = np.nan, np.nan, np.inf

    def walk(rows: list[int]) -> Iterator[np.ndarray]:
        """Yield each step's gradient point, result and evaluation point: an array (R, 3, P)."""
        optimizer = rule(learning_rate=column[rows, None], **given)
        params = points[0, rows]
        generators = [np.random.default_rng(row) for row in rows]
        state = begin(optimizer, params, Task(LAYOUT, STEPS, STEPS, generators))
        for point, gradient in zip(points[:, rows], gradients[:, rows], strict=True):
            params[...] = point  # reset, so that no step is lost in rounding
            looked_at = np.array(optimizer.gradient_point(params, state))
            optimizer.step(params, gradient.copy(), state)
            yield np.stack([looked_at, params, eval_params(optimizer, params, state)], axis=1)

    with np.errstate(all="ignore"):
        together = _until_it_raises(walk([0, 1, 2]))
        for row in range(3):
            alone = _until_it_raises(walk([row]))[: len(together)]
            if len(alone) < len(together) or any(
                not np.array_equal(one[0], several[row], equal_nan=True)
                for one, several in zip(alone, together, strict=True)
            ):
                return True
    return False


def _until_it_raises(steps: Iterator[np.ndarray]) -> list[np.ndarray]:
    seen = []
    try:
        for step in steps:
            seen.append(step)  # noqa: PERF402  # the steps before it raised
    except Interrupted:
        raise
    except BaseException:  # noqa: S110
        pass
    return seen
