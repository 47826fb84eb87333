"""Mixed runs: a run's numbers must not depend on the runs that share its stack.

A plug-in is checked twice for this: when an experiment is loaded, by a few steps on made-up gradients,
and in the sweep, where one run of each optimizer and problem is also trained alone, before the others
are accepted. The same steps show whether it keeps arrays that the training loop overwrites.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from optimlab.errors import Interrupted
from optimlab.nn.parameters import Layout
from optimlab.optimizers import Task, begin, eval_params
from optimlab.training import check_point

ADVICE = (
    "reduce over the last axis alone (axis=-1, keepdims=True), take learning_rate for the column (R, 1) "
    "that it is, keep what is remembered in the state, and draw no random numbers of the stack's shape"
)

STEPS = 60
SECONDS = 2.0  # of the first walk, after which only its last steps are taken
LAST = 4  # those with gradients of zero and not finite
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
    walk = Walk(rule, given, rates)
    together = walk.steps([0, 1, 2])
    for row in range(3):
        alone = walk.steps([row])[: len(together)]
        if not _is_same(alone, [step[[row]] for step in together]):
            return True
    return False


def wrong_references(
    rule: Callable[..., Any], given: Mapping[str, Any], rates: Sequence[float]
) -> str | None:
    """Return how a rule misuses an array of the training loop; None if it does not.

    The loop has one array of parameters, which `step` changes in place, and most problems write each
    gradient to the same array. See `mixes_runs` for the parameters.
    """
    walk = Walk(rule, given, rates)
    if not _is_same(walk.steps([0]), walk.steps([0], one_gradient=True)):
        return "it keeps the array gradient, which the next gradient overwrites: keep gradient.copy()"
    return walk.wrong


def wrong_points(
    rule: Callable[..., Any], given: Mapping[str, Any], rates: Sequence[float]
) -> str | None:
    """Return how the points are wrong that a rule returns at its first step; None if they are not.

    See `mixes_runs` for the parameters.
    """
    walk = Walk(rule, given, rates)
    del walk.numbers[1:]
    walk.steps([0, 1, 2])
    return walk.wrong


def is_repeatable(rule: Callable[..., Any], given: Mapping[str, Any], rates: Sequence[float]) -> bool:
    """Return whether a run alone gives the same numbers twice. See `mixes_runs` for the parameters."""
    walk = Walk(rule, given, rates)
    return _is_same(walk.steps([0]), walk.steps([0]))


class Walk:
    """Some steps of a rule on made-up points and gradients of three rows.

    A slow rule takes fewer of them, as many in each walk as in the first.

    Attributes
    ----------
    wrong : what the rule does with params that it must not; None if nothing.
    """

    def __init__(
        self, rule: Callable[..., Any], given: Mapping[str, Any], rates: Sequence[float]
    ) -> None:
        self.rule, self.given = rule, given
        self.wrong: str | None = None
        low, high = min(rates), max(rates)
        self.column = np.array(
            [low / 2, low, low / 4] if low == high else [(low * high) ** 0.5, high, low]
        )
        self.numbers = list(range(STEPS))
        self.is_timed = True
        rng = np.random.default_rng(0)
        exponents = rng.uniform(-DECADES, DECADES, (STEPS, 1, 1)) + rng.uniform(-2, 2, (STEPS, 3, 1))
        self.points, self.gradients = rng.normal(size=(2, STEPS, 3, LAYOUT.size))
        self.gradients *= 10**exponents
        self.gradients[-4, 0] = 0
        self.gradients[-3, 1, 0], self.gradients[-2, 2] = np.nan, np.nan
        self.gradients[-1, 0] = np.inf

    def steps(self, rows: list[int], *, one_gradient: bool = False) -> list[np.ndarray]:
        """Return each step's gradient point, result and evaluation point (R, 3, P), until it raises.

        Parameters
        ----------
        rows : the rows that walk together.
        one_gradient : whether all gradients are written to one array.
        """
        with np.errstate(all="ignore"):
            seen = _until_it_raises(self._walk(rows, one_gradient=one_gradient))
        self.is_timed = False
        return seen

    def _walk(self, rows: list[int], *, one_gradient: bool) -> Iterator[np.ndarray]:
        optimizer = self.rule(learning_rate=self.column[rows, None], **self.given)
        params = self.points[0, rows]
        generators = [np.random.default_rng(row) for row in rows]
        state = begin(optimizer, params, Task(LAYOUT, STEPS, STEPS, generators))
        self._check(params, self.points[0, rows], "init")
        gradient = np.empty_like(params)
        ends = time.monotonic() + SECONDS
        for number in self.numbers:
            point, made_up = self.points[number, rows], self.gradients[number, rows]
            params[...] = point  # reset, so that no step is lost in rounding
            looked_at = self._point(
                optimizer, optimizer.gradient_point(params, state), params, "gradient_point"
            )
            self._check(params, point, "gradient_point")
            gradient = gradient if one_gradient else np.empty_like(params)
            gradient[...] = made_up
            optimizer.step(params, gradient, state)
            after = params.copy()
            metrics_at = self._point(
                optimizer, eval_params(optimizer, params, state), params, "eval_params"
            )
            self._check(params, after, "eval_params")
            if self.wrong is None and _has(params, state):
                self.wrong = "it keeps the array params, which each step changes: keep params.copy()"
            yield np.stack([looked_at, after, metrics_at], axis=1)
            if self.is_timed and number < STEPS - LAST and time.monotonic() > ends:
                del self.numbers[number + 1 : -LAST]

    def _point(self, optimizer: Any, point: Any, params: np.ndarray, method: str) -> np.ndarray:
        is_float = type(point) is np.ndarray and point.dtype.kind == "f"  # the problem's may be another
        like = params.astype(point.dtype) if is_float else params
        try:
            check_point(optimizer, point, like, method)
        except TypeError as error:
            self.wrong = self.wrong or str(error)
            raise
        return point.copy()

    def _check(self, params: np.ndarray, before: np.ndarray, method: str) -> None:
        if self.wrong is None and not np.array_equal(params, before, equal_nan=True):
            self.wrong = f"{method} must leave params as they are: only step changes them"


def _has(params: np.ndarray, state: Any) -> bool:
    """Return whether a state has the parameters themselves; views of some of them may be of use."""
    if isinstance(state, np.ndarray):
        return state.shape == params.shape and bool(np.shares_memory(state, params))
    inner = state.values() if isinstance(state, Mapping) else state
    return isinstance(state, Mapping | list | tuple) and any(_has(params, each) for each in inner)


def _is_same(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(*each, equal_nan=True) for each in zip(one, other, strict=True)
    )


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
