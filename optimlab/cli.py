"""The command line: `optimlab sweep`, `plots`, `list`, `show`, `verify`, `prune` and `clean`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich import filesize
from rich.console import Console

import optimlab
from optimlab import hints
from optimlab.errors import STOP_SIGNALS, Interrupted, UserError, printable_lines
from optimlab.formatting import duration
from optimlab.hints import RESULTS

if TYPE_CHECKING:
    from optimlab.execution.plan import Plan
    from optimlab.execution.sweep import Outcome
    from optimlab.execution.workers import Workers
    from optimlab.experiment.spec import Experiment

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ExperimentName = Annotated[
    str, typer.Argument(help="A name in experiments/, or a path to a .toml file.")
]
JOBS_A_CORE = 4
MOST_PAIRS_NAMED = 10
WITHOUT_END = 10**6  # letters, more than any line has


def _results_folder(text: str | Path) -> Path:
    """Refuse a path that is empty, that Parquet's files cannot have, or that is a file."""
    path = Path(text)
    if not str(text):
        raise typer.BadParameter("the path is empty")
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise typer.BadParameter("the path is not UTF-8") from error
    with suppress(OSError):  # whoever writes there will say what is wrong
        if path.exists() and not path.is_dir():
            raise typer.BadParameter(f"'{path}' is a file")
    return path


def _not_too_many(jobs: int | None) -> int | None:
    """Refuse more workers than the machine could start."""
    from joblib import cpu_count

    if jobs and jobs > JOBS_A_CORE * cpu_count():
        most = f"must be at most {JOBS_A_CORE * cpu_count()}, {JOBS_A_CORE} for each core here"
        raise typer.BadParameter(f"{most}, got {jobs:,}")
    return jobs


def _console(*, markup: bool = False) -> Console:
    """Return where a command prints. What is no terminal has no width: nothing is cut or wrapped."""
    console = Console(highlight=False, markup=markup, emoji=False)
    if not console.is_terminal:
        console.width = WITHOUT_END
    return console


ResultsFolder = Annotated[
    Path,
    typer.Option(
        "--results", metavar="FOLDER", parser=_results_folder, help="The folder of all results."
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(min=1, callback=_not_too_many, help="Worker processes; one per core if left out."),
]

Yes = Annotated[bool, typer.Option("--yes", help="Delete without asking.")]

# Heavy imports stand in the commands, so that --help answers at once.


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"optimlab {optimlab.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Compare optimizers by experiment: sweep, then plots, then open results/report.html."""
    with user_errors():
        _settle_environment()


def _settle_environment() -> None:
    """Refuse or mend variables that would end a library in the middle of something."""
    cores = os.environ.get("LOKY_MAX_CPU_COUNT", "1")
    if not cores.isdecimal() or int(cores) < 1:
        raise UserError(f"the variable LOKY_MAX_CPU_COUNT must be a number of cores, got {cores}")
    os.environ.pop("MPLBACKEND", None)  # no window is opened, and an unknown one ends matplotlib
    os.environ["MATPLOTLIBRC"] = os.devnull  # nor is a user's taste read, which may be no text
    try:
        Path.home()
    except RuntimeError:  # there is no HOME, and no user that it could be known from
        os.environ["HOME"] = "/nonexistent"


@app.command()
def sweep(
    experiment: ExperimentName = "digits",
    jobs: Jobs = None,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Delete the experiment's results first; on a terminal, ask."),
    ] = False,
    yes: Yes = False,
    backend: Annotated[
        Literal["local", "joblib", "dask"],
        typer.Option(help="Whose the workers are: optimlab's, joblib's (loky), or a Dask cluster's."),
    ] = "local",
    scheduler: Annotated[
        str | None, typer.Option(help="The Dask scheduler's address, such as tcp://10.0.0.1:8786.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what it would do, how long, and how much disk.")
    ] = False,
    time_limit: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Seconds that a run may take; one that takes longer is failed. None: no limit.",
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
            help="With --until: the most reporting seeds; 8 times those of the file if left out.",
        ),
    ] = None,
    results: ResultsFolder = RESULTS,
) -> None:
    """Run what is missing of an experiment, and save its tables."""
    from optimlab.execution.plan import plan
    from optimlab.execution.sweep import sweep as run_sweep
    from optimlab.experiment.load import find, load
    from optimlab.progress import Progress

    console = _console()
    with user_errors():
        if until is None and most_seeds is not None:
            raise UserError("--most-seeds goes with --until decided")
        if until and dry_run:
            raise UserError("--until decided has no --dry-run: how many rounds it takes is not known")
        checked = load(find(experiment))
        folder = results / checked.name
        other_workers = _other_workers(backend, scheduler, jobs, time_limit)
        if not dry_run:
            _check_writable(folder)
            if fresh:
                _announce_deletion(console, folder, ask=not yes and _has_terminal())
        console.print(checked.title, style="bold", markup=False)
        try:
            with other_workers as workers:
                if dry_run:
                    _tell_plan(console, plan(checked, results, jobs, fresh=fresh))
                    return

                def run(experiment: Experiment, *, fresh: bool) -> Outcome:
                    return run_sweep(
                        experiment,
                        results,
                        jobs,
                        Progress(console),
                        fresh=fresh,
                        time_limit=time_limit,
                        workers=workers,
                    )

                if until:
                    outcome = _in_rounds(console, checked, results, most_seeds, run, fresh=fresh)
                else:
                    outcome = run(checked, fresh=fresh)
        except KeyboardInterrupt:
            text = f"Interrupted. What had finished is in {folder}; the same command goes on."
            console.print(text, soft_wrap=True)
            raise typer.Exit(130) from None
    _tell(console, outcome, folder)


@app.command()
def plots(results: ResultsFolder = RESULTS) -> None:
    """Draw all figures, and write report.html, from the tables of every experiment."""
    if sys.flags.optimize > 1:
        with user_errors():
            raise UserError("plots needs docstrings, for Altair: leave out -OO and PYTHONOPTIMIZE=2")
    from optimlab.progress import drawing_bar
    from optimlab.report.page import write_report

    console = _console()
    with user_errors(), drawing_bar(console) as bar:
        page = write_report(results, follow=bar.track)
    console.print(f"Open {page}", soft_wrap=True)


@app.command()
def init(name: Annotated[str, typer.Argument(help="The experiment's name.")] = "mine") -> None:
    """Begin a project here: write a commented experiment, and an optimizer of your own."""
    from optimlab.start import start_project

    console = _console()
    with user_errors():
        for path in start_project(name):
            console.print(f"wrote {path}", soft_wrap=True)
    console.print(f"Next: {hints.optimlab('sweep', name)}", soft_wrap=True)


@app.command("list")
def list_all() -> None:
    """Show the experiments, the optimizers with defaults and legal ranges, and the problems."""
    from optimlab.listing import print_listing

    with user_errors():
        print_listing(_console(markup=True))


@app.command()
def show(experiment: ExperimentName = "digits", results: ResultsFolder = RESULTS) -> None:
    """Show what an experiment would run, its network, and how much of it has finished."""
    from optimlab.listing import print_experiment

    with user_errors():
        print_experiment(_console(markup=True), experiment, results)


def _check_writable(folder: Path) -> None:
    """Refuse a folder that results cannot be written to, before anything runs."""
    from optimlab.files import experiment_folder

    try:
        experiment_folder(folder).create()
    except OSError as error:
        raise UserError(f"{folder}: the results cannot be there: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder}: the results cannot be there: it may not be written to")


def _announce_deletion(console: Console, folder: Path, *, ask: bool) -> None:
    """Print what --fresh deletes; where it is asked for and refused, end with 1."""
    from optimlab.storage.clean import described
    from optimlab.storage.store import Store

    store = Store(folder)
    if not store.is_marked():
        return
    console.print(f"Deletes {described(store)}", soft_wrap=True)
    if ask and not _agreed("Go on?"):
        console.print("Nothing was deleted.")
        raise typer.Exit(1)


def _has_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _agreed(question: str) -> bool:
    """Ask; whatever does not begin with y is a no, and so is the end of the input."""
    typer.echo(f"{question} [y/N] ", nl=False)
    return sys.stdin is not None and sys.stdin.readline().lower().startswith("y")


@app.command()
def verify(
    experiment: ExperimentName = "digits",
    runs: Annotated[int, typer.Option(min=1, help="How many runs to train again.")] = 20,
    seed: Annotated[
        int | None,
        typer.Option(help="Which runs: as printed by an earlier call; other ones if left out."),
    ] = None,
    jobs: Jobs = None,
    results: ResultsFolder = RESULTS,
) -> None:
    """Train some of the stored runs and make the tables again; exit 1 where a bit differs."""
    from optimlab.execution.verify import verify as run_verify
    from optimlab.experiment.load import find, load

    console = _console()
    with user_errors():
        verdict = run_verify(load(find(experiment)), results, runs, seed, jobs)
    count = f"{verdict.runs:,} of {verdict.stored:,} runs trained again (--seed {verdict.seed})"
    if verdict.differences:
        console.print(f"{count}: {len(verdict.differences):,} came out differently.")
        for line in verdict.differences:
            console.print(f"  {printable_lines(line)}")
        for name, (then, now) in sorted(verdict.changes.items()):
            text = f"  {name} was {then} when they were computed and is {now}"
            console.print(printable_lines(text))
    else:
        console.print(f"{count}: every bit is the same.")
    if verdict.tables:
        console.print("The page would not show what the runs and the experiment's file give:")
        for line in verdict.tables:
            console.print(f"  {printable_lines(line)}")
    if verdict.differences or verdict.tables:
        raise typer.Exit(1)


@app.command()
def prune(experiment: ExperimentName = "digits", results: ResultsFolder = RESULTS) -> None:
    """Delete the finished runs that an experiment, as it is now, does not use.

    They are of earlier versions of its file or of the code, or were damaged.
    """
    from optimlab.experiment.load import find, load
    from optimlab.storage.store import Store

    with user_errors():
        checked = load(find(experiment))
        store, gone = Store(results / checked.name), []
        store.refuse_other(checked)
        if store.parts.is_dir():
            with store.held():
                gone = store.prune(store.with_rounds(checked))
    typer.echo(f"Deleted {len(gone):,} files from {store.parts}.")


@app.command()
def clean(
    yes: Yes = False,
    environment: Annotated[
        Path | None, typer.Option(hidden=True, help="A virtual environment to delete, too.")
    ] = None,
    results: ResultsFolder = RESULTS,
) -> None:
    """Delete the results of all experiments, the page and the benchmarks, after asking.

    Folders and files that optimlab did not write stay.
    """
    from optimlab.storage.clean import delete, deletions, environments

    with user_errors():
        found = deletions(results)
        environs = environments(environment)
        for each in found + environs:
            typer.echo(each.text)
        if not found + environs:
            typer.echo(f"There is nothing to delete in {results}.")
        elif yes or _agreed("Delete all of this?"):
            if found:
                delete(results, found)
            for each in environs:
                each.delete()
            typer.echo("Deleted.")
        else:
            typer.echo("Nothing was deleted.")


def _other_workers(
    backend: str, scheduler: str | None, jobs: int | None, time_limit: float | None
) -> AbstractContextManager[Workers | None]:
    """Return a block that has joblib's or a cluster's workers, if the options ask for them."""
    if (backend == "dask") != (scheduler is not None):
        raise UserError("--backend dask and --scheduler ADDRESS belong together")
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


def _tell_plan(console: Console, todo: Plan) -> None:
    """Print what a sweep would do."""
    if not todo.missing:
        console.print(f"Nothing to do: all {todo.kept:,} runs are finished.")
        return
    kept = f", {todo.kept:,} finished before" if todo.kept else ""
    console.print(f"{todo.missing:,} runs to do{kept}, in {todo.stacks:,} stacks")
    workers = f"{todo.jobs:,} worker{'s' if todo.jobs > 1 else ''}"
    console.print(f"about {duration(todo.seconds)} on {workers}, by a short piece timed just now")
    console.print(f"at most {filesize.decimal(todo.bytes)} of disk")


def _in_rounds(
    console: Console,
    experiment: Experiment,
    results: Path,
    most: int | None,
    run: Callable[..., Outcome],
    *,
    fresh: bool,
) -> Outcome:
    """Sweep until every pair is decided; print what each round comes to."""
    from optimlab.execution.rounds import rounds

    for number, each in enumerate(rounds(experiment, results, most, run, fresh=fresh), start=1):
        decided = each.pairs - len(each.undecided)
        console.print(
            f"Round {number}: with {each.seeds:,} reporting seeds, {decided:,} of {each.pairs:,} pairs "
            f"are decided, at a level of {100 * each.level:.2g} %."
        )
    if each.undecided:
        named = "; ".join(each.undecided[:MOST_PAIRS_NAMED])
        more = len(each.undecided) - MOST_PAIRS_NAMED
        others = f"; and {more:,} more" if more > 0 else ""
        console.print(f"Undecided: {named}{others}. --most-seeds allows more seeds.", soft_wrap=True)
    return each.outcome


def _tell(console: Console, outcome: Outcome, folder: Path) -> None:
    """Print how a sweep ended; exit 1 where runs failed or are missing."""
    statuses = ", ".join(f"{count:,} {status}" for status, count in outcome.statuses.items())
    console.print(f"{outcome.ran:,} runs in {duration(outcome.seconds)}; all in all {statuses}.")
    plots = hints.command("plots", results=folder.parent)
    console.print(f"Tables are in {folder}; next: {plots}", soft_wrap=True)
    if outcome.missing:
        text = f"{outcome.missing:,} runs are missing from {folder}; the same command runs them."
        console.print(text, soft_wrap=True)
        raise typer.Exit(1)
    if outcome.statuses.get("failed"):
        console.print(
            f"Some runs failed: see the column reason in {folder / 'runs.csv'}.", soft_wrap=True
        )
        raise typer.Exit(1)


@contextmanager
def user_errors() -> Iterator[None]:
    """Print what the user can put right, without a traceback: exit 2 for a mistake, else 1.

    Ctrl-C gives 130: while the block runs, signals to stop raise `Interrupted`, if none ignores them.
    """
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    heard = [number for number in STOP_SIGNALS if before[number] is not signal.SIG_IGN]
    try:
        for number in heard:
            signal.signal(number, _interrupt)
        yield
    except UserError as error:
        typer.echo(f"optimlab: {printable_lines(str(error))}", err=True)
        raise typer.Exit(2) from error
    except OSError as error:
        text = f"{error.filename or 'a file'}: {error.strerror or error}"
        typer.echo(f"optimlab: {printable_lines(text)}", err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        typer.echo("optimlab: interrupted", err=True)
        raise typer.Exit(130) from None
    finally:
        for number in heard:
            signal.signal(number, before[number])


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted
