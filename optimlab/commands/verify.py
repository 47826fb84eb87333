"""`optimlab verify`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from optimlab.commands import common
from optimlab.errors import printable_lines
from optimlab.hints import RESULTS


def verify(
    experiment: common.ExperimentName = "digits",
    changes: common.Changes = None,
    runs: Annotated[int, typer.Option(min=1, help="Number of runs to train again.")] = 20,
    seed: Annotated[
        int | None,
        typer.Option(help="Selects the runs, as printed by an earlier call; random if left out."),
    ] = None,
    jobs: common.Jobs = None,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
    results: common.ResultsFolder = RESULTS,
) -> None:
    """Train some of the stored runs again, and rebuild the tables; exit with 1 if any bit differs."""
    from optimlab.execution.verify import verify as run_verify

    console = common.console(quiet=quiet, as_json=as_json)
    with common.user_errors(as_json=as_json):
        checked = common.load_experiment(experiment, changes, results)
        verdict = run_verify(checked, results, runs, seed, jobs)
    is_same = not verdict.differences and not verdict.tables
    if as_json:
        changed = {name: {"then": then, "now": now} for name, (then, now) in verdict.changes.items()}
        common.print_json(
            {"experiment": checked.name, "same": is_same} | asdict(verdict) | {"changes": changed}
        )
    count = f"{verdict.runs:,} of {verdict.stored:,} runs trained again (--seed {verdict.seed})"
    if verdict.differences:
        console.print(f"{count}: {len(verdict.differences):,} differ.")
        for line in verdict.differences:
            console.print(f"  {printable_lines(line)}")
        for name, (then, now) in sorted(verdict.changes.items()):
            text = f"  {name} was {then} when the runs were computed and is {now}"
            console.print(printable_lines(text))
    else:
        console.print(f"{count}: every bit is the same.")
    if verdict.tables:
        console.print("The page would not show what the runs and the experiment file give:")
        for line in verdict.tables:
            console.print(f"  {printable_lines(line)}")
    if not is_same:
        raise typer.Exit(1)
