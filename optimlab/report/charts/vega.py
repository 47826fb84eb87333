"""What the charts have in common: what a chart is, its data, controls, scales, colours and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from optimlab.looks import CHART_CONFIG, GREY, INK, Look
from optimlab.statistics import Comparison
from optimlab.wording import number

MOST_RECORDS = 120  # of a run; longer traces are thinned evenly
MOST_SEEDS = 50  # of an optimizer at a learning rate
WIDTH = 700  # of a part of a chart, until the page makes it as wide as there is room
METRICS = {
    "validation_loss": "validation loss",
    "train_loss": "training loss",
    "test_loss": "test loss",
    "validation_accuracy": "validation accuracy",
    "train_accuracy": "training accuracy",
    "test_accuracy": "test accuracy",
    "gradient_norm": "gradient norm",
}
SETTINGS = {"tuned": "tuned", "default": "textbook default"}
MOST_TICKS = 10  # of a logarithmic axis that is decades long
ROUNDING = 1e-12  # a loss that is this little below 0 is 0
FAR_ABOVE = 1e6  # times the median: where runs blow up, what is higher would squeeze all others
ENDLESS = 1e100  # in place of infinity, which quantiles cannot be interpolated from
INFINITY = "Infinity"  # what JavaScript turns into the number where it expects one
APART: Any = dict.fromkeys(("x", "y", "color", "strokeDash"), "independent")  # scales of a chart's parts
NARROW = "width < 560"  # an expression: whether a chart is on a phone


@dataclass(frozen=True)
class Chart:
    """An interactive chart.

    Attributes
    ----------
    name : of its files, and of its place in the page.
    heading, caption : what it is called; what it shows.
    alt : what a reader who cannot see it should know.
    spec : Vega-Lite, with named data sources in place of data.
    tables : source → its rows.
    """

    name: str
    heading: str
    caption: str
    alt: str
    spec: dict[str, Any]
    tables: dict[str, pd.DataFrame]

    def content(self) -> dict[str, Any]:
        """Return what the page holds of the chart."""
        tables = {name: encode(table) for name, table in self.tables.items()}
        return {"spec": self.spec | {"description": self.alt}, "tables": tables}

    def files(self) -> dict[str, bytes]:
        """Return the chart as it is first shown, as PNG and SVG: name with ending → content."""
        import vl_convert

        rows = {
            name: table.replace({np.inf: INFINITY, -np.inf: f"-{INFINITY}"}).to_dict("records")
            for name, table in self.tables.items()
        }
        spec = self.spec | {"datasets": self.spec.get("datasets", {}) | rows, "background": "white"}
        if spec.get("width") == "container":
            spec["width"] = WIDTH
        svg = vl_convert.vegalite_to_svg(spec)
        png = vl_convert.svg_to_png(svg, ppi=200)
        return {f"{self.name}.svg": svg.encode(), f"{self.name}.png": png}


def encode(table: pd.DataFrame) -> dict[str, Any]:
    """Return a table as the page holds it: a list a column; texts, which recur, as places in a list.

    Numbers have four digits. JSON has no infinity: it is the text "Infinity", and NaN is null.
    """
    columns: dict[str, Any] = {}
    for name, column in table.items():
        if pd.api.types.is_numeric_dtype(column):
            numbers = column.to_numpy(dtype=float, na_value=np.nan)
            exact = name == "learning_rate"  # it is chosen by its value
            columns[str(name)] = numbers.tolist() if exact else [_rounded(value) for value in numbers]
        else:
            places, texts = pd.factorize(column)
            columns[str(name)] = {"texts": [str(text) for text in texts], "places": places.tolist()}
    return columns


def _rounded(value: float) -> float | str | None:
    if np.isfinite(value):
        return int(value) if abs(value) < 1e15 and value == int(value) else float(f"{value:.4g}")
    return None if np.isnan(value) else INFINITY if value > 0 else f"-{INFINITY}"


def select(name: str, value: str, options: Mapping[str, str], label: str) -> alt.Parameter:
    """Return a choice from a list: value → what the reader sees."""
    bind = alt.binding_select(options=list(options), labels=list(options.values()), name=label)
    return alt.param(name=name, value=value, bind=bind)


def radio(name: str, value: str, options: Mapping[str, str], label: str) -> alt.Parameter:
    """Return a choice of a few: value → what the reader sees. One option alone is no choice."""
    if len(options) < 2:
        return alt.param(name=name, value=value)
    bind = alt.binding_radio(options=list(options), labels=list(options.values()), name=label)
    return alt.param(name=name, value=value, bind=bind)


def checkbox(name: str, value: bool, label: str) -> alt.Parameter:
    """Return a choice of yes or no."""
    return alt.param(name=name, value=value, bind=alt.binding_checkbox(name=label))


def slider(name: str, value: float, ends: tuple[float, float], step: float, label: str) -> alt.Parameter:
    """Return a choice of a number."""
    bind = alt.binding_range(min=ends[0], max=ends[1], step=step, name=label)
    return alt.param(name=name, value=value, bind=bind)


def constant(name: str, value: Any) -> alt.Parameter:
    """Return what expressions may name, and no reader changes."""
    return alt.param(name=name, value=value)


class Palette:
    """The looks of an experiment's optimizers, as encodings of the field ``optimizer``."""

    def __init__(self, styles: dict[str, Look]) -> None:
        self.labels = list(styles)
        self.colours = [look.colour for look in styles.values()]
        self.dashes = [[2 * length for length in look.dashes] or [1, 0] for look in styles.values()]

    def colour(self, *, legend: bool = True) -> alt.Color:
        scale = alt.Scale(domain=self.labels, range=self.colours)
        return alt.Color("optimizer:N", scale=scale, legend=self._legend() if legend else None)

    def dash(self) -> alt.StrokeDash:
        scale = alt.Scale(domain=self.labels, range=self.dashes)
        return alt.StrokeDash("optimizer:N", scale=scale, legend=self._legend())

    def _legend(self) -> alt.Legend:
        columns: Any = alt.ExprRef(f"{NARROW} ? 2 : 6")
        return alt.Legend(
            title=None, orient="top", columns=columns, symbolType="stroke", symbolOpacity=1,
            symbolStrokeWidth=2.5, symbolSize=500, labelLimit=220,
        )  # fmt: skip

    def shown(self) -> tuple[list[alt.Parameter], str]:
        """Return a check box for each optimizer, and the expression that is true for the checked."""
        boxes = [checkbox(f"show_{place}", True, label) for place, label in enumerate(self.labels)]
        checked = ", ".join(box.name for box in boxes)
        return boxes, f"[{checked}][indexof(labels, datum.optimizer)]"


def scaled(value: str, is_log: str) -> str:
    """Return an expression: a value, or its logarithm where a check box says so; null if it has none."""
    has_none = f"!isValid({value}) || ({is_log} && {value} <= 0)"
    return f"{has_none} ? null : {is_log} ? log({value}) / LN10 : {value}"


def log_axis(is_log: str, scale: str, **options: Any) -> alt.Axis:
    """Return the axis of values that `scaled` gave, with ticks at 1, 2, 5, 10, … of logarithms.

    Over many decades they are at powers of ten alone, and not at each. Vega cannot turn a linear scale
    into a logarithmic one, so the values are turned instead.
    """
    ticks = [round(power + float(part), 4) for power in range(-12, 13) for part in np.log10([1, 2, 5])]
    low, high = (f"domain('{scale}')[{end}]" for end in (0, 1))

    def place(value: str) -> str:
        rest = f"({value} - floor({value}))"
        within = f"{rest} > 0.699 ? 3 : {rest} > 0.3011 ? 2 : {rest} > 0 ? 1 : 0"
        return f"3 * (floor({value}) + 12) + ({within})"

    stride = f"max(1, ceil(({high} - {low}) / 10))"
    powers = f"sequence(ceil({low} / {stride}) * {stride}, {high} + 1e-9, {stride})"
    are_many = f"{high} - {low} > 5 || {low} < -12 || {high} > 12"
    few = f"slice({ticks}, {place(low)}, {place(high)})"
    values = f"{is_log} ? ({are_many} ? {powers} : {few}) : null"
    power = "pow(10, datum.value)"
    short = f"format({power}, {power} < 1e-3 || {power} >= 1e5 ? '.0e' : '.1~r')"
    label = f"{is_log} ? {short} : datum.label"
    return alt.Axis(values=alt.ExprRef(values), labelExpr=label, **options)


def title(text: str) -> alt.TitleParams:
    """Return a title that is an expression."""
    return alt.TitleParams(alt.ExprRef(text), anchor="start", frame="bounds")


def below(text: str) -> alt.Chart:
    """Return the title of a horizontal axis, as an expression; Vega-Lite has none such."""
    x, y = alt.value(alt.ExprRef("width / 2")), alt.value(alt.ExprRef("height + 34"))
    return (
        alt.Chart(alt.InlineData([{}]))
        .mark_text(fontSize=12, color=INK, aria=False, text=alt.ExprRef(text))
        .encode(x=x, y=y)
    )


def round_ticks(low: float, high: float, digits: Sequence[int] = (1, 2, 5)) -> list[float]:
    """Return the numbers 1, 2, 5, 10, … times powers of ten between two positive ends."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = [float(f"{digit}e{power}") for power in powers for digit in digits]
    return [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]


def loss_scale(values: pd.DataFrame) -> tuple[alt.Scale, alt.Axis]:
    """Return scale and axis for losses that may be infinite: logarithmic unless there are negative ones.

    What is 0 is drawn at the end of the axis, and so is what is far above the others.
    """
    ends = log_ends(values)
    if ends is None:
        return alt.Scale(zero=False), alt.Axis(format=".4~g")
    low, high = ends[0] / 1.05, ends[1] * 1.05
    ticks = round_ticks(low, high, (1,) if high > 3e3 * low else (1, 2, 5))
    ticks = ticks[:: -(-len(ticks) // MOST_TICKS)] if high > 3e3 * low else ticks
    scale = alt.Scale(type="log", domain=[low, high], nice=False, clamp=True)
    return scale, alt.Axis(values=ticks, format=".4~g")


def log_ends(losses: Any) -> tuple[float, float] | None:
    """Return where a logarithmic axis of losses begins and ends; None where they cannot be on one."""
    values = np.asarray(losses, dtype=float).ravel()
    values = values[np.isfinite(values)]
    positive = values[values > 0]
    if not len(positive) or values.min() < -ROUNDING:
        return None
    return float(positive.min()), float(
        min(positive.max(), FAR_ABOVE * np.median(values)) or positive.max()
    )


def tooltip(**formats: str) -> list[alt.Tooltip]:
    """Return what a tooltip shows: field → format of a number, or "" for a text."""
    tips = []
    for name, form in formats.items():
        tip = alt.Tooltip(f"{name}:{'Q' if form else 'N'}", title=name.replace("_", " "))
        tips.append(tip.format(form) if form else tip)
    return tips


def heading(text: str) -> alt.TitleParams:
    """Return the title of a part of a chart."""
    return alt.TitleParams(text, anchor="start", frame="bounds")


def hover_rule(
    palette: Palette, chart: Any, value: str, at: str, groupby: list[Any], x: alt.X
) -> tuple[alt.Parameter, alt.Chart]:
    """Return a selection of the nearest `at`, and the rule that shows all optimizers' values there.

    The chart has a field ``key``: "o" and the optimizer's place, since a label may be no legal field.
    """
    hover = alt.selection_point(
        name="hover", fields=[at], nearest=True, on="pointermove", clear="pointerout", empty=False
    )
    tooltips = [alt.Tooltip(f"{groupby[-1]}:Q", title="at", format=".4~g")]
    tooltips += [
        alt.Tooltip(f"o{k}:Q", title=label, format=".4~g") for k, label in enumerate(palette.labels)
    ]
    opacity = alt.when(hover).then(alt.value(0.6)).otherwise(alt.value(0))
    rule = (
        chart.transform_pivot("key", value=value, groupby=groupby)
        .mark_rule(color=GREY, aria=False)
        .encode(x, opacity=opacity, tooltip=tooltips)
        .add_params(hover)
    )
    return hover, rule


def seeds_shown(every: pd.DataFrame) -> str:
    """Return whose seeds a chart shows, in words: "30 seeds", or "the first 50 of 200 seeds"."""
    seeds = every["seed"].nunique()
    return f"the first {MOST_SEEDS} of {seeds} seeds" if seeds > MOST_SEEDS else f"{seeds} seeds"


def medians(comparison: Comparison) -> str:
    """Return the median final losses in words."""
    losses = comparison.summary.set_index("optimizer")["final_loss_median"]
    return ", ".join(f"{label} {number(value, 3)}" for label, value in losses.items())


def setting_choice(table: pd.DataFrame) -> alt.Parameter:
    """Return the choice between tuned and textbook learning rates, where the table has both."""
    there = {key: name for key, name in SETTINGS.items() if key in set(table["setting"])}
    return radio("setting", next(iter(there)), there, "Learning rates")


def first_seeds(reported: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of the first few seeds."""
    seeds = sorted(set(reported["seed"]))[:MOST_SEEDS]
    return reported[reported["seed"].isin(seeds)]


def thinned(traces: pd.DataFrame, most: int = MOST_RECORDS) -> pd.DataFrame:
    """Return the traces at no more than so many steps, the first and the last among them."""
    steps = np.unique(traces["step"])
    if len(steps) > most:
        steps = steps[np.unique(np.linspace(0, len(steps) - 1, most).round().astype(int))]
    return traces[traces["step"].isin(steps)]


def finish(chart: Any, title: alt.TitleParams | None = None, height: float = 300) -> dict[str, Any]:
    """Return the specification, checked against Vega-Lite's schema."""
    if title is not None:
        autosize = alt.AutoSizeParams(type="fit-x", contains="padding")
        chart = chart.properties(width="container", height=height, title=title, autosize=autosize)
    return dict(chart.configure(**CHART_CONFIG).to_dict())
