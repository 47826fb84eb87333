"""`optimlab plots`."""

from __future__ import annotations

import sys
from contextlib import nullcontext, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optimlab.commands import common
from optimlab.errors import UserError
from optimlab.hints import PAGE, RESULTS
from optimlab.messages import warn

if TYPE_CHECKING:
    from rich.console import Console

BYTES_WORTH_A_WORKER = 1_000_000  # of traces: about `ROWS_WORTH_A_WORKER` of the page


def plots(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(
            help="The experiments on the page; all if left out.",
            autocompletion=common.complete_results,
        ),
    ] = None,
    quiet: common.Quiet = False,
    results: common.ResultsFolder = RESULTS,
) -> None:
    """Draw the figures that are out of date, and write report.html."""
    from optimlab.storage.drawn import Drawn

    console = common.console(quiet=quiet)
    with common.user_errors():
        names = common.result_names(experiments, results) if experiments else None
        drawn = Drawn(results, names)
        record = drawn.found(drawn.page)
        if record:
            for text in record.warnings:
                warn(text)
            page = results / PAGE
        else:
            page = _draw(console, results, names)
    console.print(f"Open {page}{' (nothing has changed)' if record else ''}", soft_wrap=True)


def _draw(console: Console, results: Path, names: list[str] | None) -> Path:
    """Draw the figures that have changed, and return the path of the page."""
    if sys.flags.optimize > 1:
        raise UserError("plots needs docstrings, for Altair: leave out -OO and PYTHONOPTIMIZE=2")
    from optimlab.pool import prepared_early
    from optimlab.progress import drawing_bar

    prepare = partial(import_module, "optimlab.report.page")
    early = prepared_early(prepare) if _will_have_workers(results, names) else nullcontext()
    with early, drawing_bar(console) as bar:
        from optimlab.report.page import write_report  # slow: the workers start meanwhile

        return write_report(results, names, follow=bar.track)


def _will_have_workers(results: Path, names: list[str] | None) -> bool:
    """Return whether workers will be worth their start, judged by the size of the traces."""
    from joblib import cpu_count

    size = 0
    with suppress(OSError):  # reading the tables will say
        folders = map(results.joinpath, names) if names else results.iterdir()
        tables = (folder / "traces.parquet" for folder in folders)
        size = sum(table.stat().st_size for table in tables if table.is_file())
    return size >= BYTES_WORTH_A_WORKER and cpu_count() > 1
