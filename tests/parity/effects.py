"""Prints what the differences between libraries do in numbers: those of docs/optimizers.md.

Run ``python tests/parity/effects.py``; it needs none of the libraries. All are means over ten seeds of
the default digits network in float64, after 30 epochs (570 steps), unless a table says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from trajectories import AdamWithScaledEps
from variants import (
    AdaGradEpsOutside,
    AdamBiased,
    AdamOfTheArticle,
    RMSpropEpsOutside,
)

from optimlab.nn.layers import RunningAverages
from optimlab.optimizers import SGD, AdaGrad, Adam, Nesterov, Optimizer, RMSprop
from optimlab.problems import Digits
from optimlab.training import train

SEEDS = range(10)
STEPS = 570
FALL = 285

Rows = list[list[Any]]


def train_losses(optimizer: Optimizer, steps: Sequence[int] = (STEPS,)) -> list[float]:
    """Return the mean training loss at the steps."""
    recording = train(Digits(dtype="float64"), optimizer, SEEDS, steps)
    losses = recording.metrics["train_loss"].mean(axis=1)
    return [float(losses[list(recording.steps).index(step)]) for step in steps]


def as_table(head: str, rows: Rows) -> str:
    """Return a Markdown table; numbers to four digits."""
    cells = [[f"{c:.4g}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    lines = [head, "|---" * len(rows[0]) + "|", *(f"| {' | '.join(row)} |" for row in cells)]
    return "\n".join(lines)


def place_of_eps() -> str:
    rows: Rows = []
    for rule, outside, h in (
        (AdaGrad, AdaGradEpsOutside, {"learning_rate": 0.03}),
        (RMSprop, RMSpropEpsOutside, {"learning_rate": 0.003, "rho": 0.9}),
    ):
        for eps in (1e-8, 1e-4, 1e-2):
            losses = [*train_losses(rule(**h, eps=eps)), *train_losses(outside(**h, eps=eps))]
            rows.append([rule.__name__, f"{eps:g}", *losses])
    return as_table("| rule | ε | inside the root | outside |", rows)


def start_of_adagrad() -> str:
    rows: Rows = []
    for rate in (0.001, 0.01, 0.1):
        zero, tenth = AdaGrad(learning_rate=rate, eps=1e-7), AdaGrad(learning_rate=rate, eps=0.1 + 1e-7)
        rows.append([f"{rate:g}", *train_losses(zero), *train_losses(tenth)])
    return as_table("| learning rate | G from 0 | G from 0.1 |", rows)


def correction_of_adam() -> str:
    h = {"learning_rate": 0.003, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    keras = AdamWithScaledEps(**{**h, "eps": 1e-7})
    rules = {
        "1 − βᵗ (Adam)": Adam(**h),
        "1 − β at every step (the article)": AdamOfTheArticle(**h),
        "the same at 3.16 × the learning rate": AdamOfTheArticle(
            **{**h, "learning_rate": 0.003 * 10**0.5}
        ),
        "none": AdamBiased(**h),
        "Adam with Keras's scaled ε = 1e-7": keras,
    }
    rows: Rows = [[name, *train_losses(rule, (1, 19, STEPS))] for name, rule in rules.items()]
    return as_table("| bias correction | loss after 1 step | 19 steps | 570 steps |", rows)


class FallingSGD:
    """SGD (0.1, momentum 0.9) whose rate falls to 0.01; its velocity falls with it, or not."""

    learning_rate = 0.1

    def __init__(self, velocity_falls: bool) -> None:
        self.velocity_falls = velocity_falls

    def init(self, params: np.ndarray) -> dict[str, Any]:
        return {**SGD().init(params), "steps": 0}

    def gradient_point(self, params: np.ndarray, state: dict[str, Any]) -> np.ndarray:
        return params

    def step(self, params: np.ndarray, gradient: np.ndarray, state: dict[str, Any]) -> None:
        if state["steps"] == FALL and self.velocity_falls:
            state["velocity"] *= 0.1
        SGD(learning_rate=0.1 if state["steps"] < FALL else 0.01).step(params, gradient, state)
        state["steps"] += 1


def falling_rate() -> str:
    after = (0, 1, 5, 10, 50, 285)
    at = [FALL + steps for steps in after]
    inside = train_losses(FallingSGD(velocity_falls=False), at)
    outside = train_losses(FallingSGD(velocity_falls=True), at)
    rows: Rows = [list(row) for row in zip(after, inside, outside, strict=True)]
    return as_table(
        "| steps after the fall | rate inside the velocity | outside (PyTorch, optax) |", rows
    )


def steps_of(problem: Digits, optimizer: Optimizer, steps: int) -> Iterator[tuple]:
    """Yield (step, params, look-ahead point, model) of a stack of the seeds."""
    params, model = problem.init(SEEDS)
    state = optimizer.init(params)
    for step, batch in enumerate(islice(problem.batches(SEEDS), steps), start=1):
        point = optimizer.gradient_point(params, state)
        _, gradient = problem.loss_and_gradient(point, batch, model)
        optimizer.step(params, gradient, state)
        yield step, params, optimizer.gradient_point(params, state), model


def look_ahead() -> str:
    problem = Digits(dtype="float64")
    rows: Rows = []
    for step, params, point, model in steps_of(problem, Nesterov(learning_rate=0.1), STEPS):
        if step in (5, 19, 95, 285, STEPS):
            ours = problem.evaluate(params, model)["train_loss"]
            gap = problem.evaluate(point.copy(), model)["train_loss"] - ours
            rows.append([step, float(ours.mean()), float(gap.mean()), float(np.abs(gap).max())])
    return as_table("| step | loss at w | loss at w − μv, less that | largest gap of a seed |", rows)


class PyTorchAverages(RunningAverages):
    """Running averages that start from 0 and 1, of variances over B − 1, for batches of 60."""

    def statistics(self):
        mean, variance = self.sums
        return mean, self.momentum**self.steps + variance * 60 / 59


class WithoutDebiasing(Digits):
    """The digits with batch norms that evaluate as PyTorch's do."""

    def init(self, seeds):
        params, model = super().init(seeds)
        for name, state in model.states.items():
            if state:
                model.states[name] = PyTorchAverages(state.sums, state.momentum)
        return params, model


def running_averages() -> str:
    rows: Rows = []
    at = (10, 50, 100, 200, 600)
    losses = [
        train(problem, SGD(learning_rate=0.1), SEEDS, at).metrics
        for problem in (
            Digits(dtype="float64", batch_size=60),
            WithoutDebiasing(dtype="float64", batch_size=60),
        )
    ]
    for row, step in enumerate(at, start=1):
        values = [
            metrics[f"test_{what}"][row].mean() for what in ("loss", "accuracy") for metrics in losses
        ]
        rows.append([step, *map(float, values)])
    return as_table("| step | test loss | PyTorch's | test accuracy | PyTorch's |", rows)


def idle_biases() -> str:
    rows: Rows = []
    for dtype in ("float32", "float64"):
        for rule in (AdaGrad(), RMSprop(), Adam(), Adam(eps=1e-30)):
            problem = Digits(dtype=dtype)
            for _, params, _, _ in steps_of(problem, rule, STEPS):  # noqa: B007
                pass
            views = problem.network.layout.views(params)
            moved = max(np.abs(views[f"dense{layer}.bias"]).max() for layer in (1, 2, 3))
            name = f"{type(rule).__name__}, ε = {rule.eps:g}"
            rows.append([dtype, name, float(moved), f"{moved / rule.learning_rate:.2g}"])
    return as_table("| dtype | rule | largest bias | in learning rates |", rows)


def out_of_the_box() -> str:
    keras_adam = {"learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-7}
    rules: dict[str, tuple[Optimizer | None, ...]] = {
        "SGD": (
            SGD(),
            SGD(learning_rate=0.001, momentum=0.0),
            SGD(learning_rate=0.01, momentum=0.0),
            Nesterov(learning_rate=0.001),
        ),
        "AdaGrad": (
            AdaGrad(),
            AdaGradEpsOutside(learning_rate=0.01, eps=1e-10),
            AdaGrad(learning_rate=0.001, eps=0.1 + 1e-7),
            None,
        ),
        "RMSprop": (
            RMSprop(),
            RMSpropEpsOutside(learning_rate=0.01, rho=0.99, eps=1e-8),
            RMSprop(eps=1e-7),
            None,
        ),
        "Adam": (
            Adam(),
            Adam(),
            AdamWithScaledEps(**keras_adam),
            AdamWithScaledEps(**{**keras_adam, "eps": 1e-8}),
        ),
    }
    rows: Rows = [
        [name, *("–" if rule is None else train_losses(rule)[0] for rule in row)]
        for name, row in rules.items()
    ]
    return as_table("| | optimlab | PyTorch | Keras | scikit-learn |", rows)


TABLES = (
    out_of_the_box,
    place_of_eps,
    start_of_adagrad,
    correction_of_adam,
    falling_rate,
    look_ahead,
    running_averages,
    idle_biases,
)

if __name__ == "__main__":
    print("\n\n".join(f"{table.__name__}\n\n{table()}" for table in TABLES))
