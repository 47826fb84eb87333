"""Witnesses: one run per optimizer and problem is also trained alone, to check the stacked runs.

A run's numbers must not depend on the runs that share its stack. `optimlab.experiment.mixing` tests a
rule on made-up gradients when an experiment is loaded; witnesses catch what that cannot. A plug-in rule
has a witness in every stack, since it may mix runs in some stacks only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count

import numpy as np

from optimlab.execution.stack import Follow, Stack, failed, train_stack
from optimlab.experiment.mixing import ADVICE
from optimlab.experiment.runs import FinishedRun, FinishedStack

DIFFERS = (
    "a run of this stack has other numbers when trained again alone: its optimizer or its problem mixes "
    f"runs, or does not give the same numbers twice; {ADVICE}"
)


def with_witnesses(stacks: Iterable[Stack]) -> list[Stack]:
    """Return the stacks; first those that the others wait for, one per problem and optimizer.

    It is the stack with the most learning rates, since mixing shows where rates differ. Its witness is
    not its first run and, in a stack of three or more, not the last. In other stacks, the first, the
    last and an inner run take turns, since a rule may change one of these alone.
    """
    groups: dict[tuple[str, ...], list[Stack]] = defaultdict(list)
    for stack in stacks:
        groups[stack.kind].append(stack)
    first, rest = [], []
    for group in groups.values():
        most = max(group, key=lambda stack: min(len(stack.run_ids), 2) * len(set(stack.learning_rates)))
        first.append(_with_witness(most, 0))
        others = [stack for stack in group if stack is not most]
        is_built_in = ":" not in most.rule
        rest += others if is_built_in else list(map(_with_witness, others, count(1)))
    return first + rest


def _with_witness(stack: Stack, number: int) -> Stack:
    """Return a stack with a witness, unless it has only one run; `number` is its place in its kind."""
    runs = len(stack.run_ids)
    turns = (max(1, runs // 3), 0, runs - 1)
    return replace(stack, witness=turns[number % 3]) if runs > 1 else stack


def train_with_witness(
    stack: Stack,
    follow: Follow = lambda stack, step: None,
    failures: type[BaseException] = BaseException,
) -> FinishedStack:
    """Train a stack and, alone, its witness, if it has one; fail the whole stack if any bit differs.

    See `train_stack`: if it returns only the first runs, one of those is the witness; a single run was
    trained alone already.
    """
    together = train_stack(stack, follow, failures)
    if stack.witness is None or len(together.runs) == 1:
        return together
    witness = min(stack.witness, len(together.runs) - 1)
    run = together.runs[witness]
    alone = train_stack(replace(stack.only(witness), keepers=None), follow, failures)
    if "failed" in (run.status, alone.runs[0].status) or _bits(together, witness) == _bits(alone, 0):
        return replace(together, cost=alone.cost)
    return failed(stack.part(slice(len(together.runs))), DIFFERS)


def checked(finished: Iterable[FinishedStack], stacks: Iterable[Stack]) -> Iterator[FinishedStack]:
    """Yield finished stacks once the first witness of their kind has finished: failed if runs mix.

    The first finished part of a stack includes its witness, unless a run of the stack ended its process;
    then each run is trained alone.
    """
    kinds = {run_id: stack.kind for stack in stacks for run_id in stack.run_ids}
    awaited: dict[tuple[str, ...], set[str]] = {}
    for stack in stacks:
        if stack.witness is not None:
            awaited.setdefault(stack.kind, set(stack.run_ids))
    waiting: dict[tuple[str, ...], list[FinishedStack]] = defaultdict(list)
    mixed = set()
    for end in finished:
        kind = kinds[end.runs[0].run_id]
        waiting[kind].append(end)
        if end.runs[0].run_id in awaited.get(kind, ()):
            del awaited[kind]
            if end.runs[0].reason == DIFFERS:
                mixed.add(kind)
        if kind not in awaited:
            for part in waiting.pop(kind):
                yield _as_failed(part) if kind in mixed else part


def _as_failed(stack: FinishedStack) -> FinishedStack:
    nothing = dict.fromkeys(stack.runs[0].final, np.nan)
    runs = [FinishedRun(run.run_id, "failed", DIFFERS, 0, nothing) for run in stack.runs]
    return FinishedStack(runs, {name: column[:0] for name, column in stack.traces.items()})


def _bits(stack: FinishedStack, index: int) -> list[bytes]:
    """Return all numbers of a run as bytes."""
    run, rows = stack.runs[index], stack.traces["run"] == index
    columns = (column[rows] for name, column in stack.traces.items() if name not in ("run", "params"))
    return [repr(run).encode(), *(column.tobytes() for column in columns)]
