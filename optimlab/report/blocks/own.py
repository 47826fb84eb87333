"""User-defined blocks of the page: functions that an experiment file names."""

from __future__ import annotations

from contextlib import chdir, nullcontext
from pathlib import Path
from typing import Any

from optimlab.experiment.registry import load_object
from optimlab.messages import warn
from optimlab.notebook import FOLDER
from optimlab.pool import Clock, Pool, Tell
from optimlab.report.block import Block
from optimlab.report.figures.static import StaticFigure
from optimlab.storage.results import Tables

SECONDS_TO_MAKE = 120.0  # for one block


def block_pool() -> Pool:
    """Return the pool for `own_blocks`: its worker starts when there is a block to make."""
    return Pool(make_in_worker, 1)


def own_blocks(
    tables: Tables, pool: Pool | None = None, seconds: float = SECONDS_TO_MAKE
) -> list[Block]:
    """Return the blocks that an experiment's functions make from its tables.

    Each is made in a worker, since its function may crash its process or never end; one that cannot be
    made is left out with a message. Code among the results, which may be a stranger's, is never run.

    Parameters
    ----------
    tables : the experiment's tables.
    pool : a `block_pool` that several experiments share; None to start one that is closed at the end.
    seconds : the time limit for a block.
    """
    names = tables.experiment.get("report") or []
    made: dict[str, tuple[Block | None, str]] = {}
    try:
        folder = _folder_of_code(tables) if names else Path()
    except ValueError as error:
        made = {name: (None, str(error)) for name in names}
    todo = iter([(name, folder, tables, seconds, Path.cwd()) for name in names if name not in made])
    with block_pool() if pool is None else nullcontext(pool) as workers:
        for event in workers.run(lambda: next(todo, None)):
            lost = {
                "died": (None, "it ends or crashes its process"),
                "overdue": (None, f"it takes longer than {seconds:g} s; perhaps it never ends"),
            }
            made[event.task[0]] = lost.get(event.kind, event.value)
    for name in names:
        if wrong := made[name][1]:
            warn(f"{tables.folder.name}: the page is without {name}: {wrong}")
    return [block for block, _ in (made[name] for name in names) if block]


def make_in_worker(task: tuple[str, Path, Tables, float, Path], tell: Tell) -> tuple[Block | None, str]:
    """Return a block, or None, and why it cannot be made, "" if it can."""
    name, folder, tables, seconds, working_folder = task
    tell(Clock(seconds))
    try:
        with chdir(working_folder):  # the function may change it
            return _plain(load_object(name, folder)(tables.runs, tables.traces, tables.experiment)), ""
    except BaseException as error:  # the function may raise anything
        return None, str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _plain(block: Any) -> Block | None:
    """Return a block that the page can show, without objects of user-defined classes.

    Raises
    ------
    ValueError
        When it is none.
    """
    if block is None:
        return None
    if not isinstance(block, Block):
        raise ValueError(f"it must give a Block or None, and gives a {type(block).__name__}")
    for name in ("paragraphs", "columns", "rows", "figures"):
        if isinstance(getattr(block, name), str):
            raise ValueError(f"{name} of its Block must be a list, and is a text")
    rows = [[str(cell) for cell in row] for row in block.rows]
    for row in rows:
        if len(row) != len(block.columns):
            text = f"{len(block.columns)} columns, and a row of {len(row)} cells"
            raise ValueError(f"the table of its Block has {text}")
    for figure in block.figures:
        if type(figure) is not StaticFigure:
            raise ValueError("each of its figures must be made by static_figure")
    return Block(
        heading=str(block.heading),
        paragraphs=[str(text) for text in block.paragraphs],
        caption=str(block.caption),
        columns=[str(name) for name in block.columns],
        rows=rows,
        figures=list(block.figures),
    )


def _folder_of_code(tables: Tables) -> Path:
    """Return the folder of the experiment file.

    Raises
    ------
    ValueError
        When it is not there, or among the results.
    """
    file = tables.folder / str(tables.experiment.get("file") or "")
    if not file.is_file() and not (file.parent / FOLDER).is_dir():  # an experiment of Python has no file
        raise ValueError("the experiment file no longer exists")
    results = tables.folder.resolve().parent
    if file.resolve().is_relative_to(results):
        raise ValueError(f"the experiment file is in {results}: code among results is not run")
    return file.resolve().parent
