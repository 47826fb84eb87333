"""Rounds: a sweep adds seeds until every pair of optimizers is decided, or there are enough seeds.

Each round looks at the results, and the claims of all looks share one error rate: see
`optimlab.statistics.sequential`. experiment.json records the number of reporting seeds at each look, so
that tables and pages made later account for all looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from optimlab.errors import UserError
from optimlab.execution.sweep import Outcome
from optimlab.experiment.spec import Experiment
from optimlab.statistics import level_of_look
from optimlab.statistics.problems import comparison_of, problems_of, with_finals_of
from optimlab.storage.results import read_tables
from optimlab.storage.store import Store

GROWTH = 2  # ratio of the reporting seeds of a round to those of the round before
MOST = 8  # ratio of the reporting seeds of the last round to those of the first, by default


@dataclass(frozen=True)
class Round:
    """The result of one round.

    Attributes
    ----------
    outcome : the outcome of its sweep.
    seeds : the reporting seeds so far.
    pairs : the number of pairs of optimizers, on all problems.
    undecided : the pairs neither shown to differ nor practically equal, such as "Adam and SGD".
    level : the significance level of this look.
    """

    outcome: Outcome
    seeds: int
    pairs: int
    undecided: list[str]
    level: float


def rounds(
    experiment: Experiment,
    results: Path,
    most: int | None,
    sweep: Callable[..., Outcome],
    *,
    fresh: bool = False,
) -> Iterator[Round]:
    """Sweep, look at the results, add seeds, and so on; yield each round.

    Parameters
    ----------
    experiment : as in its file; rounds already in its results are continued.
    results : the folder of all results.
    most : the largest number of reporting seeds; None for eight times that of the file.
    sweep : called as ``sweep(experiment, fresh=fresh)``, it trains the missing runs.
    fresh : whether to delete all results first, including earlier rounds.

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
    """Return the number of pairs of chosen candidates, and the undecided ones."""
    tables = read_tables(folder)
    with_finals = with_finals_of(tables.runs, tables.traces, tables.experiment)
    by_problem = problems_of(with_finals, tables.traces)
    count, undecided = 0, []
    for problem, (runs, traces) in by_problem.items():
        pairs = comparison_of(runs, traces, tables.experiment).pairs
        tuned = pairs[pairs["setting"] == "tuned"]
        where = f" on {problem}" if len(by_problem) > 1 else ""
        count += len(tuned)
        undecided += [
            f"{row['better']} and {row['worse']}{where}"
            for row in tuned[tuned["outcome"] == "undecided"].to_dict("records")
        ]
    return count, undecided
