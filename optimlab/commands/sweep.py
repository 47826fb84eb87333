"""`optimlab sweep`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich import filesize
from rich.console import Console

from optimlab import hints
from optimlab.commands import common
from optimlab.errors import OutOfTime, UserError
from optimlab.formatting import duration, read_duration
from optimlab.hints import RESULTS

if TYPE_CHECKING:
    from optimlab.execution.plan import Plan
    from optimlab.execution.sweep import Outcome
    from optimlab.execution.workers import Workers
    from optimlab.experiment.runs import Shard
    from optimlab.experiment.spec import Experiment

MOST_PAIRS_NAMED = 10
SHARD = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


def sweep(
    experiment: common.ExperimentName = "digits",
    changes: common.Changes = None,
    jobs: common.Jobs = None,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Delete the experiment's results first; asks on a terminal."),
    ] = False,
    yes: common.Yes = False,
    backend: Annotated[
        Literal["local", "joblib", "dask"],
        typer.Option(help="Which workers: optimlab's own, joblib's (loky), or a Dask cluster's."),
    ] = "local",
    scheduler: Annotated[
        str | None, typer.Option(help="The Dask scheduler's address, such as tcp://10.0.0.1:8786.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show what would run, for how long, and how much disk space it needs."
        ),
    ] = False,
    time_limit: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Seconds that a run may take; a longer one fails. No limit if left out.",
        ),
    ] = None,
    deadline: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Stop after this time, such as 50m, with exit code 130; the same command resumes.",
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Run only one of N shares of the runs, such as 3/16; `optimlab merge` joins them.",
        ),
    ] = None,
    until: Annotated[
        Literal["decided"] | None,
        typer.Option(help="decided: add seeds in rounds, until every pair of optimizers is decided."),
    ] = None,
    most_seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1_000_000,
            help="With --until: the most reporting seeds; 8 times the file's number if left out.",
        ),
    ] = None,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
    results: common.ResultsFolder = RESULTS,
) -> None:
    """Train the missing runs of an experiment, and save its tables."""
    from optimlab.files import check_writable, experiment_folder
    from optimlab.progress import Progress

    start = time.monotonic()
    console = common.console(quiet=quiet, as_json=as_json)
    with common.user_errors(as_json=as_json), ExitStack() as early:
        _check_together(until, most_seeds, shard, dry_run=dry_run)
        end = None if deadline is None else start + _seconds(deadline)
        share = None if shard is None else _share(shard)
        checked = common.load_experiment(experiment, changes, results)
        folder = results / checked.name
        other_workers = _other_workers(backend, scheduler, jobs, time_limit)
        if backend == "local" and not dry_run and (fresh or _is_empty(folder)):
            from optimlab.execution.workers import prepared_early

            early.enter_context(prepared_early(checked, jobs, time_limit))
        from optimlab.execution.sweep import sweep as run_sweep  # slow: the workers start meanwhile

        about = {"experiment": checked.name, "title": checked.title, "folder": str(folder)}
        if dry_run:
            from optimlab.execution.plan import plan

            todo = plan(checked, results, jobs, fresh=fresh, shard=share)
            _print_plan(console, checked, todo)
            _print_json(as_json, about | asdict(todo))
            return
        check_writable(experiment_folder(folder))
        if fresh:
            _announce_deletion(console, folder, ask=not yes and common.has_terminal())
        console.print(checked.title, style="bold", markup=False)

        def run(experiment: Experiment, *, fresh: bool) -> Outcome:
            return run_sweep(
                experiment,
                results,
                jobs,
                Progress(console),
                fresh=fresh,
                time_limit=time_limit,
                deadline=end,
                shard=share,
                workers=workers,
            )

        try:
            with other_workers as workers:
                if until:
                    outcome = _in_rounds(console, checked, results, most_seeds, run, fresh=fresh)
                else:
                    outcome = run(checked, fresh=fresh)
        except KeyboardInterrupt as interrupt:
            why = "The deadline has passed" if isinstance(interrupt, OutOfTime) else "Interrupted"
            text = f"{why}. The finished runs are in {folder}; the same command resumes."
            console.print(text, soft_wrap=True)
            _print_json(as_json, about | {"interrupted": True})
            raise typer.Exit(130) from None
    _print_json(as_json, about | {"interrupted": False} | asdict(outcome))
    _print_outcome(console, outcome, folder)


def _check_together(
    until: str | None, most_seeds: int | None, shard: str | None, *, dry_run: bool
) -> None:
    """Refuse options that exclude each other."""
    if until is None and most_seeds is not None:
        raise UserError("--most-seeds requires --until decided")
    if until and dry_run:
        raise UserError("--until decided does not go with --dry-run: the number of rounds is unknown")
    if until and shard:
        raise UserError("--until decided does not go with --shard: it needs all runs")


def _seconds(text: str) -> float:
    """Return the value of --deadline in seconds."""
    try:
        return read_duration(text)
    except ValueError as error:
        raise UserError(f"--deadline {error}") from None


def _share(text: str) -> Shard:
    """Return the share of the runs that --shard selects."""
    from optimlab.experiment.runs import Shard

    number, of = map(int, found.groups()) if (found := SHARD.fullmatch(text)) else (0, 0)
    if not 1 <= number <= of:
        raise UserError(f"--shard must be K/N with K from 1 to N, such as 3/16, got {text!r}")
    return Shard(number, of)


def _print_json(as_json: bool, content: dict[str, Any]) -> None:
    if as_json:
        common.print_json(content)


def _is_empty(folder: Path) -> bool:
    """Return whether an experiment has no results yet; where that cannot be seen, False."""
    from optimlab.files import experiment_folder

    try:
        return not experiment_folder(folder).names()
    except OSError:
        return False


def _announce_deletion(console: Console, folder: Path, *, ask: bool) -> None:
    """Print what --fresh deletes; exit with 1 if the user is asked and refuses."""
    from optimlab.storage.clean import described
    from optimlab.storage.store import Store

    store = Store(folder)
    if not store.is_marked():
        return
    console.print(f"Deletes {described(store)}", soft_wrap=True)
    if ask and not common.agreed("Continue?", on_stderr=console.stderr):
        console.print("Nothing was deleted.")
        raise typer.Exit(1)


def _other_workers(
    backend: str, scheduler: str | None, jobs: int | None, time_limit: float | None
) -> AbstractContextManager[Workers | None]:
    """Return a context with joblib's or a cluster's workers, if the options select them."""
    if (backend == "dask") != (scheduler is not None):
        raise UserError("--backend dask and --scheduler ADDRESS must be given together")
    if backend == "joblib":
        from optimlab.execution.workers import Joblib

        if time_limit:
            raise UserError("--time-limit is for local workers, not for --backend joblib")
        return nullcontext(Joblib(jobs))
    if scheduler is None:
        return nullcontext()
    if jobs or time_limit:
        raise UserError("--jobs and --time-limit are for local workers, not for --backend dask")
    try:
        from optimlab.execution.dask import dask
    except ModuleNotFoundError:
        raise UserError("--backend dask needs an extra: pip install 'optimlab[dask]'") from None
    return dask(scheduler)


def _print_plan(console: Console, experiment: Experiment, todo: Plan) -> None:
    """Print what a sweep would run."""
    console.print(experiment.title, style="bold", markup=False)
    if not todo.missing:
        those = "the only run is" if todo.kept == 1 else f"all {todo.kept:,} runs are"
        console.print(f"Nothing to do: {those} finished.")
        return
    kept = f", {todo.kept:,} finished before" if todo.kept else ""
    console.print(f"{todo.missing:,} runs to do{kept}, in {todo.stacks:,} stacks")
    workers = f"{todo.jobs:,} worker{'s' if todo.jobs > 1 else ''}"
    console.print(f"about {duration(todo.seconds)} on {workers}, estimated from a few steps timed now")
    console.print(f"at most {filesize.decimal(todo.bytes)} of disk space")


def _in_rounds(
    console: Console,
    experiment: Experiment,
    results: Path,
    most: int | None,
    run: Callable[..., Outcome],
    *,
    fresh: bool,
) -> Outcome:
    """Sweep until every pair is decided; print the result of each round."""
    from optimlab.execution.rounds import rounds

    for number, result in enumerate(rounds(experiment, results, most, run, fresh=fresh), start=1):
        decided = result.pairs - len(result.undecided)
        console.print(
            f"Round {number}: with {result.seeds:,} reporting seeds, {decided:,} of {result.pairs:,} "
            f"pairs {'is' if decided == 1 else 'are'} decided, at a level of {100 * result.level:.2g} %."
        )
    if result.undecided:
        named = "; ".join(result.undecided[:MOST_PAIRS_NAMED])
        more = len(result.undecided) - MOST_PAIRS_NAMED
        others = f"; and {more:,} more" if more > 0 else ""
        console.print(f"Undecided: {named}{others}. --most-seeds allows more seeds.", soft_wrap=True)
    return result.outcome


def _print_outcome(console: Console, outcome: Outcome, folder: Path) -> None:
    """Print the outcome of a sweep; exit with 1 if runs failed or are missing."""
    statuses = ", ".join(f"{count:,} {status}" for status, count in outcome.statuses.items())
    console.print(f"{outcome.ran:,} runs in {duration(outcome.seconds)}; in total {statuses}.")
    plots = hints.command("plots", results=folder.parent)
    console.print(f"Tables are in {folder}; next: {plots}", soft_wrap=True)
    if outcome.missing:
        text = f"{outcome.missing:,} runs are missing from {folder}; the same command runs them."
        console.print(text, soft_wrap=True)
        raise typer.Exit(1)
    if outcome.statuses.get("failed"):
        console.print(
            f"Some runs failed: see the reason column of {folder / 'runs.csv'}.", soft_wrap=True
        )
        raise typer.Exit(1)
