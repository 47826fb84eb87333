"""Figures from tables: they draw what `optimlab.statistics` computed, and read no files.

Every figure has a wide form for a page or a paper and a narrow one for a phone. An optimizer has the
same colour, dashes and marker in all of them, so that they can be read in grey print, too.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from textwrap import fill
from typing import Any, cast

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import (
    FixedLocator,
    LogLocator,
    NullFormatter,
    NullLocator,
)
from PIL import Image

from optimlab.formatting import number, split_name, with_unit
from optimlab.report.style import GREY, INK, SeriesStyle, figure_style
from optimlab.report.ticks import ROUNDING, Alike, LogTicks
from optimlab.statistics import NO_LINE, without_line
from optimlab.statuses import BAD

Array = np.ndarray

DOTS_AN_INCH = 200
LEGEND_ROWS, LEGEND_ROW = 4, 0.2  # the rows a figure has room for; the height of a row in inches


CLOCKS = {  # column → the title of its axis
    "epoch": "epochs of training",
    "step": "steps of training",
    "seconds": "seconds of processor time, each run trained alone",
}
RING: Any = {"markersize": 9, "markeredgecolor": INK, "markeredgewidth": 1.2}


def traces_figure(
    bands: dict[str, pd.DataFrame],
    traces: pd.DataFrame,
    styles: dict[str, SeriesStyle],
    *,
    unit: str = "",
    narrow: bool = False,
) -> Figure:
    """Draw the loss against training time: median, quartile band and faint single seeds.

    Parameters
    ----------
    bands : split ("train", …) → `optimlab.statistics.trace_bands` of its loss at the chosen rates.
    traces : the traces of the same runs.
    styles : optimizer → how it is drawn, from `series_styles`.
    unit : of the loss, if it has one.
    """
    with figure_style(styles):
        figure = new_figure(3.7 if narrow else 9, 2.6 * len(bands) + 0.6 if narrow else 4)
        shape = (len(bands), 1) if narrow else (1, len(bands))
        panels = list(figure.subplots(*shape, squeeze=False, sharex=True).flat)
        shown = [label for label in styles if any(label in set(b["optimizer"]) for b in bands.values())]
        clock = clock_of(traces)
        for axes, (split, band) in zip(panels, bands.items(), strict=True):
            draw_bands(axes, band, clock, {label: styles[label] for label in shown})
            for label in shown:
                runs = traces[traces["optimizer"] == label]
                _draw_seeds(axes, runs, clock, f"{split}_loss", styles[label].colour)
            note_without_line(axes, band, narrow=narrow)
            axes.set(ylabel=with_unit(f"{split_name(split)} loss", unit), xlabel="")
            if not narrow or axes is panels[-1]:
                axes.set_xlabel(CLOCKS[clock])
        _legend(figure, [_handle(label, styles[label]) for label in shown])
        return settled(figure)


def rates_figure(
    bands: dict[str, pd.DataFrame],
    traces: pd.DataFrame,
    style: SeriesStyle,
    *,
    chosen: float | None,
    unit: str = "",
    narrow: bool = False,
) -> Figure:
    """Draw the loss of one optimizer against training time, one panel per learning rate.

    Parameters
    ----------
    bands : split → `optimlab.statistics.trace_bands` of its loss, of this optimizer.
    traces : the traces of the same runs.
    style : how the optimizer is drawn.
    chosen : the learning rate to mark as the chosen one.
    unit : of the loss, if it has one.
    """
    rates = sorted({rate for band in bands.values() for rate in band["learning_rate"]})
    columns = min(2 if narrow else 4, len(rates))
    rows = -(-len(rates) // columns)
    width = 3.7 if narrow else max(2.4 * columns - 0.6, 5)
    clock = clock_of(traces)
    style_of = {
        "train": SeriesStyle(GREY, (3, 1.2), ""),
        "validation": SeriesStyle(style.colour, (), ""),
    }
    with figure_style():
        figure, panels = _grid(rows, columns, width, panel_height=1.15 if narrow else 1.5)
        top = _loss_scale(panels[0, 0], pd.concat(bands.values()))
        panels[0, 0].yaxis.set_minor_locator(NullLocator())
        for index, axes in enumerate(panels.flat):
            axes.set_visible(index < len(rates))
            axes.tick_params(labelbottom=index >= len(rates) - columns, labelleft=index % columns == 0)
        for axes, rate in zip(panels.flat, rates, strict=False):
            runs = traces[traces["learning_rate"] == rate]
            for split, band in bands.items():
                at_rate, drawn = band[band["learning_rate"] == rate], style_of[split]
                _draw_band(axes, at_rate, clock, drawn.colour, top)
                median = np.minimum(at_rate["median"], top)
                axes.plot(at_rate[clock], median, color=drawn.colour, linewidth=1.6,
                          linestyle=drawn.line_style)  # fmt: skip
                _draw_seeds(axes, runs, clock, f"{split}_loss", drawn.colour)
            if all(without_line(band[band["learning_rate"] == rate]) for band in bands.values()):
                _write_inside(axes, fill(NO_LINE, 16))
            is_chosen = rate == chosen
            axes.set_title(
                f"rate {number(rate)}, chosen" if is_chosen else f"rate {number(rate)}",
                fontweight="bold" if is_chosen else "normal",
                color=INK if is_chosen else "#555555",
                pad=3,
            )
        figure.supxlabel(CLOCKS[clock], fontsize=9, y=0.06 / figure.get_figheight(), va="bottom")
        figure.supylabel(with_unit("loss", unit), fontsize=9, x=0.06 / width, ha="left")
        handles = [_handle(f"{split_name(split)} loss", style_of[split]) for split in bands]
        figure.legend(handles=handles, ncols=2, loc="upper center", handlelength=3.2, borderaxespad=0.2)
        sns.despine(fig=figure)
        return figure


def sensitivity_figure(
    bands: pd.DataFrame,
    chosen: dict[str, float],
    styles: dict[str, SeriesStyle],
    *,
    loss: str,
    unit: str = "",
    narrow: bool = False,
) -> Figure:
    """Draw the final loss against the learning rate, and beneath it the share of runs that went wrong.

    Parameters
    ----------
    bands : `optimlab.statistics.final_bands`.
    chosen : optimizer → the learning rate to ring.
    styles : optimizer → how it is drawn.
    loss : the split that the loss is of.
    unit : of the loss, if it has one.
    """
    shown = [label for label in styles if label in set(bands["optimizer"])]
    with figure_style(styles):
        low = 0.3 * len(shown) + 0.2
        figure = new_figure(3.7 if narrow else 9, 4.3 + low if narrow else 4.4 + low)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, low])
        draw_bands(upper, bands, "learning_rate", {label: styles[label] for label in shown})
        for label in shown:
            of_optimizer, style = bands[bands["optimizer"] == label], styles[label]
            choice = of_optimizer[of_optimizer["learning_rate"] == chosen.get(label)]
            upper.plot(choice["learning_rate"], choice["median"], linestyle="", marker=style.marker,
                       color=style.colour, zorder=5, **RING)  # fmt: skip
        upper.set(xscale="log", xlabel="", ylabel=with_unit(f"final {split_name(loss)} loss", unit))
        _draw_shares(lower, bands, shown, styles, narrow=narrow)
        _learning_rate_ticks(lower, sorted(set(bands["learning_rate"])))
        handles = [_handle(label, styles[label]) for label in shown]
        handles.append(Line2D([], [], linestyle="", marker="o", label="chosen", color="white", **RING))
        _legend(figure, handles)
        return settled(figure)


def accuracy_figure(
    reported: pd.DataFrame,
    summary: pd.DataFrame,
    styles: dict[str, SeriesStyle],
    *,
    narrow: bool = False,
) -> Figure:
    """Draw the final accuracy of every seed, with the median and its interval, the best at the top.

    Parameters
    ----------
    reported : the reported runs (`optimlab.statistics.reported_runs`).
    summary : the summary of `optimlab.statistics.compare_optimizers`, with an accuracy.
    styles : optimizer → how it is drawn.
    """
    split = summary["accuracy"].iloc[0]
    with figure_style(styles):
        figure = new_figure(3.7 if narrow else 9, 0.5 * len(summary) + 0.9)
        axes = figure.subplots()
        names = []
        for position, row in enumerate(summary.to_dict("records")):
            style = styles[row["optimizer"]]
            values = reported.loc[reported["optimizer"] == row["optimizer"], f"final_{split}_accuracy"]
            values = np.sort(100 * values.to_numpy(dtype=float))
            drawn = values[np.isfinite(values)]
            # Multiples of the golden ratio keep neighbouring dots apart, and are reproducible.
            offsets = (np.arange(len(drawn)) * 0.618034 % 1 - 0.5) * 0.5
            axes.scatter(drawn, position + offsets, s=16, marker=style.marker, color=style.colour,
                         alpha=0.55, linewidths=0)  # fmt: skip
            ends = [100 * row["final_accuracy_interval_low"], 100 * row["final_accuracy_interval_high"]]
            axes.plot(ends, [position] * 2, color=INK, linewidth=1.6, solid_capstyle="butt", zorder=4)
            axes.plot(100 * row["final_accuracy_median"], position, marker="|", markersize=15,
                      markeredgewidth=2, color=INK, zorder=5)  # fmt: skip
            missing = len(values) - len(drawn)
            label = fitted(row["optimizer"], narrow=narrow)
            names.append(label + (f"\n({missing} without)" if missing else ""))
        axes.set_yticks(range(len(names)), names)
        axes.set(
            ylim=(len(names) - 0.5, -0.5),
            xlabel=f"final {split_name(split)} accuracy (percent of the samples)",
        )
        axes.tick_params(axis="y", length=0, labelsize=9)
        axes.grid(visible=False, axis="y")
        return settled(figure, left=True)


def pixels(figure: Figure) -> Image.Image:
    """Return the figure as an image of 200 dots per inch."""
    canvas = FigureCanvasAgg(figure)
    with figure_style():
        canvas.draw()  # type: ignore[no-untyped-call]
        drawn = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return Image.fromarray(drawn).convert("RGB")


def png(image: Image.Image) -> bytes:
    """Return an image from `pixels` as PNG; the bytes are reproducible."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=4, dpi=(DOTS_AN_INCH, DOTS_AN_INCH))
    return buffer.getvalue()


def webp(image: Image.Image) -> bytes:
    """Return an image from `pixels` as WebP, a fifth of the size of a PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=85, method=3)
    return buffer.getvalue()


def svg(figure: Figure, **options: Any) -> bytes:
    """Return the figure as reproducible SVG; `options` are those of `figure_style`."""
    buffer, nothing = io.BytesIO(), dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with figure_style((), **options):
        figure.savefig(buffer, format="svg", metadata=nothing)
    return buffer.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, sized in inches, that is not registered with pyplot."""
    return Figure(figsize=(width, height), dpi=DOTS_AN_INCH, layout="constrained", facecolor="white")


def settled(figure: Figure, *, left: bool = False, bottom: bool = False) -> Figure:
    """Lay a figure out once, instead of again for every format; return it.

    Parameters
    ----------
    left, bottom : whether to remove this spine, too, and not only those at the top and the right.
    """
    sns.despine(fig=figure, left=left, bottom=bottom)
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
    figure.set_layout_engine("none")
    return figure


def fitted(label: str, *, narrow: bool) -> str:
    """Return a label with its middle left out where there is no room for it beside a figure."""
    return _shortened(label, 20 if narrow else 40)


def _shortened(label: str, most: int) -> str:
    """Return a label with its middle left out if it has more than `most` letters."""
    end = most // 2 - 1
    return label if len(label) <= most else f"{label[: most - end - 1]}…{label[-end:]}"


def clock_of(traces: pd.DataFrame) -> str:
    """Return the column of the time axis: "step" if an epoch is one step, else "epoch"."""
    return "step" if traces["step"].equals(traces["epoch"].astype(traces["step"].dtype)) else "epoch"


def _handle(label: str, style: SeriesStyle) -> Line2D:
    return Line2D([], [], color=style.colour, marker=style.marker, markersize=5, linewidth=1.6,
                  label=label, linestyle=style.line_style)  # fmt: skip


def add_legend(figure: Figure, styles: dict[str, SeriesStyle]) -> None:
    """Add a legend of labels and their styles above a figure."""
    _legend(figure, [_handle(label, style) for label, style in styles.items()])


def _legend(
    figure: Figure,
    handles: Sequence[Artist],
    scale: float = 1,
    title: str = "",
    rows: int = LEGEND_ROWS,
) -> None:
    """Put a legend on top of a figure, which grows by the rows that do not fit.

    Parameters
    ----------
    scale : the factor of its letters' size.
    title : the title above it.
    rows : the number of rows that fit.
    """
    letters = int(14 * figure.get_figwidth() / scale)  # of a row, and a handle is as wide as nine
    for handle in handles:
        handle.set_label(_shortened(str(handle.get_label()), max(letters - 9, 9)))
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, min(len(handles), letters // (longest + 9)))
    more = max(0, -(-len(handles) // columns) - rows)
    figure.set_figheight(figure.get_figheight() + LEGEND_ROW * scale * more)
    figure.legend(handles=handles, ncols=columns, loc="outside upper center", handlelength=3.2,
                  columnspacing=1.4, borderaxespad=0.2, fontsize=8.5 * scale, title=title or None,
                  title_fontsize=9 * scale)  # fmt: skip


def resized(figure: Figure, width: float, scale: float, title: str = "") -> Figure:
    """Give a figure another width, letter size and title; return it.

    Parameters
    ----------
    figure : a drawn figure.
    width : in inches; the height changes in proportion, but shrinks to 0.8 at most.
    scale : the factor of the letters' size.
    title : the title above the figure.
    """
    before, height = figure.get_size_inches()
    figure.set_size_inches(width, height * max(width / before, 0.8))
    with figure_style([title]):
        for text in figure.findobj(Text):
            text.set_fontsize(float(text.get_fontsize()) * scale)
        if figure.legends:
            (legend,) = figure.legends
            handles = legend.legend_handles
            for handle, text in zip(handles, legend.get_texts(), strict=True):
                handle.set_label(text.get_text())  # type: ignore[union-attr]
            legend.remove()
            rows = max(LEGEND_ROWS, -(-len(handles) // legend._ncols))  # type: ignore[attr-defined]
            _legend(figure, [handle for handle in handles if handle], scale, title, rows)
        elif title:
            figure.suptitle(title, fontsize=9 * scale)
        if figure.get_supxlabel():  # these labels are positioned in inches, which have changed
            figure.supxlabel(figure.get_supxlabel(), fontsize=9 * scale)
            figure.supylabel(figure.get_supylabel(), fontsize=9 * scale)
    figure.set_layout_engine("constrained")  # makes room for all letters again
    return figure


def png_of(figure: Figure, dots_an_inch: float) -> bytes:
    """Return the figure as PNG, with the given number of dots per inch."""
    buffer = io.BytesIO()
    with figure_style():
        figure.savefig(buffer, format="png", dpi=dots_an_inch, metadata={"Software": None})
    return buffer.getvalue()


def pdf(figure: Figure) -> bytes:
    """Return the figure as reproducible PDF with real text."""
    buffer, nothing = io.BytesIO(), dict.fromkeys(("Creator", "Producer", "CreationDate"))
    with figure_style((), **{"pdf.fonttype": 42}):
        figure.savefig(buffer, format="pdf", metadata=nothing)
    return buffer.getvalue()


def _grid(rows: int, columns: int, width: float, panel_height: float) -> tuple[Figure, Array]:
    """Return a figure of equal panels with shared axes; its margins are set in inches."""
    left, right, top, bottom, between = 0.75, 0.1, 0.55, 0.5, 0.28
    height = rows * panel_height + (rows - 1) * between + top + bottom
    figure = Figure(figsize=(width, height), dpi=DOTS_AN_INCH, facecolor="white")
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        top=1 - top / height,
        bottom=bottom / height,
        hspace=between / panel_height,
        wspace=0.1,
    )
    return figure, figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)


def draw_bands(axes: Axes, bands: pd.DataFrame, over: str, styles: dict[str, SeriesStyle]) -> None:
    """Draw each optimizer's median line over its quartile band."""
    top = _loss_scale(axes, bands)
    for label, style in styles.items():
        _draw_band(axes, bands[bands["optimizer"] == label], over, style.colour, top)
    sns.lineplot(
        bands.assign(median=bands["median"].clip(upper=top)),
        x=over, y="median", ax=axes, estimator=None,
        hue="optimizer", hue_order=list(styles),
        palette={label: style.colour for label, style in styles.items()},
        style="optimizer", style_order=list(styles),
        dashes={label: cast(Any, style.dashes or "") for label, style in styles.items()},
        markers={label: style.marker for label, style in styles.items()},
        markeredgewidth=0, markersize=5, markevery=max(1, bands[over].nunique() // 11),
        linewidth=1.6, legend=False, zorder=3,
    )  # fmt: skip


def note_without_line(axes: Axes, bands: pd.DataFrame, *, narrow: bool) -> None:
    """Write above traces which optimizers have no line."""
    words = without_line(
        bands.assign(optimizer=bands["optimizer"].map(lambda x: fitted(x, narrow=True)))
    )
    axes.set_title(fill(words, 50), loc="left", fontsize=7 if narrow else 8, color=GREY)


def _draw_band(axes: Axes, band: pd.DataFrame, over: str, colour: str, top: float) -> None:
    """Draw a quartile band; an infinite quartile leaves the axes at the top."""
    low, high = np.minimum(band["low"], top), np.minimum(band["high"], top)
    axes.fill_between(band[over], low, high, color=colour, alpha=0.15, linewidth=0, zorder=2)


def _draw_seeds(axes: Axes, traces: pd.DataFrame, clock: str, metric: str, colour: str) -> None:
    """Draw every run as a faint line."""
    points = traces[[clock, metric]].to_numpy(dtype=float)
    runs = traces["run_id"].to_numpy()
    paths = np.split(points, np.flatnonzero(runs[1:] != runs[:-1]) + 1)
    lines = LineCollection(
        paths, colors=colour, alpha=0.45 / len(paths) ** 0.5, linewidths=0.6, zorder=1
    )
    axes.add_collection(lines, autolim=False)


def _loss_scale(axes: Axes, bands: pd.DataFrame) -> float:
    """Set scale and limits of an axis of losses; return a value above them at which to draw infinity."""
    values = bands[["low", "median", "high"]].to_numpy().ravel()
    values = values[np.isfinite(values)]
    if not len(values) or (values.max() <= 0 and values.min() >= -ROUNDING):
        axes.set(ylim=(0, 1), yticks=[])
        _write_inside(axes, "no median loss is finite" if not len(values) else "every median loss is 0")
        return 10.0
    if values.min() < -ROUNDING:
        size = np.abs(values).max()
        axes.set_yscale("symlog", linthresh=size / 100)
        axes.set_ylim(values.min() - 0.1 * size, values.max() + 0.1 * size)
        return float(10 * size)
    low, high = np.clip([values[values > 0].min(), values.max()], 1e-140, 1e140)  # their ratio is finite
    axes.set(yscale="log", ylim=(low / (high / low) ** 0.05 / 1.05, high * (high / low) ** 0.05 * 1.05))
    decades = np.log10(high / low)
    axes.yaxis.set_major_locator(LogTicks())
    between = LogLocator(subs=range(2, 10), numticks=99) if 2.2 < decades < 6 else NullLocator()
    axes.yaxis.set_minor_locator(between)
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(Alike())
    return float(high * 1e3)


def _write_inside(axes: Axes, text: str) -> None:
    """Write in the middle of axes why nothing is drawn there."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)


def _learning_rate_ticks(axes: Axes, rates: list[float]) -> None:
    """Put a tick at every power of ten in the grid, or at every rate of a grid without them."""
    powers = [
        rate for rate in rates if np.isclose(np.log10(rate) % 1, 0) or np.isclose(np.log10(rate) % 1, 1)
    ]
    major = powers if len(powers) > 1 else rates
    axes.xaxis.set_major_locator(FixedLocator(major))
    axes.xaxis.set_minor_locator(FixedLocator([rate for rate in rates if rate not in major]))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(Alike())
    axes.set(xlabel="learning rate")


def _draw_shares(
    axes: Axes,
    bands: pd.DataFrame,
    shown: list[str],
    styles: dict[str, SeriesStyle],
    *,
    narrow: bool,
) -> None:
    """Draw one row per optimizer: at each learning rate, a bar as high as the share of bad runs."""
    positions = np.log10(np.array(sorted(set(bands["learning_rate"]))))
    width = 0.6 * (np.diff(positions).min() if len(positions) > 1 else 0.5)
    for row, label in enumerate(reversed(shown)):
        of_optimizer = bands[bands["optimizer"] == label]
        rate = of_optimizer["learning_rate"].to_numpy()
        left, right = rate * 10 ** (-width / 2), rate * 10 ** (width / 2)
        bottom = np.full(len(of_optimizer), float(row))
        for status in BAD:
            height = 0.8 * of_optimizer[status.name].to_numpy()
            some = height > 0
            style = {"facecolor": styles[label].colour, "edgecolor": "white", **status.fill}
            widths = (right - left)[some]
            axes.bar(left[some], height[some], widths, bottom[some], align="edge", linewidth=0, **style)
            bottom += height
    names = [fitted(label, narrow=narrow) for label in reversed(shown)]
    axes.set_yticks(np.arange(len(shown)), names, va="bottom")
    axes.set(ylim=(0, len(shown)))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=True, axis="y")
    present = [status for status in BAD if bands[status.name].max() > 0]
    if present:
        handles = [
            Patch(facecolor="#666666", edgecolor="white", linewidth=0, label=status.name, **status.fill)
            for status in present
        ]
        axes.set_title(" ", fontsize=8)
        axes.legend(
            handles=handles, ncols=3, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.1
        )
        axes.set_title("share of runs, full height = all", loc="left", fontsize=8.5)
    else:
        axes.set_title("no run was stuck, diverged or failed", loc="left", fontsize=8.5)
