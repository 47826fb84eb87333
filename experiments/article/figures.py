"""The figures of the article: its published trace over our seeds, and its five optimizers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from optimlab.formatting import number
from optimlab.report.figures.plots import new_figure
from optimlab.report.style import BUILT_IN, INK, SeriesStyle, figure_style, series_styles
from optimlab.report.ticks import LogTicks


def reproduction_figure(
    bands: pd.DataFrame, published: dict[int, float], *, narrow: bool = False
) -> Figure:
    """Draw the published trace over the range of our seeds, and both relative to our median.

    Parameters
    ----------
    bands : optimizer, step, low, median, high; of one optimizer.
    published : step → loss.
    """
    points = pd.Series(published)
    colour = BUILT_IN["Adam"].colour
    with figure_style():
        figure = new_figure(3.7 if narrow else 9, 4.6 if narrow else 4.8)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
        _draw_range(upper, bands, SeriesStyle(colour, (), ""))
        upper.plot(points, color=INK, linewidth=0.9, marker="o", markersize=3.5, zorder=4)
        _log_axis(upper, "loss, summed")
        for text, step, shift, tint in (
            ("published", 1000, (8, 8), INK),
            ("our seeds", 3000, (-8, -16), colour),
        ):
            at = bands.loc[bands["step"] == step, "median"]
            if len(at):
                upper.annotate(text, (step, at.iloc[0]), shift, textcoords="offset points", color=tint,
                               ha="left" if shift[0] > 0 else "right")  # fmt: skip
        own = bands[bands["step"].isin(points.index)].set_index("step")
        percent = own[["low", "high"]].div(own["median"], axis=0).sub(1).mul(100)
        lower.fill_between(percent.index, percent["low"], percent["high"], color=colour, alpha=0.25,
                           linewidth=0)  # fmt: skip
        lower.axhline(0, color=colour, linewidth=1.6)
        lower.plot(
            100 * (points / own["median"] - 1), color=INK, linewidth=0.9, marker="o", markersize=3.5
        )
        lower.set(xlabel="steps of training", ylabel="percent from\nour median")
        figure.align_ylabels()
        sns.despine(fig=figure)
        return figure


def five_figure(bands: pd.DataFrame, *, narrow: bool = False) -> Figure:
    """Draw the loss of every optimizer, one panel per setting, which is in brackets in its label.

    Parameters
    ----------
    bands : optimizer, step, low, median, high; of optimizers with labels "SGD (article)".
    """
    parts = bands["optimizer"].str.extract(r"^(?P<rule>\w+) \((?P<setting>.+)\)$")
    rules, settings = parts["rule"].fillna(bands["optimizer"]), parts["setting"].fillna("")
    styles = series_styles(list(rules.unique()))
    titles = list(settings.unique())
    with figure_style([*rules, *titles]):
        figure = new_figure(3.7 if narrow else 9, 2.6 * len(titles) + 0.3 if narrow else 4)
        shape = (len(titles), 1) if narrow else (1, len(titles))
        panels = figure.subplots(*shape, squeeze=False, sharex=True, sharey=True)
        names = []
        for axes, title in zip(panels.flat, titles, strict=True):
            ends = {}
            for rule, mine in bands[settings == title].groupby(rules, sort=False):
                _draw_range(axes, mine, styles[rule])
                ends[rule] = (float(mine["median"].iloc[-1]), styles[rule].colour)
            _log_axis(axes, "loss, summed" if axes in panels[:, 0] else "")
            axes.set_title(title, loc="left")
            names.append(ends)
            if axes in panels[-1]:
                axes.set_xlabel("steps of training")
        for axes, ends in zip(panels.flat, names, strict=True):
            _label_ends(axes, bands["step"].max(), ends, apart=0.09 if narrow else 0.06)
        sns.despine(fig=figure)
        return figure


def _draw_range(axes: Axes, bands: pd.DataFrame, style: SeriesStyle) -> None:
    axes.fill_between(
        bands["step"], bands["low"], bands["high"], color=style.colour, alpha=0.25, linewidth=0
    )
    axes.plot(
        bands["step"],
        bands["median"],
        color=style.colour,
        linewidth=1.6,
        linestyle=style.line_style,
        zorder=3,
    )


def _log_axis(axes: Axes, label: str) -> None:
    axes.set(yscale="log", ylabel=label)
    axes.yaxis.set_major_locator(LogTicks())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def _label_ends(axes: Axes, step: float, ends: dict[str, tuple[float, str]], apart: float) -> None:
    """Write each line's name at its end, in its colour; `apart` is the least distance, of the height."""
    bottom, top = np.log10(axes.get_ylim())
    heights = {name: (np.log10(loss) - bottom) / (top - bottom) for name, (loss, _) in ends.items()}
    names = sorted(heights, key=lambda name: heights[name])
    spread = np.clip([heights[name] for name in names], 0, 1)
    for _ in range(100):  # neighbours that are too close push each other away
        push = np.maximum(apart - np.diff(spread), 0) / 2
        spread[:-1] -= push
        spread[1:] += push
    for name, height in zip(names, spread, strict=True):
        loss = 10 ** (bottom + height * (top - bottom))
        axes.annotate(name, (step, loss), (4, 0), color=ends[name][1], textcoords="offset points",
                      va="center", annotation_clip=False)  # fmt: skip
