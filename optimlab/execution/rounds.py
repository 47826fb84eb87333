"""Rounds: a sweep adds seeds until every pair of optimizers is decided, or there are enough seeds.

Each round is a look at the results, and the claims of all looks share one error rate: see
`optimlab.statistics.sequential`. So experiment.json keeps at how many reporting seeds the results were
looked at, and whatever is made from them later counts those looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from optimlab.errors import UserError
from optimlab.execution.sweep import Outcome
from optimlab.experiment.spec import Experiment
from optimlab.statistics import level_of_look
from optimlab.statistics.contests import comparison_of, problems_of, with_finals_of
from optimlab.storage.results import read_tables
from optimlab.storage.store import Store

GROWTH = 2  # the reporting seeds of a round, over those of the round before
MOST = 8  # the reporting seeds of the last round, over those of the first, unless the user says


@dataclass(frozen=True)
class Round:
    """What a round came to.

    Attributes
    ----------
    outcome : of its sweep.
    seeds : the reporting seeds so far.
    pairs : how many pairs of optimizers there are, on all problems.
    undecided : the pairs that are neither shown to differ nor practically equal, in words.
    level : that this look had.
    """

    outcome: Outcome
    seeds: int
    pairs: int
    undecided: list[str]
    level: float


class Sweep(Protocol):
    """Runs what is missing of an experiment, perhaps after deleting all results."""

    def __call__(self, experiment: Experiment, *, fresh: bool) -> Outcome: ...


def rounds(
    experiment: Experiment, results: Path, most: int | None, sweep: Sweep, *, fresh: bool = False
) -> Iterator[Round]:
    """Sweep, look, add seeds, and so on; yield each round.

    Parameters
    ----------
    experiment : as its file has it; rounds that its results have had go on.
    results : the folder of all results.
    most : how many reporting seeds there may be; None for eight times those of the file.
    sweep : runs what is missing of an experiment.
    fresh : whether to delete all results first, earlier rounds too.

    Raises
    ------
    UserError
        When the experiment has nothing to compare, or more reporting seeds than `most`.
    """
    if len(experiment.optimizers) < 2 or not experiment.seeds.reporting:
        raise UserError(f"{experiment.file}: --until decided needs two optimizers and reporting seeds")
    most = MOST * experiment.seeds.reporting if most is None else most
    if not fresh:
        experiment = Store(results / experiment.name).with_rounds(experiment)
    seeds = experiment.seeds.reporting
    if seeds > most:
        raise UserError(f"{experiment.file}: there are {seeds:,} reporting seeds, more than {most:,}")
    looks = experiment.looks
    while True:
        looks = looks if seeds in looks else (*looks, seeds)
        outcome = sweep(experiment.with_rounds(seeds, looks), fresh=fresh)
        fresh = False
        pairs, undecided = _decided(results / experiment.name)
        yield Round(outcome, seeds, pairs, undecided, level_of_look(len(looks)))
        if not undecided or seeds == most or outcome.statuses.get("failed"):
            return
        seeds = min(GROWTH * seeds, most)


def _decided(folder: Path) -> tuple[int, list[str]]:
    """Return how many pairs there are at the chosen candidates, and which are undecided."""
    tables = read_tables(folder)
    ended = with_finals_of(tables.runs, tables.traces, tables.experiment)
    found = problems_of(ended, tables.traces)
    count, undecided = 0, []
    for problem, (runs, traces) in found.items():
        pairs = comparison_of(runs, traces, tables.experiment).pairs
        tuned = pairs[pairs["setting"] == "tuned"]
        where = f" on {problem}" if len(found) > 1 else ""
        count += len(tuned)
        undecided += [
            f"{row['better']} and {row['worse']}{where}"
            for row in tuned[tuned["outcome"] == "undecided"].to_dict("records")
        ]
    return count, undecided
