"""Cleaning a results folder: finds and deletes what optimlab wrote, and leaves everything else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich import filesize

from optimlab.errors import UserError
from optimlab.files import LOCK, EntryError, Folder, only_writer
from optimlab.hints import PAGE
from optimlab.storage.store import Store

PAGE_MARK = b'<meta name="generator" content="optimlab">'
START_OF_PAGE = 10_000  # bytes
BENCHMARKS = "bench"
BENCHMARKS_MARK = b"# Benchmarks"
BENCHMARK_FILES = ("benchmarks.md", "steps.csv", "steps.png", "steps.svg", "sweep.csv")


@dataclass(frozen=True)
class Deletion:
    """Something that can be deleted: its description, and the function that deletes it."""

    text: str
    delete: Callable[[], None]


def deletions(results: Path) -> list[Deletion]:
    """Return what optimlab wrote into a results folder: experiments, page, benchmarks.

    Raises
    ------
    UserError
        If the folder holds more than results: the root, the home folder or the current folder.
    """
    _refuse_root_like(results)
    root = Folder(results)
    stores = [Store(results / name) for name in root.names() if root.is_folder(name)]
    found = [Deletion(described(store), store.delete) for store in stores if store.is_marked()]
    if _begins_with(root, PAGE, PAGE_MARK):
        found.append(Deletion(str(results / PAGE), lambda: _delete_page(root)))
    bench = root.folder(BENCHMARKS)
    if root.is_folder(BENCHMARKS) and _begins_with(bench, "benchmarks.md", BENCHMARKS_MARK):
        found.append(Deletion(str(bench.path), lambda: _delete_benchmarks(bench)))
    return found


def delete(results: Path, found: list[Deletion]) -> None:
    """Delete what `deletions` found.

    Raises
    ------
    UserError
        If another process is writing there, or something in it is a link.
    """
    root = Folder(results)
    with only_writer(root):
        for each in found:
            each.delete()
        root.delete(LOCK)


def environments(path: Path | None) -> list[Deletion]:
    """Return the virtual environment at a path, if there is one."""
    if path is None or not Folder(path.parent).is_folder(path.name):
        return []
    if not Folder(path.parent).folder(path.name).exists("pyvenv.cfg"):
        return []
    return [Deletion(f"{path}: the virtual environment", lambda: Folder(path.parent).delete(path.name))]


def described(store: Store) -> str:
    """Return the description of an experiment's results, for a deletion."""
    runs = len(store.finished())
    files, size = store.size()
    return f"{store.folder}: {runs:,} finished runs, {files:,} files, {filesize.decimal(size)}"


def _refuse_root_like(results: Path) -> None:
    folder = results.resolve()
    inside = [Path.cwd()]
    with suppress(RuntimeError):  # there is no home folder
        inside.append(Path.home().resolve())
    if any(path.is_relative_to(folder) for path in inside):
        raise UserError(f"{results} holds more than results: name the results folder, --results FOLDER")


def _begins_with(folder: Folder, name: str, mark: bytes) -> bool:
    """Return whether a file has our mark near its start."""
    try:
        with folder.open(name) as file:
            return mark in file.read(START_OF_PAGE)
    except (EntryError, FileNotFoundError):
        return False


def _delete_page(results: Folder) -> None:
    """Delete the page, if it is still ours: the user may have taken time to confirm."""
    if _begins_with(results, PAGE, PAGE_MARK):
        results.delete(PAGE)


def _delete_benchmarks(folder: Folder) -> None:
    if not _begins_with(folder, "benchmarks.md", BENCHMARKS_MARK):
        return
    for name in folder.names():
        if name in BENCHMARK_FILES:
            folder.delete(name)
    folder.remove_if_empty()
