"""Every learning rate: final losses, outcomes, and the traces of a selected cell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from optimlab import statistics
from optimlab.formatting import number, numbers, split_name, with_unit
from optimlab.report import vega
from optimlab.report.figures.plots import CLOCKS, clock_of
from optimlab.report.style import GREY, INK
from optimlab.report.ticks import round_ticks
from optimlab.report.vega import METRICS, Chart, Palette
from optimlab.statistics import Comparison
from optimlab.statuses import STATUSES

BAD, MARKED = "#d8d8d8", "#cc0000"


def rates_chart(
    comparison: Comparison, runs: pd.DataFrame, traces: pd.DataFrame, palette: Palette, unit: str
) -> Iterator[Chart]:
    """Yield the final loss against the rate, the outcome of every cell, and the traces of one cell."""
    summary = comparison.summary
    cells, bands = (
        table.assign(key=table["optimizer"].map(palette.key))
        for table in (_cells(statistics.final_bands(runs), summary), _cell_traces(runs, traces))
    )
    if cells.groupby("optimizer").size().max() < 2 or bands.empty:
        return
    rates = sorted(set(cells["learning_rate"]))
    names = numbers(rates)
    bind: Any = {
        "key": alt.binding_select(
            options=[palette.key(label) for label in palette.labels],
            labels=palette.labels,
            name="Optimizer",
        ),
        "learning_rate": alt.binding_select(options=rates, labels=names, name="Learning rate"),
    }
    cell = alt.selection_point(
        name="cell",
        fields=["key", "learning_rate"],
        on="click",
        clear=False,
        toggle=False,
        value=[
            {
                "key": palette.key(summary["optimizer"].iloc[0]),
                "learning_rate": float(summary["learning_rate"].iloc[0]),
            }
        ],
        bind=bind,
    )
    loss = with_unit(METRICS[f"{comparison.basis.loss}_loss"], unit)
    chart = alt.vconcat(
        _sensitivity(cells, palette, cell, f"final {loss}"),
        _outcomes(cells, palette, cell, names, with_unit("median final loss", unit)),
        _traces_of_cell(bands, cell, with_unit("loss during training", unit), CLOCKS[clock_of(traces)]),
        spacing=36,
        resolve=vega.APART,
    )
    chosen = zip(summary["optimizer"], summary["learning_rate"], strict=True)
    wide, narrow = (26 * len(palette.labels) + 260 + 220 + 326 + rows for rows in palette.rows())
    yield Chart(
        name="learning-rates",
        heading="Every learning rate",
        caption="Top: the median over all seeds and their middle half; a ring marks the rate that the "
        "tuning seeds alone chose; values too high for the axis are drawn at its top. Middle: the "
        "median final loss of every optimizer and rate, dark where it is low, or what went wrong in at "
        "least half of the runs. Select a point or a cell, by a click or from the lists, to see its "
        "traces at the bottom.",
        alt="Line chart, table of outcomes, and traces of one cell. Chosen learning rates: "
        + ", ".join(f"{label} {number(rate)}" for label, rate in chosen)
        + ".",
        **vega.finish_parts(chart, (wide, narrow)),
        tables={"cells": cells, "cell_traces": bands},
    )


def _cells(bands: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """Return one row per optimizer and learning rate: what the page shows of it."""
    chosen = set(zip(summary["optimizer"], summary["learning_rate"], strict=True))
    keys = zip(bands["optimizer"], bands["learning_rate"], strict=True)
    return bands[["optimizer", "learning_rate", "low", "median", "high"]].assign(
        rate=_written(bands["learning_rate"]),
        written=[number(float(f"{median:.2g}")) for median in bands["median"]],
        bad=[_worst(row) for row in bands.to_dict("records")],
        chosen=[int(key in chosen) for key in keys],
    )


def _worst(row: dict[Any, Any]) -> str:
    """Return the most common bad status in a cell; "" if fewer than half of its runs went wrong."""
    shares = {status: row[status] for status in STATUSES[1:]}
    return max(shares, key=lambda status: shares[status]) if sum(shares.values()) >= 0.5 else ""


def _cell_traces(runs: pd.DataFrame, traces: pd.DataFrame) -> pd.DataFrame:
    """Return the bands of training and validation loss for every optimizer and learning rate."""
    thin = vega.thinned(traces, vega.MOST_RECORDS // 2)
    pieces = [
        statistics.trace_bands(runs, thin, f"{split}_loss").assign(split=split_name(split))
        for split in ("train", "validation")
        if thin[f"{split}_loss"].notna().any()
    ]
    columns = ["optimizer", "split", "learning_rate", "rate", "time", "low", "median", "high"]
    if not pieces:
        return pd.DataFrame(columns=columns)
    table = pd.concat(pieces, ignore_index=True).rename(columns={clock_of(traces): "time"})
    if vega.log_ends(table["low"]) is not None:  # a 0 is drawn at the bottom of its cell's axis
        ends = table[["low", "median", "high"]]
        cell = [table["optimizer"], table["learning_rate"]]
        least = ends.where(ends > 0).min(axis=1).groupby(cell).transform("min")
        for name, losses in ends.items():
            table[name] = losses.where(losses.isna() | (losses > 0), least)
    return table.assign(rate=_written(table["learning_rate"]))[columns]


def _written(rates: pd.Series) -> pd.Series:
    """Return learning rates as texts of one notation."""
    distinct = sorted(set(rates))
    return rates.map(dict(zip(distinct, numbers(distinct), strict=True)))


def _sensitivity(cells: pd.DataFrame, palette: Palette, cell: Any, title: str) -> Any:
    """Return the final loss against the learning rate; a click on a point selects its cell."""
    scale, axis = vega.loss_scale(cells[["low", "median", "high"]])
    rates = sorted(set(cells["learning_rate"]))
    powers = round_ticks(rates[0], rates[-1], digits=(1,))
    x = alt.X("learning_rate:Q").scale(type="log", nice=False).title("learning rate")
    x = x.axis(**vega.labelled(powers if len(powers) > 2 else rates), grid=False)
    y = alt.Y("median:Q").scale(scale).axis(axis).title(None)
    base = alt.Chart(alt.NamedData("cells")).transform_filter("isFinite(datum.median)")
    band = base.transform_filter("isFinite(datum.high)").mark_area(opacity=0.12, aria=False)
    line = base.mark_line(strokeWidth=2, aria=False)
    point = base.mark_point(filled=True, size=90, opacity=1, stroke=INK, cursor="pointer")
    ring: Any = alt.when(cell).then(alt.value(3)).when("datum.chosen").then(alt.value(1.5))
    width = alt.StrokeWidthValue(**ring.otherwise(alt.value(0)))
    tooltip = vega.tooltip(
        {
            "optimizer": "datum.optimizer",
            "learning rate": "datum.rate",
            "median final loss": vega.written("median"),
            "middle half": vega.between("low", "high"),
        }
    )
    colour = palette.colour()
    return alt.layer(
        band.encode(x, alt.Y("low:Q").scale(scale), alt.Y2("high:Q"), colour),
        line.encode(x, y, colour, palette.dash()),
        point.encode(x, y, colour, palette.shape(), strokeWidth=width, tooltip=tooltip).add_params(cell),
        *([] if np.isfinite(cells["median"]).any() else [vega.inside("'no median is finite'")]),
        width=vega.WIDTH,
        height=260,
        title=vega.heading(title),
    )


def _outcomes(cells: pd.DataFrame, palette: Palette, cell: Any, names: list[str], title: str) -> Any:
    """Return a grid of all cells, coloured by their median loss; a click selects one."""
    bare: Any = {"ticks": False, "domain": False}
    x = alt.X("rate:O").scale(domain=names).title("learning rate").axis(labelAngle=0, **bare)
    y = alt.Y("optimizer:N").scale(domain=palette.labels).title(None)
    y = y.axis(labelLimit=alt.ExprRef(f"{vega.NARROW} ? 80 : 120"), **bare)
    is_bad = "datum.bad || !isFinite(datum.median)"
    shade, within, is_dark = vega.shade("median", cells.loc[cells["bad"] == "", "median"])
    fill = alt.when(is_bad).then(alt.value(BAD)).otherwise(shade)
    ink = vega.either(alt.ColorValue, f"!({is_bad}) && {is_dark}", "white", "black")
    width = vega.either(alt.StrokeWidthValue, cell, 3, 0)
    tooltip = vega.tooltip(
        {
            "optimizer": "datum.optimizer",
            "learning rate": "datum.rate",
            "median final loss": vega.written("median"),
            "at least half of the runs": "datum.bad",
        }
    )
    base = alt.Chart(alt.NamedData("cells")).transform_calculate(shade=within)
    text = base.transform_calculate(text=f"{vega.NARROW} ? '' : datum.bad ? datum.bad : datum.written")
    return alt.layer(
        base.mark_rect(stroke=MARKED, cursor="pointer").encode(
            x, y, fill, strokeWidth=width, tooltip=tooltip
        ),
        text.mark_text(fontSize=10.5, limit=alt.ExprRef("width / 11"), aria=False, tooltip=None).encode(
            x, y, alt.Text("text:N"), color=ink
        ),
        width=vega.WIDTH,
        height=26 * len(palette.labels),
        title=vega.heading(title),
    )


def _traces_of_cell(bands: pd.DataFrame, cell: Any, title: str, clock: str) -> Any:
    """Return the training and validation loss during training in the selected cell."""
    is_log = vega.log_ends(bands["low"]) is not None
    scale = alt.Scale(type="log" if is_log else "linear", nice=False)
    axis = alt.Axis(tickCount=5, grid=False, **vega.written_alike(bands[["low", "high"]]))
    splits = [split for split in ("training", "validation") if split in set(bands["split"])]
    colours = {"training": GREY, "validation": "#0072B2"}
    legend = alt.Legend(
        title=None, orient="top", symbolOpacity=1, symbolType="stroke", symbolStrokeWidth=2.5
    )
    colour = alt.Color("split:N").scale(domain=splits, range=[colours[split] for split in splits])
    colour = colour.legend(legend)
    x = alt.X("time:Q").title(clock).axis(grid=False, tickCount=10)
    y = alt.Y("median:Q").scale(scale).axis(axis).title(None)
    chosen = alt.Chart(alt.NamedData("cell_traces")).transform_filter(cell)
    line = chosen.transform_filter("isFinite(datum.median)")
    if is_log:  # where all losses of a cell are 0
        line = line.transform_filter("datum.low > 0")
    cell_text = "datum.optimizer + ' at learning rate ' + datum.rate"
    has_line = f"datum.finite > {len(splits)}"
    label = (
        chosen.transform_calculate(is_finite="isFinite(datum.median) ? 1 : 0")
        .transform_aggregate(finite="sum(is_finite)", groupby=["optimizer", "rate"])
        .transform_calculate(text=f"{has_line} ? {cell_text} : [{cell_text}, '{statistics.NO_LINE}']")
    )
    return alt.layer(
        line.transform_filter("isFinite(datum.high)").mark_area(opacity=0.15, aria=False)
        .encode(x, alt.Y("low:Q").scale(scale), alt.Y2("high:Q"), colour),
        line.mark_line(strokeWidth=2, aria=False).encode(x, y, colour),
        label.mark_text(align="right", baseline="top", fontSize=12, color=INK,
                        limit=alt.ExprRef("width"))
        .encode(x=alt.XValue(alt.ExprRef("width")), y=alt.YValue(0), text=alt.Text("text:N")),
        width=vega.WIDTH,
        height=220,
        title=vega.heading(title),
    )  # fmt: skip
