"""The sweep: which runs are missing, run them on all cores, put each on disk as it finishes."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from joblib import effective_n_jobs

from optimlab import hints
from optimlab.environment import environment
from optimlab.experiment import FOLDER, Experiment, ProblemSetting, Run
from optimlab.mixing import believed, with_witnesses
from optimlab.progress import Progress
from optimlab.stack import Stack
from optimlab.store import Store
from optimlab.workers import trained

# A stack's working memory should stay within the cache that a core can call its own, more or less.
STACK_BYTES = 6_000_000
LARGEST_STACK = 60

ABOUT_PROBLEM = ("problem", "network", "steps", "steps_per_epoch", "stuck_loss")


@dataclass(frozen=True)
class Outcome:
    """What a sweep has done.

    Attributes
    ----------
    ran : how many runs finished in this sweep.
    kept : how many had finished before.
    statuses : status → number of runs, over all that have finished.
    seconds : how long the sweep took.
    """

    ran: int
    kept: int
    statuses: dict[str, int]
    seconds: float


def sweep(
    experiment: Experiment,
    results: Path,
    jobs: int | None,
    progress: Progress,
    *,
    fresh: bool = False,
    time_limit: float | None = None,
) -> Outcome:
    """Run what is missing of an experiment and make its tables.

    Every stack is on disk as soon as it has finished. When the sweep is interrupted, the workers are
    stopped, the tables are made from what has finished, and the interrupt goes on to the caller.

    Parameters
    ----------
    experiment : what to run.
    results : the folder of all results; the experiment's own is made in it.
    jobs : the number of worker processes; None for one a core.
    progress : is told how far the sweep is.
    fresh : whether to delete the experiment's results first.
    time_limit : seconds that a run may take; one that takes longer is failed.

    Raises
    ------
    UserError
        When another process sweeps into the same results, or the code changes on the way.
    OSError
        When the results cannot be read or written.
    """
    start = time.monotonic()
    store = Store(results / experiment.name)
    jobs = jobs or effective_n_jobs(-1)
    ran = 0

    def write_tables() -> dict[str, int]:
        about = manifest(experiment, time.monotonic() - start, ran)
        if ran == 0:  # the numbers are still those of the sweep before
            before = store.manifest()
            about |= {key: before[key] for key in ("environment", "last_sweep") if key in before}
        return store.write_tables(experiment, about)

    with store.held():
        if fresh:
            store.clear()
        store.set_aside_damaged()
        finished = store.finished()
        missing = [run for run in experiment.runs() if run.run_id not in finished]
        kept = experiment.count() - len(missing)
        try:
            with progress.over(len(missing), kept):
                todo = with_witnesses(stacks(experiment, missing, jobs, time_limit))
                for stack in believed(trained(todo, jobs), todo):
                    store.write_part(stack)
                    ran += len(stack.runs)
                    progress.advance(len(stack.runs))
        except BaseException:
            with suppress(OSError):  # such as the full disk that has just been met
                write_tables()
            raise
        statuses = write_tables()
    return Outcome(ran, kept, statuses, time.monotonic() - start)


def stacks(
    experiment: Experiment, runs: list[Run], jobs: int, time_limit: float | None = None
) -> Iterator[Stack]:
    """Yield the runs in stacks: of one problem and optimizer each, and enough for all workers."""
    optimizers = {setting.label: setting for setting in experiment.optimizers}
    problems = {setting.label: setting for setting in experiment.problems}
    by_workers = -(-len(runs) // (4 * min(jobs, effective_n_jobs(-1))))
    for (problem_label, label), group in itertools.groupby(
        runs, lambda run: (run.problem, run.optimizer)
    ):
        members, setting = list(group), problems[problem_label]
        problem = replace(setting.problem)  # type: ignore[type-var]  # a copy without cached arrays
        by_cache = STACK_BYTES // problem.run_bytes
        size = max(1, min(LARGEST_STACK, by_cache, by_workers))
        for start in range(0, len(members), size):
            batch = members[start : start + size]
            yield Stack(
                problem=problem,
                rule=optimizers[label].rule,
                folder=experiment.file.parent.resolve(),
                hyperparameters=optimizers[label].hyperparameters,
                record_at=setting.record_at,
                run_ids=tuple(run.run_id for run in batch),
                learning_rates=tuple(run.learning_rate for run in batch),
                seeds=tuple(run.seed for run in batch),
                params_of=frozenset(run.run_id for run in batch if run.keeps_params),
                code=experiment.codes[problem_label, optimizers[label].rule],
                time_limit=time_limit,
            )


def manifest(experiment: Experiment, seconds: float, ran: int) -> dict[str, Any]:
    """Return what a reader of the results must know of the experiment and its environment."""
    seeds: dict[str, list[int]] = {"tuning": [], "reporting": []}
    for seed, role in experiment.roles():
        seeds[role].append(seed)
    about = {setting.label: _about(setting) for setting in experiment.problems}
    only = next(iter(about.values())) if len(about) == 1 else dict.fromkeys(ABOUT_PROBLEM)
    return {
        "name": experiment.name,
        "title": experiment.title,
        "description": experiment.description,
        "command": hints.make("sweep", _argument(experiment)),
        **only,
        "problems": about,
        "optimizers": {s.label: asdict(s) for s in experiment.optimizers},
        "seeds": seeds,
        "runs_expected": experiment.count(),
        "last_sweep": {"runs": ran, "seconds": round(seconds, 1)},
        "environment": environment(),
        "code": {f"{label}, {rule}": code for (label, rule), code in experiment.codes.items()},
        "toml": experiment.toml,
        "toml_sha256": sha256(experiment.toml.encode()).hexdigest(),
    }


def _about(setting: ProblemSetting) -> dict[str, Any]:
    """Return what is to be known of a problem."""
    problem = setting.problem
    network = getattr(problem, "network", None)
    values = (
        {"name": setting.name, **setting.settings},
        network.summary() if network else None,
        setting.steps,
        problem.steps_per_epoch,
        problem.stuck_loss if math.isfinite(problem.stuck_loss) else None,  # JSON has no infinity
    )
    return dict(zip(ABOUT_PROBLEM, values, strict=True))


def _argument(experiment: Experiment) -> str:
    """Return the experiment as commands take it: its name, or its file if that is elsewhere."""
    return experiment.name if experiment.file.parent == FOLDER else str(experiment.file)
