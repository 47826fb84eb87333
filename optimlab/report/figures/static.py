"""Static figures as files: PNG and SVG, some of them pictures in the page."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from optimlab import statistics
from optimlab.report.figures import plots
from optimlab.report.style import SeriesStyle

NARROW = 5.0  # inches: narrower figures have their panels in a column
FONT_SIZE = 9.0  # points, of a figure's labels as they are drawn
Files = dict[str, bytes]  # name with ending → content


@dataclass(frozen=True)
class Drawing:
    """A static figure still to be drawn: ``draw(*tables, **options)`` returns it."""

    name: str
    draw: Callable[..., Figure]
    tables: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)

    def figure(self, **options: Any) -> Figure:
        """Draw the figure, with `options` in place of its own."""
        return self.draw(*self.tables, **self.options | options)

    def sized(self, width: float, font_size: float = FONT_SIZE, title: str = "") -> Figure:
        """Draw the figure `width` inches wide, with letters of `font_size` points."""
        figure = self.figure(narrow=width < NARROW)
        return plots.resized(figure, width, font_size / FONT_SIZE, title)

    def files(self) -> Files:
        """Return the figure as PNG and SVG."""
        figure = self.figure()
        return _files(self.name, plots.pixels(figure), figure)


Drawings = dict[str, Drawing]  # by name


@dataclass(frozen=True)
class Picture:
    """An image of the page: its URL, which may hold its data, and its size in pixels."""

    url: str
    width: int
    height: int


@dataclass(frozen=True)
class StaticFigure:
    """A figure that the page shows as a picture.

    Attributes
    ----------
    name : the name of its files, without suffix.
    caption, alt : what the figure shows; a description for readers who cannot see it.
    files : its files.
    wide, narrow : the pictures for a screen and for a phone.
    """

    name: str
    caption: str
    alt: str
    files: Files
    wide: Picture
    narrow: Picture


def static_figures(
    runs: pd.DataFrame,
    traces: pd.DataFrame,
    summary: pd.DataFrame,
    styles: dict[str, SeriesStyle],
    unit: str,
) -> Drawings:
    """Return all static figures that the tables of an experiment have the numbers for.

    Parameters
    ----------
    runs, traces : its tables.
    summary : of `optimlab.statistics.compare_optimizers`.
    styles : optimizer → how it is drawn.
    unit : of the loss, "" if it has none.
    """
    reported, rests_on = statistics.reported_runs(runs), statistics.basis(runs)
    drawings: Drawings = {}
    traces_shown = traces[traces["run_id"].isin(reported["run_id"])]
    if bands := _loss_bands(reported, traces_shown):
        drawings |= drawing("traces", plots.traces_figure, bands, traces_shown, styles, unit=unit)
    if rests_on.accuracy is not None:
        drawings |= drawing("accuracy", plots.accuracy_figure, reported, summary, styles)
    if "hyperparameters" in summary or not _several_rates(runs):  # charts show more than rates
        return drawings
    chosen = dict(zip(summary["optimizer"], summary["learning_rate"], strict=True))
    tables = statistics.final_bands(runs), chosen, styles
    options: dict[str, Any] = {"loss": rests_on.loss, "unit": unit}
    drawings |= drawing("learning-rates", plots.sensitivity_figure, *tables, **options)
    for number, (label, style) in enumerate(styles.items(), start=1):
        its_runs, its_traces = (table[table["optimizer"] == label] for table in (runs, traces))
        bands = _loss_bands(its_runs, its_traces)
        if bands and _several_rates(its_runs):
            name = f"rates-{number}-{slug(label, 'optimizer')}"
            options = {"chosen": chosen.get(label), "unit": unit}
            drawings |= drawing(name, plots.rates_figure, bands, its_traces, style, **options)
    return drawings


def drawing(name: str, draw: Callable[..., Figure], *tables: Any, **options: Any) -> Drawings:
    """Return name → the drawing by ``draw(*tables, **options)``."""
    return {name: Drawing(name, draw, tables, options)}


def _files(name: str, pixels: Image.Image, figure: Figure) -> Files:
    return {f"{name}.png": plots.png(pixels), f"{name}.svg": plots.svg(figure)}


def static_figure(
    name: str, caption: str, alt: str, draw: Callable[..., Figure], *tables: Any, **options: Any
) -> StaticFigure:
    """Return the figure drawn by ``draw(*tables, **options)``, wide and narrow, with its texts."""
    wide = draw(*tables, **options)
    drawn, narrow = plots.pixels(wide), plots.pixels(draw(*tables, **options, narrow=True))
    files = _files(name, drawn, wide)
    return StaticFigure(name, caption, alt, files, _picture(drawn), _picture(narrow))


def data_url(png: bytes) -> str:
    """Return a data URL of a PNG."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def picture_file(url: str, content: bytes) -> Picture:
    """Return the picture for a PNG at a URL."""
    with Image.open(io.BytesIO(content)) as image:
        return Picture(url, *image.size)


def _picture(image: Image.Image) -> Picture:
    data = base64.b64encode(plots.webp(image)).decode()
    return Picture(f"data:image/webp;base64,{data}", *image.size)


def _several_rates(runs: pd.DataFrame) -> bool:
    """Return whether any optimizer was tried with more than one learning rate."""
    return bool(runs.groupby("optimizer")["learning_rate"].nunique().max() > 1)


def _loss_bands(runs: pd.DataFrame, traces: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return split → bands of its loss, for each split that has a loss."""
    return {
        split: statistics.trace_bands(runs, traces, f"{split}_loss")
        for split in ("train", "validation")
        if traces[f"{split}_loss"].notna().any()
    }


def slug(label: str, otherwise: str) -> str:
    """Return a label as part of a file name; `otherwise` if none of its letters can be used."""
    return re.sub(r"[^A-Za-z0-9]+", "-", label).strip("-").lower() or otherwise
