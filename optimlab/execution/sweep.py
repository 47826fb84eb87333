"""The sweep: find the missing runs, train them on all cores, store each as soon as it finishes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from optimlab.errors import OutOfTime
from optimlab.execution.checkpoint import Checkpoints
from optimlab.execution.compilation import compile_once
from optimlab.execution.costs import Costs
from optimlab.execution.stack import Keepers, Stack
from optimlab.execution.witness import checked, with_witnesses
from optimlab.execution.workers import Workers, local_workers, trained
from optimlab.experiment.runs import Run, Shard
from optimlab.experiment.spec import Experiment
from optimlab.messages import warn
from optimlab.progress import Progress
from optimlab.storage.environment import computing, describe_computing, environment
from optimlab.storage.manifest import LastSweep, Manifest, describe, differing
from optimlab.storage.store import Store

# A stack's working memory should about fit the cache of one core.
STACK_BYTES = 6_000_000
LARGEST_STACK = 60


@dataclass(frozen=True)
class Outcome:
    """The outcome of a sweep.

    Attributes
    ----------
    ran : number of runs that finished in this sweep.
    kept : number of runs that had finished before.
    statuses : status → number of runs, of all that have finished.
    seconds : the duration of the sweep.
    missing : number of runs of the experiment, or of its shard, that have not finished.
    """

    ran: int
    kept: int
    statuses: dict[str, int]
    seconds: float
    missing: int


def sweep(
    experiment: Experiment,
    results: Path,
    jobs: int | None,
    progress: Progress,
    *,
    fresh: bool = False,
    time_limit: float | None = None,
    deadline: float | None = None,
    shard: Shard | None = None,
    workers: Workers | None = None,
) -> Outcome:
    """Train the missing runs of an experiment and make its tables.

    Every stack is stored as soon as it has finished, and takes about 20 s at most. An interrupt stops
    the workers, makes the tables from the finished runs, and is raised again.

    Parameters
    ----------
    experiment : the experiment.
    results : the folder of all results; the experiment gets a folder in it.
    jobs : the number of worker processes; None for one per core.
    progress : displays the sweep's progress.
    fresh : whether to delete the experiment's results first.
    time_limit : seconds that a run may take; a longer one fails.
    deadline : the value of `time.monotonic` after which nothing more is trained.
    shard : the share of the runs to train; None for all.
    workers : workers other than local processes, such as a cluster's; `jobs` is then ignored.

    Raises
    ------
    UserError
        When another process sweeps into the same results, or the code changes during the sweep.
    OSError
        When the results cannot be read or written.
    OutOfTime
        When the deadline passes while runs are missing; it is an interrupt.
    """
    start = time.monotonic()
    store = Store(results / experiment.name)
    checkpoints = Checkpoints(results.resolve() / experiment.name)
    keepers = None if workers else checkpoints  # other machines may not see the results
    workers = workers or local_workers(experiment, jobs, time_limit)
    ran, costs = 0, Costs()

    def write_tables() -> Manifest:
        about = _described(experiment, store, ran, time.monotonic() - start)
        return store.write_tables(costs.added_to(about))

    def follow(runs: float) -> None:
        progress.follow(runs)
        _look_at_the_clock(deadline)

    with store.held():
        store.refuse_other(experiment)
        if fresh:
            store.clear()
        else:
            experiment = store.with_rounds(experiment)
        store.set_aside_damaged(experiment)
        before = store.manifest()
        if before is None or not before.tables or differing(before, store.tables()):
            write_tables()  # consistent ones, which name their experiment, even if the sweep is killed
        finished = store.finished()
        checkpoints.delete(finished.__contains__)
        wanted = [run for run in experiment.runs() if shard is None or shard.has(run)]
        missing = [run for run in wanted if run.run_id not in finished]
        kept = len(wanted) - len(missing)
        key_of = {run.run_id: (run.problem, run.optimizer) for run in missing}
        if missing:
            _warn_of_other_libraries(experiment, store)
        try:
            if missing:
                problems = [setting.problem for setting in experiment.problems]
                rules = [setting.rule for setting in experiment.optimizers]
                compile_once(problems, rules, progress.console.print)
            todo = with_witnesses(stacks(experiment, missing, workers.cores, time_limit, keepers))
            with (
                progress.over(len(missing), kept),
                closing(trained(todo, workers, follow)) as finished_stacks,
            ):
                for stack in checked(finished_stacks, todo):
                    store.write_part(stack)
                    costs.add(stack, *key_of[stack.runs[0].run_id])
                    checkpoints.delete({run.run_id for run in stack.runs}.__contains__)
                    ran += len(stack.runs)
                    progress.advance(len(stack.runs))
                    _look_at_the_clock(deadline if ran < len(missing) else None)
        except BaseException:
            with suppress(OSError):  # such as a full disk
                write_tables()
            raise
        manifest = write_tables()
        if experiment.record_params:
            from optimlab.execution.surface import keep_surface  # with pandas and the statistics

            keep_surface(experiment, store, manifest)
        left = len(wanted) - store.count_finished(wanted)
    return Outcome(ran, kept, manifest.statuses, time.monotonic() - start, left)


def _described(experiment: Experiment, store: Store, ran: int, seconds: float) -> Manifest:
    """Return the content of experiment.json after a sweep that ran `ran` runs."""
    before = store.manifest() or Manifest()
    last, where = before.last_sweep, before.environment
    if ran:
        last = LastSweep(runs=ran, seconds=round(seconds, 1))
    if ran or not where:
        where = environment(experiment.packages)
    about = describe(experiment, store.folder)
    update = {"last_sweep": last or LastSweep(), "environment": where, "costs": before.costs}
    return about.model_copy(update=update)


def _warn_of_other_libraries(experiment: Experiment, store: Store) -> None:
    """Warn of kept runs that were computed by libraries other than those installed here."""
    for by, runs in store.computed_otherwise(experiment).items():
        warn(
            f"{runs:,} of the runs that are kept were computed by {by}, and this machine has "
            f"{describe_computing(computing())}: the last bits of the runs to come may differ; "
            "--fresh does all of them here"
        )


def _look_at_the_clock(deadline: float | None) -> None:
    if deadline is not None and time.monotonic() > deadline:
        raise OutOfTime


def stacks(
    experiment: Experiment,
    runs: list[Run],
    cores: int,
    time_limit: float | None = None,
    keepers: Keepers | None = None,
) -> Iterator[Stack]:
    """Yield the runs in enough stacks for all cores; the runs of one differ in rate and seed only."""
    optimizers = {setting.label: setting for setting in experiment.optimizers}
    candidates = {
        (setting.label, candidate.number): candidate
        for setting in experiment.optimizers
        for candidate in setting.candidates
    }

    def shared(run: Run) -> tuple[str, str, str]:
        others = candidates[run.optimizer, run.candidate].hyperparameters
        return run.problem, run.optimizer, repr(others)  # repr, since True == 1

    problems = {setting.label: setting for setting in experiment.problems}
    by_workers = -(-len(runs) // (4 * cores))
    for (problem_label, label, _), group in itertools.groupby(runs, shared):
        members, setting = list(group), problems[problem_label]
        problem = replace(setting.problem)  # type: ignore[type-var]  # a copy without cached arrays
        by_cache = STACK_BYTES // setting.about.run_bytes
        size = max(1, min(LARGEST_STACK, by_cache, by_workers))
        for start in range(0, len(members), size):
            batch = members[start : start + size]
            yield Stack(
                labels=(problem_label, label),
                problem=problem,
                rule=optimizers[label].rule,
                folder=experiment.file.parent.resolve(),
                hyperparameters=candidates[label, batch[0].candidate].hyperparameters,
                record_at=setting.record_at,
                run_ids=tuple(run.run_id for run in batch),
                learning_rates=tuple(run.learning_rate for run in batch),
                seeds=tuple(run.seed for run in batch),
                params_of=frozenset(run.run_id for run in batch if run.keeps_params),
                code=experiment.codes[problem_label, label],
                time_limit=time_limit,
                schedules=optimizers[label].schedules,
                keepers=keepers,
            )
