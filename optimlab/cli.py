"""The command line: `optimlab sweep`, `plots`, `list` and the other commands of `commands/`."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import optimlab
from optimlab.commands import common
from optimlab.commands.clean import clean, prune
from optimlab.commands.export import animate, bundle, export
from optimlab.commands.init import init
from optimlab.commands.merge import merge
from optimlab.commands.plots import plots
from optimlab.commands.show import check, list_all, show
from optimlab.commands.sweep import sweep
from optimlab.commands.verify import verify
from optimlab.errors import UserError


class Commands(TyperGroup):
    """The commands. With --json, a mistake in the options is printed as JSON as well."""

    is_json = False

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Read the options before the command's name."""
        self.is_json = "--json" in (args[: args.index("--")] if "--" in args else args)
        with self._mistakes():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Read the command's options, and run it."""
        with self._mistakes():
            return super().invoke(ctx)

    @contextmanager
    def _mistakes(self) -> Iterator[None]:
        """With --json, print the message of a mistake in the options as JSON."""
        try:
            yield
        except Exception as error:
            if self.is_json and hasattr(error, "format_message"):
                common.print_json({"error": error.format_message()})
            raise


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
    with common.user_errors():
        _settle_environment()


def _settle_environment() -> None:
    """Refuse or repair environment variables that would make a library fail later."""
    cores = os.environ.get("LOKY_MAX_CPU_COUNT", "1")
    if not cores.isdecimal() or int(cores) < 1:
        raise UserError(f"the variable LOKY_MAX_CPU_COUNT must be a number of cores, got {cores}")
    os.environ.pop("MPLBACKEND", None)  # no window is opened, and an unknown backend is an error
    os.environ["MATPLOTLIBRC"] = os.devnull  # a user's matplotlibrc may not be text
    # Without a usable /dev/shm joblib warns that it is serial, which optimlab's own workers are not.
    serial = "joblib._multiprocessing_helpers"
    warnings.filterwarnings("ignore", module=serial)
    sys.warnoptions.append(f"ignore:::{serial}")  # which workers take over
    try:
        Path.home()
    except RuntimeError:  # HOME is not set, and the user is unknown
        os.environ["HOME"] = "/nonexistent"


for command in (
    *(sweep, plots, init, check, show, verify),
    *(export, bundle, animate, merge, prune, clean),
):
    app.command()(command)
app.command("list")(list_all)
