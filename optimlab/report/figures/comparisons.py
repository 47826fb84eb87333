"""Figures of comparisons, for print: what the page's interactive charts show, at their first settings.

Each draws the tables of a chart of the page, so that both show the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator, PercentFormatter

from optimlab.formatting import number, with_unit
from optimlab.report.figures.plots import add_legend, draw_bands, fitted, new_figure, settled
from optimlab.report.figures.static import Drawings, drawing
from optimlab.report.style import GREY, INK, SeriesStyle, figure_style
from optimlab.report.vega import METRICS, Chart
from optimlab.statistics import Comparison

ROW = 0.28  # inches, of an optimizer or a pair
SMALLEST_FONT = 5  # points: smaller numbers are left out of a table
MOST_PAIRS = 15  # with more, those of the best optimizer are drawn
PERCENT = PercentFormatter(1, decimals=0, symbol=" %")
DIAMOND: Any = {"marker": "D", "color": INK, "zorder": 4, "linestyle": ""}


def targets_figure(
    table: pd.DataFrame,
    styles: dict[str, SeriesStyle],
    *,
    target: str,
    clock: str,
    narrow: bool = False,
) -> Figure:
    """Draw how soon each optimizer reaches a target: median, interval, and how many seeds do.

    Parameters
    ----------
    table : one row per optimizer, with epochs_median, epochs_low, epochs_high, reached, seeds, rank.
    styles : optimizer → how it is drawn.
    target : the target as text.
    clock : "epochs" or "steps".
    narrow : whether to draw for a column of a page.
    """
    rows = table.sort_values("rank").to_dict("records")
    times = table[["epochs_median", "epochs_low", "epochs_high"]].to_numpy(dtype=float)
    longest = float(times[np.isfinite(times)].max(initial=1))
    with figure_style([*styles, target]):
        figure = new_figure(3.7 if narrow else 9, ROW * len(rows) + 1)
        axes = figure.subplots()
        for index, row in enumerate(rows):
            style = styles[row["optimizer"]]
            if np.isfinite(row["epochs_low"]):
                high = row["epochs_high"] if np.isfinite(row["epochs_high"]) else longest
                axes.plot([row["epochs_low"], high], [index, index], color=style.colour, alpha=0.45,
                          linewidth=3, solid_capstyle="butt")  # fmt: skip
            if np.isfinite(row["epochs_median"]):
                axes.plot(row["epochs_median"], index, marker=style.marker, color=style.colour,
                          markersize=7, zorder=4)  # fmt: skip
            never = "" if np.isfinite(row["epochs_median"]) else ",\nmedian: never"
            _beside(axes, index, f"{row['reached']:.0f} of {row['seeds']:.0f}{never}")
        _rows(axes, [fitted(row["optimizer"], narrow=narrow) for row in rows])
        axes.set(xlabel=f"{clock} to {target}", xlim=(0, 1.04 * longest))
        return settled(figure, left=True)


def profiles_figure(
    table: pd.DataFrame, styles: dict[str, SeriesStyle], *, targets: str, narrow: bool = False
) -> Figure:
    """Draw performance profiles: the share of targets solved within a multiple of the fastest.

    Parameters
    ----------
    table : optimizer, ratio, share.
    styles : optimizer → how it is drawn.
    targets : what they are targets of.
    narrow : whether to draw for a column of a page.
    """
    with figure_style(styles):
        figure = new_figure(3.7 if narrow else 9, 3.2 if narrow else 4)
        axes = figure.subplots()
        for label, style in styles.items():
            line = table[table["optimizer"] == label].sort_values("ratio")
            axes.step(line["ratio"], line["share"], where="post", color=style.colour,
                      linestyle=style.line_style, marker=style.marker, markersize=5, markeredgewidth=0,
                      markevery=max(1, len(line) // 8), linewidth=1.6)  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator([1, 2, 4, 8, 16]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_major_formatter(PERCENT)
        axes.set(xlabel="τ, times the steps of the fastest", xlim=(1, 16), ylim=(0, 1.03))
        between = "\n" if narrow else " "
        axes.set_ylabel(f"targets of {targets}{between}solved within τ")
        add_legend(figure, styles)
        return settled(figure)


def budget_figure(
    table: pd.DataFrame,
    styles: dict[str, SeriesStyle],
    *,
    loss: str,
    tried: str,
    narrow: bool = False,
) -> Figure:
    """Draw the expected loss against the number of trials.

    Parameters
    ----------
    table : optimizer, trials, expected_loss, interval_low, interval_high.
    styles : optimizer → how it is drawn.
    loss : its name, with its unit.
    tried : what is tried: learning rates or candidates.
    narrow : whether to draw for a column of a page.
    """
    names = {"interval_low": "low", "expected_loss": "median", "interval_high": "high"}
    bands = table.rename(columns=names)
    shown = {label: style for label, style in styles.items() if label in set(bands["optimizer"])}
    with figure_style(styles):
        figure = new_figure(3.7 if narrow else 9, 3.2 if narrow else 4)
        axes = figure.subplots()
        draw_bands(axes, bands[bands["trials"] > 0], "trials", shown)
        for row in bands[bands["trials"] == 0].to_dict("records"):
            style = shown[row["optimizer"]]
            axes.plot(0, row["median"], marker=style.marker, color=style.colour, markersize=6)
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        textbook = " (0: textbook)" if (bands["trials"] == 0).any() else ""
        axes.set(xlabel=f"{tried} tried{textbook}", ylabel=f"expected final\n{loss}")
        add_legend(figure, shown)
        return settled(figure)


def wins_figure(table: pd.DataFrame, order: Sequence[str], *, narrow: bool = False) -> Figure:
    """Draw the share of seeds on which the optimizer of a row beats that of a column.

    Parameters
    ----------
    table : row, column, share_won, different.
    order : the optimizers, best first.
    narrow : whether to draw for a column of a page.
    """
    shares = table.pivot_table(index="row", columns="column", values="share_won")
    shown = table.pivot_table(index="row", columns="column", values="different").to_dict()
    grid = shares.reindex(index=list(order), columns=list(order)).to_numpy(dtype=float)
    names = [fitted(label, narrow=narrow) for label in order]
    is_turned = narrow or len(order) > 6
    with figure_style(order):
        width = 3.7 if narrow else 7
        cell = (width - 1.1) / len(order)  # inches
        top = 0.07 * max(map(len, names)) if is_turned else 0.2
        figure = new_figure(width, min(cell, 0.45) * len(order) + 1.4 + top)
        axes = figure.subplots()
        image = axes.imshow(grid, cmap="PuOr", vmin=0, vmax=1, aspect="auto")
        font_size = min(8.5, 72 * cell / 3.2)
        for (row, column), share in np.ndenumerate(grid):
            if np.isnan(share) or font_size < SMALLEST_FONT:
                continue
            text = f"{100 * share:.0f}{'*' * int(shown[order[column]][order[row]])}"
            ink = "white" if abs(share - 0.5) > 0.3 else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=font_size, color=ink)
        axes.set_yticks(range(len(order)), names)
        axes.set_xticks(range(len(order)), names, rotation=90 if is_turned else 0)
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        axes.set_xlabel("beats this one")
        axes.tick_params(length=0)
        axes.grid(visible=False)
        bar = figure.colorbar(image, ax=axes, orientation="horizontal", fraction=0.06, pad=0.03,
                              format=PERCENT)  # fmt: skip
        star = "" if font_size < SMALLEST_FONT else "\n(*: shown to differ)"
        bar.set_label(f"seeds that the row wins{star}")
        bar.outline.set_visible(False)
        return settled(figure, left=True, bottom=True)


def pairs_figure(
    points: pd.DataFrame, pairs: pd.DataFrame, *, loss: str, narrow: bool = False
) -> Figure:
    """Draw the differences of each pair of optimizers, seed by seed.

    Parameters
    ----------
    points : order, difference, offset of each seed.
    pairs : one row per pair: pair, order, difference_iqm, its ends, and the result as text.
    loss : its name, with its unit.
    narrow : whether to draw for a column of a page.
    """
    rows = pairs.sort_values("order").to_dict("records")
    breaks = "\n" if narrow else " "
    names = [
        f" –{breaks}".join(fitted(label, narrow=narrow) for label in row["pair"].split(" – "))
        for row in rows
    ]
    with figure_style(names):
        figure = new_figure(3.7 if narrow else 9, (0.45 if narrow else ROW) * len(rows) + 0.9)
        axes = figure.subplots()
        axes.axvline(0, color=GREY, linewidth=0.8, zorder=1)
        for index, row in enumerate(rows):
            seeds = points[points["order"] == row["order"]]
            seeds = seeds[np.isfinite(seeds["difference"])]
            axes.scatter(seeds["difference"], index + (seeds["offset"] - 0.5) * 0.45, s=9, color=GREY,
                         alpha=0.45, linewidths=0, zorder=2)  # fmt: skip
            if np.isfinite(row["difference_low"]):
                axes.plot([row["difference_low"], row["difference_high"]], [index, index], color=INK,
                          linewidth=2.2, solid_capstyle="butt", zorder=3)  # fmt: skip
            if np.isfinite(row["difference_iqm"]):
                axes.plot(row["difference_iqm"], index, markersize=5.5, **DIAMOND)
            _beside(axes, index, row["text"].replace(", ", f",{breaks}"))
        _rows(axes, names)
        axes.xaxis.set_major_locator(MaxNLocator(4 if narrow else 8))
        axes.set_xlabel(f"second − first, {loss}{_power_taken_out(axes)}")
        dots = Line2D(
            [], [], marker="o", color=GREY, alpha=0.6, linestyle="", markersize=3.5, label="a seed"
        )
        mean = Line2D([], [], markersize=5.5, label="interquartile mean, 95 %", **DIAMOND)
        figure.legend(handles=[dots, mean], ncols=2, loc="outside upper center", borderaxespad=0.2)
        return settled(figure, left=True)


def _power_taken_out(axes: Axes) -> str:
    """Write tiny or huge numbers of the x axis without their power of ten, and return that as text."""
    power = 10.0 ** np.floor(np.log10(max(map(abs, axes.get_xlim()))))
    if 1e-4 < power < 1e5:
        return ""
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(float(f"{value / power:.3g}"))))
    return f" / {number(power)}"


def _rows(axes: Axes, names: Sequence[str]) -> None:
    """Label an axis of one row per name, the first at the top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def _beside(axes: Axes, index: float, text: str) -> None:
    """Write a text to the right of a row."""
    axes.annotate(text, (1, index), xytext=(4, 0), xycoords=axes.get_yaxis_transform(), fontsize=8,
                  textcoords="offset points", va="center", ha="left", color=INK)  # fmt: skip


def comparison_figures(
    charts: Sequence[Chart], comparison: Comparison, styles: dict[str, SeriesStyle], unit: str
) -> Drawings:
    """Return a figure for each chart, in its initial state: the tuned optimizers.

    Parameters
    ----------
    charts : the charts of the page.
    comparison : the comparison that they show.
    styles : optimizer → how it is drawn.
    unit : of the loss, "" if it has none.
    """
    tables = {
        chart.name: {name: _tuned(table) for name, table in chart.tables.items()} for chart in charts
    }
    first = {chart.name: _values(chart) for chart in charts}
    loss = with_unit(METRICS[f"{comparison.basis.loss}_loss"], unit)
    found: Drawings = {}
    if "targets" in tables:
        chosen, table = first["targets"], tables["targets"]["targets"]
        metric, number_of = chosen["metric"], int(chosen["target"])
        table = table[(table["metric"] == metric) & (table["number"] == number_of)]
        value = chosen["lists"][metric][number_of - 1]
        sign = "≤" if metric.endswith("loss") else "≥"
        target = f"{METRICS[metric]} {sign} {number(float(f'{value:.3g}'))}"
        steps = comparison.targets
        clock = "steps" if steps["steps_median"].equals(steps["epochs_median"]) else "epochs"
        found |= drawing("targets", targets_figure, table, styles, target=target, clock=clock)
    if "profiles" in tables:
        metric, table = first["profiles"]["metric"], tables["profiles"]["profiles"]
        table = table[table["metric"] == metric]
        found |= drawing("profiles", profiles_figure, table, styles, targets=METRICS[metric])
    if "budget" in tables:
        tried = "learning rates" if comparison.is_only_rate else "candidates"
        table = tables["budget"]["budget"]
        found |= drawing("budget", budget_figure, table, styles, loss=loss, tried=tried)
    if "wins" in tables:
        table = tables["wins"]["wins"]
        order = [label for label in comparison.summary["optimizer"] if label in set(table["row"])]
        found |= drawing("wins", wins_figure, table, order)
    if "pairs" in tables:
        points, pairs = tables["pairs"]["differences"], tables["pairs"]["pairs"]
        if len(pairs) > MOST_PAIRS:  # those of the best
            best = str(comparison.summary["optimizer"].iloc[0])
            is_of_best = [
                pair.startswith(f"{best} – ") or pair.endswith(f" – {best}") for pair in pairs["pair"]
            ]
            pairs = pairs[is_of_best]
        found |= drawing("pairs", pairs_figure, points, pairs, loss=loss)
    return found


def _tuned(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["setting"] == "tuned"] if "setting" in table else table


def _values(chart: Chart) -> dict[str, Any]:
    """Return the first values of a chart's controls, and its constants."""
    return {each["name"]: each["value"] for each in chart.spec.get("params", []) if "value" in each}
