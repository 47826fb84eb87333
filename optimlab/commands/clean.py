"""`optimlab prune` and `optimlab clean`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimlab.commands import common
from optimlab.hints import RESULTS


def prune(
    experiment: common.ExperimentName = "digits",
    changes: common.Changes = None,
    results: common.ResultsFolder = RESULTS,
) -> None:
    """Delete the finished runs that an experiment, as it is now, does not use.

    They belong to earlier versions of its file or of the code, or are damaged.
    """
    from optimlab.execution.checkpoint import Checkpoints
    from optimlab.storage.store import Store

    with common.user_errors():
        checked = common.load_experiment(experiment, changes, results)
        store, gone, checkpoints = Store(results / checked.name), [], 0
        store.refuse_other(checked)
        if store.parts.is_dir():
            with store.held():
                whole = store.with_rounds(checked)
                gone = store.prune(whole)
                runs = {run.run_id for run in whole.runs()}
                checkpoints = Checkpoints(store.folder).delete(lambda run_id: run_id not in runs)
    typer.echo(f"Deleted {len(gone):,} files from {store.parts}.")
    if checkpoints:
        typer.echo(f"Deleted {checkpoints:,} checkpoints.")


def clean(
    yes: common.Yes = False,
    environment: Annotated[
        Path | None, typer.Option(hidden=True, help="A virtual environment to delete as well.")
    ] = None,
    results: common.ResultsFolder = RESULTS,
) -> None:
    """Delete the results of all experiments, the page and the benchmarks, after asking.

    Folders and files that optimlab did not write are kept.
    """
    from optimlab.storage.clean import delete, deletions, environments

    with common.user_errors():
        found = deletions(results)
        environs = environments(environment)
        for each in found + environs:
            typer.echo(each.text)
        if not found + environs:
            typer.echo(f"There is nothing to delete in {results}.")
        elif yes or common.agreed("Delete all of this?"):
            if found:
                delete(results, found)
            for each in environs:
                each.delete()
            typer.echo("Deleted.")
        else:
            typer.echo("Nothing was deleted.")
