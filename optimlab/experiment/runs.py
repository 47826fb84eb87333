"""Runs: which there are, how each ended, and the columns that say so in runs.csv."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from optimlab.experiment.identity import digest
from optimlab.training import PROBLEM_METRICS, Cost

Role = Literal["tuning", "reporting"]

FIRST_REPORTING_SEED = 1000  # far from the tuning seeds, so that neither kind ever becomes the other
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


@dataclass(frozen=True, slots=True)
class Run:
    """One training: of a problem, by a candidate of an optimizer, with a seed.

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
    """The runs that differ only by their seed; `identity` is of everything else that they compute."""

    problem: str
    optimizer: str
    candidate: int
    learning_rate: float
    identity: str


def runs_of(
    cells: Iterable[Cell], roles: Sequence[tuple[int, Role]], record_params: int
) -> Iterator[Run]:
    """Yield every run of the cells: one for each seed, with its role.

    Parameters
    ----------
    cells : in order.
    roles : every seed with its role.
    record_params : of how many reporting seeds, the first ones, the parameters are recorded, too.
    """
    for problem, optimizer, candidate, rate, identity in cells:
        for seed, role in roles:
            keeps = 0 <= seed - FIRST_REPORTING_SEED < record_params
            run_id = digest(f"{identity} seed {seed}{' params' if keeps else ''}")
            yield Run(run_id, problem, optimizer, candidate, rate, seed, role, keeps)


class Shard(NamedTuple):
    """The share `number`, from 1 on, of so many of an experiment's runs.

    Which one a run is in, its identity says: machines that know nothing of each other divide the runs.
    """

    number: int
    of: int

    def has(self, run: Run) -> bool:
        """Return whether a run is in it."""
        return int(run.run_id, 16) % self.of == self.number - 1


@dataclass(frozen=True)
class FinishedRun:
    """How one run ended.

    Attributes
    ----------
    run_id : which.
    status : one of `optimlab.statuses.STATUSES`.
    reason : why, unless ok.
    steps : how many steps it took while its numbers were finite.
    final : the problem's metrics after the last step, NaN where there are none.
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
        parameters are recorded, "params" has rows of them (P,), and None for the other runs.
    computed_by : the libraries and kernels that computed it, which decide the last bits.
    cost : of a step of one of its runs, where one was trained alone.
    fell_back : what a stack raised whose runs were then trained one by one; "" for others.
    """

    runs: list[FinishedRun]
    traces: dict[str, np.ndarray]
    computed_by: dict[str, str] = field(default_factory=dict)
    cost: Cost | None = None
    fell_back: str = ""
