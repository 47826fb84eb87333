"""How long a training step takes, per run: by the size of the stack and of the batch.

One thread, float32, the default network, Adam. The stacks take turns, so that a machine that slows
down slows them all; the median of the turns is shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np
from threadpoolctl import threadpool_limits

from optimlab import Adam
from optimlab.problems import Digits

STACK_SIZES = (1, 8, 32, 64)
BATCH_SIZES = (32, 64, 1200)
TURNS = 15
SECONDS_A_TURN = 0.1


def report(*, quick: bool) -> str:
    """Return a table in markdown: µs per run and step, and the evaluation's share of an epoch."""
    turns = 3 if quick else TURNS
    lines = [
        "## A training step",
        "",
        "Microseconds per run and step: gather the batch, forward, backward, Adam. In brackets, what an",
        "evaluation on all 1,797 images costs per run, as a share of an epoch's steps.",
        "",
        "| stack size | " + " | ".join(f"batch {batch:,}" for batch in BATCH_SIZES) + " |",
        "|---:" * (len(BATCH_SIZES) + 1) + "|",
    ]
    with threadpool_limits(limits=1):
        columns = {batch: _times(batch, turns) for batch in BATCH_SIZES}
    for row, size in enumerate(STACK_SIZES):
        cells = [f"{step:.1f} ({share:.0%})" for step, share in (columns[b][row] for b in BATCH_SIZES)]
        lines.append(f"| {size} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _times(batch_size: int, turns: int) -> list[tuple[float, float]]:
    """Return, for each stack size, µs per run and step, and evaluation over an epoch's steps."""
    stacks = [_stack(size, batch_size) for size in STACK_SIZES]
    seconds: list[list[tuple[float, float]]] = [[] for _ in STACK_SIZES]
    for turn in range(turns + 1):
        for times, (step, evaluate) in zip(seconds, stacks, strict=True):
            pair = (_seconds(step), _seconds(evaluate))
            if turn > 0:  # the first turn warms up
                times.append(pair)
    steps_per_epoch = Digits(batch_size=batch_size).steps_per_epoch
    result = []
    for size, times in zip(STACK_SIZES, seconds, strict=True):
        step, evaluate = (median(column) for column in zip(*times, strict=True))
        result.append((step / size * 1e6, evaluate / (step * steps_per_epoch)))
    return result


def _stack(runs: int, batch_size: int) -> tuple[Callable[[], None], Callable[[], object]]:
    """Return what takes one step, and what evaluates, for a stack in training."""
    problem = Digits(bias=False, batch_size=batch_size)
    params = problem.initial_params(range(runs))
    optimizer = Adam(learning_rate=np.full((runs, 1), 0.001, np.float32))
    state = optimizer.init(params)
    batches = problem.batches(range(runs))

    def step() -> None:
        point = optimizer.gradient_point(params, state)
        _, gradient = problem.loss_and_gradient(point, next(batches))
        optimizer.step(params, gradient, state)

    return step, lambda: problem.evaluate(params)


def _seconds(action: Callable[[], object]) -> float:
    """Return the mean time of a call, over as many as fill a turn."""
    calls, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < SECONDS_A_TURN:
        action()
        calls += 1
    return elapsed / calls
