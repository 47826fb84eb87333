"""`optimlab export`, `bundle` and `animate`: results for a paper, an archive or slides."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optimlab.commands import common
from optimlab.errors import UserError
from optimlab.hints import RESULTS

if TYPE_CHECKING:
    from rich.console import Console

Name = Annotated[
    str,
    typer.Argument(help="An experiment that has results.", autocompletion=common.complete_results),
]
Into = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        parser=common.not_empty,
        help="Where to write; results/NAME/export if left out.",
    ),
]


def export(
    name: Name = "digits",
    table: Annotated[
        str | None, typer.Option(metavar="FORMATS", help="The ranked table as latex, markdown or csv.")
    ] = None,
    figures: Annotated[
        str | None, typer.Option(metavar="FORMATS", help="The figures as pdf, svg or png.")
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Which figures: traces, accuracy, learning-rates, rates, targets, profiles, budget, "
            "wins, pairs, time, paths, or a figure's name; all if left out.",
        ),
    ] = None,
    width: Annotated[
        str, typer.Option(metavar="LENGTH", help="Width of the figures, such as 3.3in, 84mm or 240pt.")
    ] = "3.3in",
    font_size: Annotated[
        float, typer.Option(min=3, max=40, help="Font size in figures, in points.")
    ] = 8,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Number of seeds to draw as faint lines; all if left out.")
    ] = None,
    into: Into = None,
    quiet: common.Quiet = False,
    results: common.ResultsFolder = RESULTS,
) -> None:
    """Write the ranked table and the figures for a paper: as LaTeX and PDF by default."""
    from optimlab.report import paper
    from optimlab.report.report import report_of
    from optimlab.storage.results import read_tables

    console = common.console(quiet=quiet)
    with common.user_errors():
        names = _words(only or "")
        if only is not None and not names:
            raise UserError(f"--only must name figures, got {only!r}")
        if table is None and figures is None:
            table, figures = None if names else "latex", "pdf"
        elif figures is None and names:
            figures = "pdf"
        of_table = _chosen("--table", table, list(paper.TABLES))
        of_figures = _chosen("--figures", figures, list(paper.FORMATS))
        try:
            inches = paper.read_length(width)
        except ValueError as error:
            raise UserError(f"--width {error}") from None
        (name,) = common.result_names([name], results)
        report = report_of(read_tables(results / name))
        files: dict[str, bytes] = {}
        for each in of_table:
            file, written_as = paper.TABLES[each]
            files[file] = written_as(paper.paper_table(report)).encode()
        if of_figures:
            for figure, (title, drawing) in paper.paper_figures(report, seeds, names).items():
                files |= paper.printed(figure, title, drawing, of_figures, inches, font_size)
        _write(console, files, results / name, into)


def bundle(
    name: Name = "digits",
    into: Annotated[
        str,
        typer.Option(metavar="FOLDER", parser=common.not_empty, help="Where to write NAME.zip."),
    ] = ".",
    quiet: common.Quiet = False,
    results: common.ResultsFolder = RESULTS,
) -> None:
    """Write a zip of an experiment: its page, tables, figures, TOML file, code and library versions."""
    from optimlab.report.bundle import bundle as make_bundle
    from optimlab.report.bundle import code_and_data
    from optimlab.report.page import page_alone
    from optimlab.storage.results import read_tables

    console = common.console(quiet=quiet)
    with common.user_errors():
        (name,) = common.result_names([name], results)
        tables = read_tables(results / name)
        named = code_and_data(tables)
        content = make_bundle(tables, named, *page_alone(tables))
        _write(console, {f"{name}.zip": content}, results / name, into)


def animate(
    name: Annotated[
        str,
        typer.Argument(
            help="An experiment that has results with paths.", autocompletion=common.complete_results
        ),
    ] = "landscapes",
    problem: Annotated[str | None, typer.Argument(help="Its problem; the first if left out.")] = None,
    into: Into = None,
    quiet: common.Quiet = False,
    results: common.ResultsFolder = RESULTS,
) -> None:
    """Write the paths of the optimizers as an animated GIF, and as MP4 where ffmpeg is installed."""
    from optimlab.report.animations import moving_paths
    from optimlab.report.figures.animation import gif, mp4
    from optimlab.report.report import report_of
    from optimlab.storage.results import read_tables

    console = common.console(quiet=quiet)
    with common.user_errors():
        (name,) = common.result_names([name], results)
        shown, images = moving_paths(report_of(read_tables(results / name)), problem)
        files = {f"{shown}.gif": gif(images)}
        video = mp4(images)
        if video is not None:
            files[f"{shown}.mp4"] = video
        _write(console, files, results / name, into)


def _chosen(option: str, text: str | None, known: list[str]) -> list[str]:
    """Return the formats in the comma-separated value of an option; none if it is left out."""
    if text is None:
        return []
    formats = _words(text)
    for each in formats or [text]:
        if each not in known:
            raise UserError(f"{option} must be among {', '.join(known)}, got {each!r}")
    return list(dict.fromkeys(formats))


def _words(text: str) -> list[str]:
    """Return the entries of a comma-separated list."""
    return [each.strip() for each in text.split(",") if each.strip()]


def _write(console: Console, files: dict[str, bytes], folder: Path, into: str | None) -> None:
    """Write files atomically, and print their paths."""
    from optimlab.files import Folder, experiment_folder

    target = experiment_folder(folder).folder("export") if into is None else Folder(Path(into))
    for name, content in files.items():
        try:
            target.create()
            target.write(name, content)
        except OSError as error:
            instead = f"{error.strerror}; name another folder with --into"
            raise OSError(error.errno, instead, error.filename) from error
        console.print(f"wrote {target.path / name}", soft_wrap=True)
