"""Rows that see each other: a run's numbers must not depend on the runs that share its stack.

A plug-in is checked twice: when an experiment is loaded, by a few steps on made-up gradients, and in the
sweep, where one run of each optimizer and problem is trained alone, too, before the others are believed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from optimlab.errors import Interrupted
from optimlab.execution.stack import FinishedRun, FinishedStack, Follow, Stack, failed, train_stack

ADVICE = (
    "reduce over the last axis alone (axis=-1, keepdims=True), take learning_rate for the column (R, 1) "
    "that it is, keep what is remembered in the state, and draw no random numbers of the stack's shape"
)
DIFFERS = f"trained alone, a run of this stack has other numbers: its rule mixes runs. In it, {ADVICE}"

STEPS = 60
DECADES = 9  # to either side of one: how small and how large the made-up gradients are


def mixes_runs(rule: type, given: Mapping[str, Any], rates: Sequence[float]) -> bool:
    """Return whether a run's steps depend on the other rows of its stack, as no rule's may.

    Three rows of different learning rates, with gradients of all sizes, are stepped together and each
    alone. What a rule raises is not judged here, but for what it raises only when a row is alone.

    Parameters
    ----------
    rule : the class of the optimizer.
    given : hyper-parameters, all but the learning rate.
    rates : the experiment's, one or more.
    """
    low, high = min(rates), max(rates)
    column = np.array([low / 2, low, low / 4] if low == high else [(low * high) ** 0.5, high, low])
    rng = np.random.default_rng(0)
    exponents = rng.uniform(-DECADES, DECADES, (STEPS, 1, 1)) + rng.uniform(-2, 2, (STEPS, 3, 1))
    points, gradients = rng.normal(size=(2, STEPS, 3, 7))
    gradients *= 10**exponents

    def walk(rows: list[int]) -> Iterator[np.ndarray]:
        """Yield where each step took the gradient, and where it led: an array (R, 2, 7)."""
        optimizer = rule(learning_rate=column[rows, None], **given)
        params = points[0, rows]
        state = optimizer.init(params)
        for point, gradient in zip(points[:, rows], gradients[:, rows], strict=True):
            params[...] = point  # anew, so that no step is lost in the rounding of those before
            looked_at = np.array(optimizer.gradient_point(params, state))
            optimizer.step(params, gradient.copy(), state)
            yield np.stack([looked_at, params], axis=1)

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
            seen.append(step)  # noqa: PERF402  # what there was before it raised
    except Interrupted:
        raise
    except BaseException:  # noqa: S110
        pass
    return seen


def with_witnesses(stacks: Iterable[Stack]) -> list[Stack]:
    """Return the stacks, those first that have a witness: one of each problem and optimizer.

    It is the one with the most learning rates, since rates that are mixed show where they differ; its
    witness is neither the first of its runs nor, where it has three, the last.
    """
    groups: dict[tuple[str, ...], list[Stack]] = defaultdict(list)
    for stack in stacks:
        groups[stack.kind].append(stack)
    first, rest = [], []
    for group in groups.values():
        most = max(group, key=lambda stack: min(len(stack.run_ids), 2) * len(set(stack.learning_rates)))
        runs = len(most.run_ids)
        first += [replace(most, witness=max(1, runs // 3))] if runs > 1 else [most]
        rest += [stack for stack in group if stack is not most]
    return first + rest


def train_with_witness(
    stack: Stack,
    follow: Follow = lambda stack, step: None,
    failures: type[BaseException] = BaseException,
) -> FinishedStack:
    """Train a stack and, alone, its witness, if it has one; fail all of it where bits differ.

    See `train_stack`: where it returns the first runs alone, one of those is the witness; a single one
    was trained alone already.
    """
    together = train_stack(stack, follow, failures)
    if stack.witness is None or len(together.runs) == 1:
        return together
    witness = min(stack.witness, len(together.runs) - 1)
    run = together.runs[witness]
    alone = train_stack(stack.only(witness), follow, failures)
    if "failed" in (run.status, alone.runs[0].status) or _bits(together, witness) == _bits(alone, 0):
        return together
    return failed(stack.part(slice(len(together.runs))), DIFFERS)


def believed(finished: Iterable[FinishedStack], stacks: Iterable[Stack]) -> Iterator[FinishedStack]:
    """Yield finished stacks, each once the witness of its kind has been heard: failed where runs mix.

    The witness is heard with the first part of its stack that is finished: it is in there, unless a run
    of the stack has ended its process, and then each is trained alone.
    """
    kinds = {run_id: stack.kind for stack in stacks for run_id in stack.run_ids}
    awaited = {stack.kind: set(stack.run_ids) for stack in stacks if stack.witness is not None}
    waiting: dict[tuple[str, ...], list[FinishedStack]] = defaultdict(list)
    mixed = set()
    for stack in finished:
        kind = kinds[stack.runs[0].run_id]
        waiting[kind].append(stack)
        if stack.runs[0].run_id in awaited.get(kind, ()):
            del awaited[kind]
            if stack.runs[0].reason == DIFFERS:
                mixed.add(kind)
        if kind not in awaited:
            for one in waiting.pop(kind):
                yield _as_failed(one) if kind in mixed else one


def _as_failed(stack: FinishedStack) -> FinishedStack:
    nothing = dict.fromkeys(stack.runs[0].final, np.nan)
    runs = [FinishedRun(run.run_id, "failed", DIFFERS, 0, nothing) for run in stack.runs]
    return FinishedStack(runs, {name: column[:0] for name, column in stack.traces.items()})


def _bits(stack: FinishedStack, place: int) -> list[bytes]:
    """Return all that is known of a run, as bytes."""
    run, rows = stack.runs[place], stack.traces["run"] == place
    columns = (column[rows] for name, column in stack.traces.items() if name not in ("run", "params"))
    return [repr(run).encode(), *(column.tobytes() for column in columns)]
