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
        return figure_files(self.name, self.figure())


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
    drawn : its files.
    wide, narrow : the pictures for a screen and for a phone.
    """

    name: str
    caption: str
    alt: str
    drawn: Files
    wide: Picture
    narrow: Picture

    def files(self) -> Files:
        """Return its files."""
        return self.drawn


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
    traces_and_accuracy = {
        **_traces_figure(runs, traces, styles, unit),
        **_accuracy_figure(runs, summary, styles),
    }
    if "hyperparameters" in summary:  # more than the learning rate is tuned, which charts show
        return traces_and_accuracy
    return {
        **traces_and_accuracy,
        **_sensitivity_figure(runs, summary, styles, unit),
        **_rates_figures(runs, traces, summary, styles, unit),
    }


def _traces_figure(
    runs: pd.DataFrame, traces: pd.DataFrame, styles: dict[str, SeriesStyle], unit: str
) -> Drawings:
    """Return the figure of the loss traces at the chosen rates."""
    reported = statistics.reported_runs(runs)
    reported_traces = traces[traces["run_id"].isin(reported["run_id"])]
    bands = _loss_bands(reported, reported_traces)
    if not bands:
        return {}
    return drawing("traces", plots.traces_figure, bands, reported_traces, styles, unit=unit)


def _sensitivity_figure(
    runs: pd.DataFrame, summary: pd.DataFrame, styles: dict[str, SeriesStyle], unit: str
) -> Drawings:
    """Return the figure of final loss and failures against the rate, if there are several rates."""
    if not _several_rates(runs):
        return {}
    chosen = dict(zip(summary["optimizer"], summary["learning_rate"], strict=True))
    bands, loss = statistics.final_bands(runs), statistics.basis(runs).loss
    draw = plots.sensitivity_figure
    return drawing("learning-rates", draw, bands, chosen, styles, loss=loss, unit=unit)


def _accuracy_figure(
    runs: pd.DataFrame, summary: pd.DataFrame, styles: dict[str, SeriesStyle]
) -> Drawings:
    """Return the figure of every seed's final accuracy, if there are accuracies."""
    if statistics.basis(runs).accuracy is None:
        return {}
    return drawing("accuracy", plots.accuracy_figure, statistics.reported_runs(runs), summary, styles)


def _rates_figures(
    runs: pd.DataFrame,
    traces: pd.DataFrame,
    summary: pd.DataFrame,
    styles: dict[str, SeriesStyle],
    unit: str,
) -> Drawings:
    """Return, for each optimizer with several rates, a figure of the losses at all of them."""
    chosen = dict(zip(summary["optimizer"], summary["learning_rate"], strict=True))
    drawings: Drawings = {}
    for number, label in enumerate(styles, start=1):
        its_runs, its_traces = (table[table["optimizer"] == label] for table in (runs, traces))
        bands = _loss_bands(its_runs, its_traces)
        if bands and _several_rates(its_runs):
            name = f"rates-{number}-{slug(label, 'optimizer')}"
            options = {"chosen": chosen.get(label), "unit": unit}
            drawings |= drawing(name, plots.rates_figure, bands, its_traces, styles[label], **options)
    return drawings


def drawing(name: str, draw: Callable[..., Figure], *tables: Any, **options: Any) -> Drawings:
    """Return name → the drawing by ``draw(*tables, **options)``."""
    return {name: Drawing(name, draw, tables, options)}


def figure_files(name: str, figure: Figure) -> Files:
    """Return a figure as PNG and SVG."""
    return {f"{name}.png": plots.png(plots.pixels(figure)), f"{name}.svg": plots.svg(figure)}


def static_figure(
    name: str, caption: str, alt: str, draw: Callable[..., Figure], *tables: Any, **options: Any
) -> StaticFigure:
    """Return the figure drawn by ``draw(*tables, **options)``, wide and narrow, with its texts."""
    wide = draw(*tables, **options)
    drawn, narrow = plots.pixels(wide), plots.pixels(draw(*tables, **options, narrow=True))
    files = {f"{name}.png": plots.png(drawn), f"{name}.svg": plots.svg(wide)}
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
