"""Shared by the commands: arguments, console output, and the handling of errors."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from optimlab.errors import STOP_SIGNALS, Interrupted, UserError, located, printable_lines
from optimlab.hints import RESULTS

if TYPE_CHECKING:
    from optimlab.experiment.spec import Experiment

JOBS_PER_CORE = 4
UNLIMITED = 10**6  # characters; no line is longer


def results_folder(text: str | Path) -> Path:
    """Refuse a path that cannot be the folder of all results."""
    from optimlab.files import results_at

    try:
        return results_at(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def not_empty(path: str) -> str:
    """Refuse an empty path, which is what a shell makes of a variable that is not set."""
    if not path:
        raise typer.BadParameter("the path is empty")
    return path


def _not_too_many(jobs: int | None) -> int | None:
    """Refuse more workers than the machine can start."""
    from joblib import cpu_count

    if jobs and jobs > JOBS_PER_CORE * cpu_count():
        most = f"must be at most {JOBS_PER_CORE * cpu_count()}, {JOBS_PER_CORE} per core of this machine"
        raise typer.BadParameter(f"{most}, got {jobs:,}")
    return jobs


def _known_experiments(incomplete: str) -> list[str]:
    """Return the experiments' names for completion in a shell."""
    from optimlab.experiment.spec import FOLDER, SHIPPED

    names = {file.stem for folder in (SHIPPED, FOLDER) for file in folder.glob("*.toml")}
    return sorted(name for name in names if name.startswith(incomplete))


def complete_results(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of folders of results for completion in a shell."""
    results = Path(ctx.params.get("results") or RESULTS)
    return [name for name in names_of_results(results) if name.startswith(incomplete)]


def names_of_results(results: Path) -> list[str]:
    """Return the names of the experiments whose results are in a folder."""
    return sorted(path.parent.name for path in results.glob("*/experiment.json"))


ExperimentName = Annotated[
    str,
    typer.Argument(
        help="A name in experiments/, or a path to a .toml file.", autocompletion=_known_experiments
    ),
]
ResultsFolder = Annotated[
    Path,
    typer.Option(
        "--results", metavar="FOLDER", parser=results_folder, help="The folder of all results."
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(min=1, callback=_not_too_many, help="Worker processes; one per core if left out."),
]

Yes = Annotated[bool, typer.Option("--yes", help="Delete without asking.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors and warnings.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object; text and progress go to stderr.")
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a key of the file, such as training.epochs=3; may be repeated. "
        "The results go to a separate folder.",
    ),
]


def console(*, markup: bool = False, quiet: bool = False, as_json: bool = False) -> Console:
    """Return the console for a command's text. Outside a terminal, lines are not cut or wrapped.

    Parameters
    ----------
    markup : whether to interpret rich's markup.
    quiet : whether to print nothing.
    as_json : whether to print text to stderr, since stdout is for JSON.
    """
    made = Console(highlight=False, markup=markup, emoji=False, quiet=quiet, stderr=as_json)
    if not made.is_terminal:
        made.width = UNLIMITED
    return made


def print_json(content: dict[str, Any]) -> None:
    """Print a JSON object on stdout, in ASCII for any encoding; NaN and infinity are null."""
    plain = json.loads(json.dumps(content, default=str), parse_constant=lambda name: None)
    typer.echo(json.dumps(plain, indent=2))


def load_experiment(name: str, changes: list[str] | None, results: Path) -> Experiment:
    """Return an experiment; see `optimlab.experiment.changes.load_changed`.

    Raises
    ------
    UserError
        When there is no such experiment, or it has mistakes.
    """
    from optimlab.experiment.changes import load_changed
    from optimlab.experiment.load import NoSuchExperimentError

    try:
        return load_changed(name, changes or [])
    except NoSuchExperimentError as error:
        folder = results / name
        if not (folder / "experiment.json").is_file():
            raise
        raise UserError(
            f"{error}. {folder} has results without such a file; if the experiment was built in "
            "Python, `experiment.file.write_text(experiment.toml)` writes the file"
        ) from None


def result_names(names: list[str], results: Path) -> list[str]:
    """Return the names of folders of results, without repetitions, from names or experiment files.

    Raises
    ------
    UserError
        When there are no such results.
    """
    from optimlab.experiment.names import normal

    folders = {normal(name): name for name in names_of_results(results)}
    found = [Path(name).stem if name.endswith(".toml") else name for name in names]
    found = [folders.get(normal(name), name) for name in found]
    for name in found:
        is_name = name not in ("", ".", "..") and Path(name).name == name
        if not is_name or not (results / name).is_dir():
            known = names_of_results(results)
            there = f"; there are: {', '.join(known)}" if known else ""
            raise UserError(f"{results} has no results of {name!r}{there}")
    return list(dict.fromkeys(found))


def has_terminal() -> bool:
    """Return whether the user can be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


def agreed(question: str, *, on_stderr: bool = False) -> bool:
    """Ask a yes/no question; any answer that does not begin with y, or no input, means no."""
    typer.echo(f"{question} [y/N] ", nl=False, err=on_stderr)
    return sys.stdin is not None and sys.stdin.readline().lower().startswith("y")


@contextmanager
def user_errors(*, as_json: bool = False) -> Iterator[None]:
    """Print user-facing errors without a traceback: exit 2 for a mistake, 1 for a failure.

    Ctrl-C exits with 130: stop signals that are not ignored raise `Interrupted` in the block.
    With `as_json`, the message is also printed on stdout, under the key "error".
    """
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    handled = [number for number in STOP_SIGNALS if before[number] is not signal.SIG_IGN]
    try:
        for number in handled:
            signal.signal(number, _interrupt)
        yield
    except UserError as error:
        _print_error(str(error), as_json=as_json)
        raise typer.Exit(2) from error
    except OSError as error:
        _print_error(located(error), as_json=as_json)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        _print_error("interrupted", as_json=as_json)
        raise typer.Exit(130) from None
    finally:
        for number in handled:
            signal.signal(number, before[number])


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted


def _print_error(text: str, *, as_json: bool) -> None:
    typer.echo(f"optimlab: {printable_lines(text)}", err=True)
    if as_json:
        print_json({"error": text})
