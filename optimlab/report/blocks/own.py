"""Blocks of the page that an experiment's file names: functions of the user's own."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path
from typing import Any

from optimlab.errors import Interrupted
from optimlab.experiment.registry import load_object
from optimlab.messages import warn
from optimlab.report.block import Block
from optimlab.storage.results import Tables


def own_blocks(tables: Tables) -> list[Block]:
    """Return the blocks that an experiment's own functions make of its tables.

    A block that cannot be made is left out with a message. Code among the results is never run: they
    may be anyone's.
    """
    blocks = []
    for name in tables.experiment.get("report") or []:
        try:
            with chdir("."):  # which the function may change
                block = _make(name, tables)
        except Interrupted:
            raise
        except BaseException as error:  # the function may raise anything
            text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            warn(f"{tables.folder.name}: the page is without {name}: {text}")
        else:
            blocks += [block] if block else []
    return blocks


def _make(name: str, tables: Tables) -> Block | None:
    folder = _folder_of_code(tables)
    block: Any = load_object(name, folder)(tables.runs, tables.traces, tables.experiment)
    if block is not None and not isinstance(block, Block):
        raise ValueError(f"it must give a Block or None, and gives a {type(block).__name__}")
    return block


def _folder_of_code(tables: Tables) -> Path:
    """Return the folder of the experiment's file."""
    file = tables.folder / str(tables.experiment.get("file") or "")
    if not file.is_file():
        raise ValueError("the experiment's file is not where it was")
    results = tables.folder.resolve().parent
    if file.resolve().is_relative_to(results):
        raise ValueError(f"the experiment's file is in {results}: code among results is not run")
    return file.resolve().parent
