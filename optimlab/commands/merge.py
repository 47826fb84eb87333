"""`optimlab merge`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from optimlab import hints
from optimlab.commands import common


def merge(
    sources: Annotated[
        list[Path], typer.Argument(help="Folders of results, such as those of the shards of a sweep.")
    ],
    into: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", parser=common.results_folder, help="The folder of results to merge into."
        ),
    ],
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Merge results that were computed separately; exit with 1 if runs are missing."""
    from optimlab.storage.merge import merge as run_merge

    console = common.console(quiet=quiet, as_json=as_json)
    with common.user_errors(as_json=as_json):
        merged = run_merge(sources, into)
    if as_json:
        common.print_json({"folder": str(into), "experiments": [asdict(each) for each in merged]})
    for each in merged:
        console.print(
            f"{each.experiment}: {each.finished:,} of {each.expected:,} runs are in {each.folder}",
            soft_wrap=True,
        )
    if any(each.damaged or each.finished < each.expected for each in merged):
        sweep = hints.optimlab("sweep", "NAME", into)
        console.print(f"{sweep} runs the missing ones.", soft_wrap=True)
        raise typer.Exit(1)
    console.print(f"Next: {hints.command('plots', results=into)}", soft_wrap=True)
