"""The command line: `optimlab sweep`, `plots`, `list` and the other commands of `commands/`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

import optimlab
from optimlab.commands import common
from optimlab.commands.begin import init
from optimlab.commands.export import animate, bundle, export
from optimlab.commands.look import check, list_all, show
from optimlab.commands.merge import merge
from optimlab.commands.plots import plots
from optimlab.commands.sweep import sweep
from optimlab.commands.tidy import clean, prune
from optimlab.commands.verify import verify
from optimlab.errors import UserError

app = typer.Typer(
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


for command in (
    *(sweep, plots, init, check, show, verify),
    *(export, bundle, animate, merge, prune, clean),
):
    app.command()(command)
app.command("list")(list_all)
