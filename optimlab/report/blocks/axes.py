"""Searches over several hyper-parameters: one axis, two, all at once, and how much each matters."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from optimlab.experiment.candidates import Axis
from optimlab.formatting import number, with_unit
from optimlab.report import vega
from optimlab.report.blocks.rates import MARKED
from optimlab.report.style import GREY, INK
from optimlab.report.vega import METRICS, Chart, Palette
from optimlab.statistics import Comparison
from optimlab.statistics.axes import positions
from optimlab.statistics.ranking import CANDIDATE, cross_table
from optimlab.statistics.spaces import Space, written

BINS = 6  # of a continuous axis, in the heat map
BEST = 8  # parts of a continuous axis; a line joins the best candidates of neighbouring parts
FEWEST = 3  # axes needed for parallel coordinates
SEEDS = "'medians over the reported seeds'"
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def axes_charts(comparison: Comparison, palette: Palette, unit: str) -> Iterator[Chart]:
    """Yield the charts of a search over more than learning rates; none if there is no such search."""
    if comparison.is_only_rate or not np.isfinite(comparison.candidates["loss"]).any():
        return
    title = with_unit(f"final {METRICS[f'{comparison.basis.loss}_loss']}", unit)
    points = _points(comparison)
    yield _isolation(comparison, points, title)
    yield from _heat_map(comparison, points, title)
    yield from _parallel(comparison, points, title)
    yield from _importance(comparison, palette)


def _points(comparison: Comparison) -> pd.DataFrame:
    """Return one row per candidate and axis: its position on the axis, and its loss."""
    chosen = set(comparison.summary[["optimizer", CANDIDATE]].itertuples(index=False, name=None))
    rows = []
    for row in comparison.candidates.to_dict("records"):
        label, number = row["optimizer"], row[CANDIDATE]
        space = comparison.spaces[label]
        for axis, position in zip(space.axes, positions(space, number), strict=True):
            rows.append(
                {
                    "optimizer": label,
                    "candidate": number,
                    "axis": axis.name,
                    "key": f"{label}: {_name(axis)}",
                    "position": position,
                    "value": written(space.candidates[number].get(axis.name)),
                    "loss": row["loss"],
                    "about": row["hyperparameters"],
                    "chosen": int((label, number) in chosen),
                }
            )
    return pd.DataFrame(rows)


def _name(axis: Axis) -> str:
    return axis.name.replace("learning_rate", "rate")


def _ticks(axis: Axis) -> list[tuple[float, str]]:
    """Return tick positions on an axis, from 0 to 1, and the values there."""
    if not axis.is_span:
        count = len(axis.levels)
        return [((k + 0.5) / count, written(value)) for k, value in enumerate(axis.levels)]
    values = [axis.low, *(axis.at(tick) for tick in TICKS[1:-1]), axis.high]
    return [
        (tick, number(float(f"{value:.2g}")) if axis.scaling == "log" else f"{value:.4g}")
        for tick, value in zip(TICKS, values, strict=True)
    ]


def _tick_table(spaces: dict[str, Space]) -> pd.DataFrame:
    rows = [
        (f"{label}: {_name(axis)}", label, axis.name, position, text)
        for label, space in spaces.items()
        for axis in space.axes
        for position, text in _ticks(axis)
    ]
    return pd.DataFrame(rows, columns=["key", "optimizer", "axis", "position", "text"])


def _best_over_others(points: pd.DataFrame, comparison: Comparison) -> pd.DataFrame:
    """Return the best point in each part of each axis."""
    best = []
    placed = points.dropna(subset="position")
    for (label, name), on_axis in placed.groupby(["optimizer", "axis"], sort=False):
        axis = next(axis for axis in comparison.spaces[str(label)].axes if axis.name == name)
        parts = BEST if axis.is_span else len(axis.levels)
        part = np.minimum((on_axis["position"] * parts).astype(int), parts - 1)
        finite = on_axis[np.isfinite(on_axis["loss"])]
        best.append(finite.loc[finite.groupby(part)["loss"].idxmin()])
    return pd.concat(best, ignore_index=True) if best else points[:0]


def _tooltip() -> Any:
    return vega.tooltip(
        {
            "optimizer": "datum.optimizer",
            "hyper-parameters": "datum.about",
            "median final loss": vega.written("loss"),
        }
    )


def _isolation(comparison: Comparison, points: pd.DataFrame, title: str) -> Chart:
    """Return the loss against each axis, with the best over the others."""
    keys = list(dict.fromkeys(points["key"]))
    scale, axis = vega.loss_scale(points[["loss"]])
    first = _most_important(comparison, keys)
    choice = vega.select("axis", first, {key: key for key in keys}, "Axis")
    shown = "datum.key === axis"
    x = alt.X("position:Q").scale(domain=[0, 1], nice=False).axis(None)
    y = alt.Y("loss:Q").scale(scale).axis(axis).title(title)
    every = alt.Chart(alt.NamedData("points")).transform_filter(shown)
    every = every.transform_filter("isValid(datum.position)")
    best = alt.Chart(alt.NamedData("best")).transform_filter(shown)
    ticks = alt.Chart(alt.NamedData("ticks")).transform_filter(shown)
    width = vega.either(alt.StrokeWidthValue, "datum.chosen", 3, 0)
    bottom = alt.YValue(alt.ExprRef("height"))
    chart = alt.layer(
        ticks.mark_rule(color="#e6e6e6", aria=False).encode(x=x),
        best.mark_line(color="#0072B2", strokeWidth=2.5, aria=False).encode(x, y),
        every.mark_point(filled=True, size=80, color=GREY, opacity=0.9, stroke=MARKED).encode(
            x, y, strokeWidth=width, tooltip=_tooltip()
        ),
        ticks.mark_text(fontSize=11.5, dy=14, color=INK, aria=False).encode(
            x=x, y=bottom, text=alt.Text("text:N")
        ),
        vega.below("axis"),
    )  # fmt: skip
    return Chart(
        name="axes",
        heading="Each hyper-parameter",
        caption="The median final loss of every candidate over the reported seeds, against one of its "
        "hyper-parameters. The line joins the best candidates of neighbouring parts of the axis, "
        "whatever their other hyper-parameters; a red ring marks the candidate that the tuning seeds "
        "chose.",
        alt=f"Scatter plot. {_chosen_words(comparison)}",
        **vega.finish(chart, [choice], "'Loss against ' + axis", [SEEDS], 300),
        tables={
            "points": points,
            "best": _best_over_others(points, comparison),
            "ticks": _tick_table(dict(comparison.spaces)),
        },
    )


def _most_important(comparison: Comparison, keys: list[str]) -> str:
    """Return the key of the best optimizer's most important axis."""
    first = comparison.summary["optimizer"].iloc[0]
    shares = comparison.importance[comparison.importance["optimizer"] == first]
    shares = shares[shares["axis"] != "together"]
    if shares.empty:
        return keys[0]
    name = shares.loc[shares["share"].idxmax(), "axis"].replace("learning_rate", "rate")
    return f"{first}: {name}"


def _chosen_words(comparison: Comparison) -> str:
    chosen = zip(comparison.summary["optimizer"], comparison.summary["hyperparameters"], strict=True)
    return "Chosen: " + "; ".join(f"{label} {words}" for label, words in chosen) + "."


def _heat_map(comparison: Comparison, points: pd.DataFrame, title: str) -> Iterator[Chart]:
    """Yield the best loss over two axes of an optimizer, minimized over its other axes."""
    pairs, cells, dots, ticks = {}, [], [], []
    for label, space in comparison.spaces.items():
        of_optimizer = points[points["optimizer"] == label]
        names = [axis.name for axis in space.axes]
        wide = cross_table(of_optimizer, CANDIDATE, "axis", "position").reindex(columns=names)
        about = of_optimizer.drop_duplicates(CANDIDATE).set_index(CANDIDATE)
        for one, other in itertools.combinations(space.axes, 2):
            key = f"{label}: {_name(one)} × {_name(other)}"
            pairs[key] = key
            table = about.assign(x=wide[one.name], y=wide[other.name], key=key).dropna(subset=["x", "y"])
            table = table[np.isfinite(table["loss"])]
            dots.append(table[["key", "optimizer", "x", "y", "loss", "about", "chosen"]])
            cells.append(_cells(table, one, other).assign(key=key))
            ticks += [(key, "x", *tick) for tick in _ticks(one)]
            ticks += [(key, "y", *tick) for tick in _ticks(other)]
    if not pairs:
        return
    best = f"{comparison.summary['optimizer'].iloc[0]}: "
    first = next((key for key in pairs if key.startswith(best)), next(iter(pairs)))
    choice = vega.select("pair", first, pairs, "Two hyper-parameters")
    shown = "datum.key === pair"
    words = "split(replace(pair, ': ', ' × '), ' × ')"  # the optimizer and two hyper-parameters
    shade, within, is_dark = vega.shade("loss", points["loss"])
    domain = alt.Scale(domain=[0, 1], nice=False)
    x, y = alt.X("x:Q").scale(domain).axis(None), alt.Y("y:Q").scale(domain).axis(None)
    cell = alt.Chart(alt.NamedData("areas")).transform_filter(shown).transform_calculate(shade=within)
    dot = alt.Chart(alt.NamedData("dots")).transform_filter(shown)
    marks = alt.Chart(alt.NamedData("marks")).transform_filter(shown)
    across, up = (marks.transform_filter(f"datum.side === '{side}'") for side in ("x", "y"))
    ink = vega.either(alt.ColorValue, is_dark, "white", "black")
    width = vega.either(alt.StrokeWidthValue, "datum.chosen", 3, 0.7)
    edge = vega.either(alt.StrokeValue, "datum.chosen", MARKED, "white")
    tooltip, bottom = _tooltip(), alt.YValue(alt.ExprRef("height"))
    chart = alt.layer(
        cell.mark_rect(stroke="white").encode(
            x=alt.X("x0:Q").scale(domain).axis(None), x2=alt.X2("x1:Q"),
            y=alt.Y("y0:Q").scale(domain).axis(None), y2=alt.Y2("y1:Q"), color=shade,
        ),
        dot.mark_point(filled=True, size=55, color="black", opacity=1).encode(
            x, y, strokeWidth=width, stroke=edge, tooltip=tooltip
        ),
        cell.transform_calculate(text=f"{vega.NARROW} ? '' : format(datum.loss, '.2~g')")
        .mark_text(fontSize=10.5, dy=-18, aria=False, tooltip=None)
        .encode(alt.X("x:Q").scale(domain).axis(None), alt.Y("y:Q").scale(domain).axis(None),
                alt.Text("text:N"), color=ink),
        across.mark_text(fontSize=11.5, dy=14, color=INK, aria=False).encode(
            x=alt.X("position:Q").scale(domain).axis(None), y=bottom, text=alt.Text("text:N")
        ),
        up.mark_text(fontSize=11.5, dx=-6, align="right", color=INK, aria=False).encode(
            x=alt.XValue(0), y=alt.Y("position:Q").scale(domain).axis(None), text=alt.Text("text:N")
        ),
        vega.below(f"'horizontal: ' + {words}[1] + ', vertical: ' + {words}[2]"),
    )  # fmt: skip
    yield Chart(
        name="heat-map",
        heading="Two hyper-parameters at once",
        caption=f"The lowest median {title} of the candidates in each part of the plane, whatever their "
        "other hyper-parameters. Dark is low. Dots are candidates; the red ring marks the chosen one.",
        alt=f"Heat map. {_chosen_words(comparison)}",
        **vega.finish(chart, [choice], "'Best loss over ' + pair", [SEEDS], 340),
        tables={
            "areas": pd.concat(cells, ignore_index=True),
            "dots": pd.concat(dots, ignore_index=True),
            "marks": pd.DataFrame(ticks, columns=["key", "side", "position", "text"]),
        },
    )


def _cells(table: pd.DataFrame, one: Axis, other: Axis) -> pd.DataFrame:
    """Return the lowest loss in each part of the plane of two axes."""
    across, up = (BINS if axis.is_span else len(axis.levels) for axis in (one, other))
    columns = np.minimum((table["x"] * across).astype(int), across - 1)
    rows = np.minimum((table["y"] * up).astype(int), up - 1)
    best = table["loss"].groupby([columns, rows]).min()
    k, m = (best.index.get_level_values(level).to_numpy() for level in (0, 1))
    return pd.DataFrame(
        {"x0": k / across, "x1": (k + 1) / across, "y0": m / up, "y1": (m + 1) / up,
         "x": (k + 0.5) / across, "y": (m + 0.5) / up, "loss": best.to_numpy()}
    )  # fmt: skip


def _parallel(comparison: Comparison, points: pd.DataFrame, title: str) -> Iterator[Chart]:
    """Yield parallel coordinates of the optimizers with at least three axes."""
    labels = [label for label, space in comparison.spaces.items() if len(space.axes) >= FEWEST]
    if not labels:
        return
    table = points[points["optimizer"].isin(labels) & np.isfinite(points["loss"])]
    table = table.dropna(subset="position").sort_values("loss", ascending=False, kind="stable")
    order = {
        (label, axis.name): k for label in labels for k, axis in enumerate(comparison.spaces[label].axes)
    }
    keys = zip(table["optimizer"], table["axis"], strict=True)
    table = table.assign(order=[order[key] for key in keys])
    ticks = _tick_table({label: comparison.spaces[label] for label in labels})
    ticks = ticks.assign(
        order=[order[key] for key in zip(ticks["optimizer"], ticks["axis"], strict=True)]
    )
    best = next((label for label in comparison.summary["optimizer"] if label in labels), labels[0])
    choice = vega.select("which", best, {label: label for label in labels}, "Optimizer")
    shown = "datum.optimizer === which"
    x = alt.X("axis:N").sort(field="order").title(None)
    x = x.axis(labelAngle=0, labelFontSize=12, ticks=False, domain=False, grid=True, labelPadding=12)
    y = alt.Y("position:Q").scale(domain=[0, 1], nice=False).axis(None)
    shade, within, _ = vega.shade("loss", table["loss"])
    lines = alt.Chart(alt.NamedData("lines")).transform_filter(shown).transform_calculate(shade=within)
    marks = alt.Chart(alt.NamedData("marks")).transform_filter(shown)
    detail = alt.Detail("candidate:N")
    chosen = lines.transform_filter("datum.chosen")
    chart = alt.layer(
        lines.mark_line(strokeWidth=1.6, opacity=0.8, aria=False).encode(
            x, y, color=shade, detail=detail, tooltip=_tooltip()
        ),
        chosen.mark_line(strokeWidth=4, color=MARKED, aria=False).encode(x, y, detail=detail),
        marks.mark_text(fontSize=11.5, dx=6, align="left", color=INK, aria=False,
                        stroke="white", strokeWidth=3).encode(x, y, text=alt.Text("text:N")),
        marks.mark_text(fontSize=11.5, dx=6, align="left", color=INK, aria=False).encode(
            x, y, text=alt.Text("text:N")
        ),
    )  # fmt: skip
    yield Chart(
        name="parallel",
        heading="All hyper-parameters at once",
        caption=f"One line per candidate, dark where its median {title} is low; the chosen one is red.",
        alt=f"Parallel coordinates. {_chosen_words(comparison)}",
        **vega.finish(chart, [choice], "'Candidates of ' + which", [SEEDS], 320),
        tables={"lines": table, "marks": ticks},
    )


def _importance(comparison: Comparison, palette: Palette) -> Iterator[Chart]:
    """Yield how much of the variance of the loss each axis explains."""
    table = comparison.importance
    if table.empty:
        return
    names = table["axis"].str.replace("learning_rate", "rate")
    table = table.assign(row=table["optimizer"] + ": " + names, percent=100 * table["share"])
    rows = list(table["row"])
    x = alt.X("percent:Q").scale(domain=[0, 100], nice=False).title("percent of the variance")
    y = alt.Y("row:N").sort(rows).title(None).axis(labelLimit=190, ticks=False, domain=False)
    base = alt.Chart(alt.NamedData("shares"))
    tooltip = vega.tooltip({"hyper-parameter": "datum.row", "percent": vega.written("percent", ".1f")})
    chart = alt.layer(
        base.mark_bar(height=13).encode(x, y, palette.colour(legend=False), tooltip=tooltip),
        base.mark_text(align="left", dx=5, fontSize=11.5, color=INK, aria=False)
        .encode(x, y, alt.Text("percent:Q", format=".0f")),
    )  # fmt: skip
    largest = table[table["axis"] != "together"]
    largest = largest.loc[largest.groupby("optimizer", sort=False)["share"].idxmax()]
    words = "; ".join(
        f"{row} {share:.0f} %" for row, share in zip(largest["row"], largest["percent"], strict=True)
    )
    yield Chart(
        name="importance",
        heading="How much each hyper-parameter matters",
        caption="The share of the variance of log loss over the search space that each axis explains by "
        "itself, estimated by a random forest fitted to the candidates; “together” is what only several "
        "axes jointly explain. Where an axis explains little, its value hardly matters here.",
        alt=f"Bar chart. The largest of each optimizer: {words}.",
        **vega.finish(chart, [], "'Importance of the hyper-parameters'", [SEEDS], 22 * len(rows)),
        tables={"shares": table},
    )
