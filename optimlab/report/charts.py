"""The figures of one experiment: drawn, saved, and described in words for the page."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
from joblib import Parallel, cpu_count, delayed
from matplotlib.figure import Figure
from PIL import Image

from optimlab import plots, statistics
from optimlab.looks import Look, number

ROWS_WORTH_A_WORKER = 20_000  # of traces: drawing fewer takes less time than starting a process


@dataclass(frozen=True)
class Picture:
    """An image inside the page: its data as a URL, and its size in pixels."""

    url: str
    width: int
    height: int


@dataclass(frozen=True)
class Chart:
    """A figure: its file name without ending, its words, its files and its forms in the page.

    Attributes
    ----------
    name, label : of the file; of the optimizer where the figure is about one of several, else "".
    caption, alt : what the figure shows; what a reader who cannot see it should know.
    files : ending → bytes.
    wide, narrow : for a screen and for a phone.
    """

    name: str
    label: str
    caption: str
    alt: str
    files: dict[str, bytes]
    wide: Picture
    narrow: Picture


def draw_charts(
    runs: pd.DataFrame,
    traces: pd.DataFrame,
    summary: pd.DataFrame,
    styles: dict[str, Look],
    unit: str,
) -> list[Chart]:
    """Return the figures that the tables of an experiment have the numbers for.

    Parameters
    ----------
    runs, traces : its tables.
    summary : `optimlab.statistics.summarize` of them.
    styles : the look of each optimizer.
    unit : of the loss, "" if it has none.
    """
    calls = [
        *_traces_chart(runs, traces, summary, styles, unit),
        *_sensitivity_chart(runs, summary, styles, unit),
        *_accuracy_chart(runs, summary, styles),
        *_rates_charts(runs, traces, summary, styles, unit),
    ]
    workers = min(cpu_count(), 1 + len(traces) // ROWS_WORTH_A_WORKER)
    return list(Parallel(n_jobs=workers)(calls))


def _traces_chart(
    runs: pd.DataFrame, traces: pd.DataFrame, summary: pd.DataFrame, styles: dict[str, Look], unit: str
) -> Iterator[Any]:
    """Yield the call that draws the loss traces at the chosen rates."""
    rests_on, reported = statistics.basis(runs), statistics.reported_runs(runs)
    mine = traces[traces["run_id"].isin(reported["run_id"])]
    bands = _loss_bands(reported, mine)
    if not bands:
        return
    caption = (
        "Loss during training, each optimizer at its chosen learning rate. Lines: medians over the "
        f"{_seeds(rests_on)}. Bands: the middle half of the seeds. Faint: single seeds."
    )
    ends = _listed(summary, "final_loss_median")
    alt = f"Line chart on a log scale. Median final {_words(rests_on.loss)} loss: {ends}."
    yield delayed(make_chart)(
        "traces", caption, alt, plots.traces_figure, bands, mine, styles, unit=unit
    )


def _sensitivity_chart(
    runs: pd.DataFrame, summary: pd.DataFrame, styles: dict[str, Look], unit: str
) -> Iterator[Any]:
    """Yield the call that draws final loss and failures against the rate, if there are two rates."""
    if not _several_rates(runs):
        return
    loss = statistics.basis(runs).loss
    chosen = dict(zip(summary["optimizer"], summary["learning_rate"], strict=True))
    caption = (
        f"Final {_words(loss)} loss against the learning rate, over all seeds: medians and the "
        "middle half. Black outlines: the chosen rates. Below: the share of runs that were stuck, "
        "diverged or failed, a full bar for all of them. A line that leaves the top: most runs diverged."
    )
    rates = ", ".join(f"{label} {number(rate)}" for label, rate in chosen.items())
    alt = f"Line chart on log scales. Chosen learning rates: {rates}."
    bands, draw = statistics.final_bands(runs), plots.sensitivity_figure
    yield delayed(make_chart)(
        "learning-rates", caption, alt, draw, bands, chosen, styles, loss=loss, unit=unit
    )


def _accuracy_chart(runs: pd.DataFrame, summary: pd.DataFrame, styles: dict[str, Look]) -> Iterator[Any]:
    """Yield the call that draws every seed's final accuracy, if there are accuracies."""
    rests_on = statistics.basis(runs)
    if rests_on.accuracy is None:
        return
    caption = (
        f"Final {rests_on.accuracy} accuracy of every seed at the chosen learning rates "
        f"({_seeds(rests_on)}). Black: the median and its 95 % bootstrap interval."
    )
    medians = _listed(summary, "final_accuracy_median")
    alt = f"One row of points an optimizer. Median accuracies: {medians}."
    reported = statistics.reported_runs(runs)
    yield delayed(make_chart)("accuracy", caption, alt, plots.accuracy_figure, reported, summary, styles)


def _rates_charts(
    runs: pd.DataFrame, traces: pd.DataFrame, summary: pd.DataFrame, styles: dict[str, Look], unit: str
) -> Iterator[Any]:
    """Yield a call an optimizer with several rates: it draws the losses at all of them."""
    chosen = dict(zip(summary["optimizer"], summary["learning_rate"], strict=True))
    for place, label in enumerate(styles, start=1):
        own_runs, own = runs[runs["optimizer"] == label], traces[traces["optimizer"] == label]
        bands = _loss_bands(own_runs, own)
        if not bands or not _several_rates(own_runs):
            continue
        caption = (
            f"{label} at every learning rate, over all seeds: medians, middle halves, single seeds."
        )
        rate = f" {number(chosen[label])} was chosen." if label in chosen else ""
        alt = f"Loss of {label} during training, one panel a learning rate.{rate}"
        name, options = f"rates-{place}-{_slug(label)}", {"chosen": chosen.get(label), "unit": unit}
        yield delayed(make_chart)(
            name, caption, alt, plots.rates_figure, bands, own, styles[label], label=label, **options
        )


def _several_rates(runs: pd.DataFrame) -> bool:
    """Return whether an optimizer was tried with more than one learning rate."""
    return bool(runs.groupby("optimizer")["learning_rate"].nunique().max() > 1)


def make_chart(
    name: str,
    caption: str,
    alt: str,
    draw: Callable[..., Figure],
    *tables: Any,
    label: str = "",
    **options: Any,
) -> Chart:
    """Return what ``draw(*tables, **options)`` draws, wide and narrow, with its words."""
    wide = draw(*tables, **options)
    drawn, narrow = plots.pixels(wide), plots.pixels(draw(*tables, **options, narrow=True))
    files = {"png": plots.png(drawn), "svg": plots.svg(wide)}
    return Chart(name, label, caption, alt, files, _picture(drawn), _picture(narrow))


def _picture(image: Image.Image) -> Picture:
    data = base64.b64encode(plots.webp(image)).decode()
    return Picture(f"data:image/webp;base64,{data}", *image.size)


def _loss_bands(runs: pd.DataFrame, traces: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return split → bands of its loss, for the splits that have a loss."""
    return {
        split: statistics.trace_bands(runs, traces, f"{split}_loss")
        for split in ("train", "validation")
        if traces[f"{split}_loss"].notna().any()
    }


def _listed(summary: pd.DataFrame, column: str) -> str:
    values = summary.set_index("optimizer")[column]
    return ", ".join(f"{label} {number(value, 3)}" for label, value in values.items())


def _seeds(rests_on: statistics.Basis) -> str:
    return "fresh seeds" if rests_on.reporting == "reporting" else "tuning seeds"


def _words(split: str) -> str:
    return "training" if split == "train" else split


def _slug(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", label).strip("-").lower() or "optimizer"
