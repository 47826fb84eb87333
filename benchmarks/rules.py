"""Prints what each rule costs here: the table of docs/optimizers.md. Run ``python -m benchmarks.rules``.

Bytes of state per run, in units of its parameters, scratch arrays included; and microseconds of
processor time per step and run, the least of several turns, on one core, for a stack of 32 runs of
the default digits network.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from optimlab.experiment.registry import load_rule
from optimlab.optimizers import RULES, WRAPPERS, begin
from optimlab.problems import Digits
from optimlab.training import state_bytes, task_of

RUNS, STEPS, TURNS = 32, 20, 10
NAMES = [*RULES, *(f"{wrapper}(Adam)" for wrapper in WRAPPERS)]


def cost(name: str) -> tuple[float, float]:
    """Return a rule's memory per parameter, and its microseconds per step and run."""
    problem = Digits()
    params, _ = problem.init(range(RUNS))
    gradients = np.random.default_rng(0).normal(0, 0.1, (STEPS, *params.shape)).astype(params.dtype)
    rates = np.full((RUNS, 1), 0.001, params.dtype)
    optimizer = load_rule(name, Path())(learning_rate=rates)
    state = begin(optimizer, params, task_of(problem, params, range(RUNS), STEPS))
    turns = []
    for _ in range(TURNS):
        start = time.process_time()
        for gradient in gradients:
            optimizer.gradient_point(params, state)
            optimizer.step(params, gradient, state)
        turns.append((time.process_time() - start) / STEPS / RUNS)
    return state_bytes(state) / params.nbytes, 1e6 * min(turns)


def table() -> str:
    """Return the Markdown table."""
    lines = ["| rule | memory per parameter | µs per step | default rate |", "|---" * 4 + "|"]
    with threadpool_limits(1):
        for name in NAMES:
            memory, microseconds = cost(name)
            rate = load_rule(name, Path())().learning_rate
            lines.append(f"| `{name}` | {memory:.1f} | {microseconds:.1f} | {rate:g} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
