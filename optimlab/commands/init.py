"""`optimlab init`."""

from __future__ import annotations

from typing import Annotated

import typer

from optimlab import hints
from optimlab.commands import common


def init(name: Annotated[str, typer.Argument(help="The experiment's name.")] = "mine") -> None:
    """Start a project here: write a commented experiment and an example optimizer."""
    from optimlab.start import start_project

    console = common.console()
    with common.user_errors():
        for path in start_project(name):
            console.print(f"wrote {path}", soft_wrap=True)
    console.print(f"Next: {hints.optimlab('sweep', name.removesuffix('.toml'))}", soft_wrap=True)
