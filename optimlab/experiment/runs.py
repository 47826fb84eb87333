"""Runs: the list of an experiment's runs, how each ended, and the columns of runs.csv."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

import numpy as np

from optimlab.experiment.identity import digest
from optimlab.statuses import STATUSES
from optimlab.training import PROBLEM_METRICS, Cost

Role = Literal["tuning", "reporting"]

FIRST_REPORTING_SEED = 1000  # far from the tuning seeds, so that the two never overlap
RUN_COLUMNS: dict[str, type] = {  # hyper-parameters follow
    "run_id": str,
    "problem": str,
    "optimizer": str,
    "rule": str,
    "candidate": int,
    "learning_rate": float,
    "seed": int,
    "role": str,
    "status": str,
    "reason": str,
    "steps": float,
    **{f"final_{name}": float for name in PROBLEM_METRICS},
}
LEGAL = {"status": STATUSES, "role": get_args(Role)}  # column → its values


@dataclass(frozen=True, slots=True)
class Run:
    """One training of a problem by a candidate of an optimizer with a seed.

    `run_id` identifies everything it computes.
    """

    run_id: str
    problem: str
    optimizer: str
    candidate: int
    learning_rate: float
    seed: int
    role: Role
    keeps_params: bool = False


class Cell(NamedTuple):
    """The runs that differ only in their seed; `identity` is a digest of everything else."""

    problem: str
    optimizer: str
    candidate: int
    learning_rate: float
    identity: str


def runs_of(
    cells: Iterable[Cell], roles: Sequence[tuple[int, Role]], record_params: int
) -> Iterator[Run]:
    """Yield every run of the cells: one per seed, with its role.

    Parameters
    ----------
    cells : the cells, in order.
    roles : every seed with its role.
    record_params : the number of reporting seeds, from the first, whose parameters are recorded.
    """
    for problem, optimizer, candidate, rate, identity in cells:
        for seed, role in roles:
            keeps = 0 <= seed - FIRST_REPORTING_SEED < record_params
            run_id = digest(f"{identity} seed {seed}{' params' if keeps else ''}")
            yield Run(run_id, problem, optimizer, candidate, rate, seed, role, keeps)


class Shard(NamedTuple):
    """One of several shares of an experiment's runs, counted from 1.

    A run's identity determines its share, so machines divide the runs without communicating.
    """

    number: int
    of: int

    def has(self, run: Run) -> bool:
        """Return whether a run is in this share."""
        return int(run.run_id, 16) % self.of == self.number - 1


@dataclass(frozen=True)
class FinishedRun:
    """How one run ended.

    Attributes
    ----------
    run_id : the run.
    status : one of `optimlab.statuses.STATUSES`.
    reason : the reason, unless ok.
    steps : the number of steps it took while its numbers were finite.
    final : the problem's metrics after the last step; NaN for missing ones.
    """

    run_id: str
    status: str
    reason: str
    steps: int
    final: dict[str, float]


@dataclass(frozen=True)
class FinishedStack:
    """The runs of a stack and their traces, column by column.

    Attributes
    ----------
    runs : how each run ended.
    traces : "run" (its index in `runs`), "step", "epoch" and the metrics: name → column. Where
        parameters are recorded, "params" has rows (P,), and None for the other runs.
    computed_by : the libraries and kernels that computed it, which decide the last bits.
    cost : the cost of a step, if one of its runs was trained alone.
    fell_back : the error of the stack if its runs were then trained one by one; otherwise "".
    """

    runs: list[FinishedRun]
    traces: dict[str, np.ndarray]
    computed_by: dict[str, str] = field(default_factory=dict)
    cost: Cost | None = None
    fell_back: str = ""
