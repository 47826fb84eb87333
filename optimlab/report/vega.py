"""What all charts share: the `Chart` class, data encoding, controls, scales, colours and texts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from optimlab import metrics
from optimlab.formatting import PLAIN, number, numbers
from optimlab.report.style import CHART_CONFIG, GREY, INK, SeriesStyle
from optimlab.report.ticks import DENSE, FEWEST_TICKS, ROUNDING, log_ticks
from optimlab.statistics import Comparison

MOST_RECORDS = 120  # shown of a run; longer traces are thinned evenly
LONGEST_SIDE = 32_000  # pixels of a picture, which browsers show
POINTS = 72  # per inch; a unit of an SVG file is one
MOST_SEEDS = 50  # shown of an optimizer at a learning rate
WIDTH = 700  # pixels of a part of a chart, until the page fits it to the window
METRICS = {
    **{
        f"{split}_{metric}": metrics.title(f"{split}_{metric}")
        for metric in metrics.ALL
        for split in ("validation", "train", "test")
    },
    "gradient_norm": "gradient norm",
}
SETTINGS = {"tuned": "tuned", "default": "textbook default"}
FAR_ABOVE = 1e6  # times the median: higher losses, of runs that blew up, would squeeze all others
ENDLESS = 1e100  # replaces infinity, from which quantiles cannot be interpolated
INFINITY = "Infinity"  # text that JavaScript converts to the number
APART = alt.Resolve(  # scales of a chart's parts
    scale=alt.ScaleResolveMap(
        x="independent", y="independent", color="independent", strokeDash="independent"
    )
)
NARROW = "narrow"  # a signal set by the page: whether the chart is on a phone
NARROWER = 265  # pixels, about, that a phone leaves beside the axis and the menu
# Pixels of a title, at most: on a phone, on a screen.
TITLE_LIMIT = {"expr": f"{NARROW} ? 320 : {WIDTH}"}
SUBTITLE = 18  # pixels of the height of a subtitle
LABEL_LIMITS = 220, 150  # pixels of a legend entry, at most: on a screen, on a phone
LEGEND_ROW = 20.9  # pixels of a legend row
AROUND = 96  # pixels of a chart's height taken by title, subtitle and axis
LETTER = 7  # pixels, about, of a letter in a legend


@dataclass(frozen=True)
class Chart:
    """An interactive chart.

    Attributes
    ----------
    name : of its files, and part of its id in the page.
    heading, caption : its title; what it shows.
    alt : a description for readers who cannot see it.
    spec : the Vega-Lite specification, with named data sources in place of data.
    tables : name of the data source → its rows.
    room : the height in pixels that the page reserves, on a screen and on a phone.
    """

    name: str
    heading: str
    caption: str
    alt: str
    spec: dict[str, Any]
    tables: dict[str, pd.DataFrame]
    room: tuple[int, int]

    def on(self, problem: str) -> Chart:
        """Return the chart with the name of its problem, which a saved or printed chart needs, too."""
        if "vconcat" in self.spec:
            first, *others = self.spec["vconcat"]
            first = first | {"title": first["title"] | {"subtitle": problem, "limit": TITLE_LIMIT}}
            wide, narrow = self.room
            room = (wide + SUBTITLE, narrow + SUBTITLE)
            return replace(self, spec=self.spec | {"vconcat": [first, *others]}, room=room)
        title = self.spec["title"]
        state = title["subtitle"]["expr"]
        named = f"{json.dumps(problem, ensure_ascii=False)} + ({state} ? ' · ' + {state} : '')"
        return replace(self, spec=self.spec | {"title": title | {"subtitle": {"expr": named}}})

    @property
    def controls(self) -> list[dict[str, Any]]:
        """The reader's controls, in order, as Vega-Lite binds them."""
        binds = [param["bind"] for param in self.spec.get("params", []) if "bind" in param]
        return [each for bind in binds for each in ([bind] if "input" in bind else bind.values())]

    def content(self) -> dict[str, Any]:
        """Return the chart as the page embeds it."""
        tables = {name: encode(table) for name, table in self.tables.items()}
        return {"spec": self.spec | {"description": self.alt}, "tables": tables, "room": self.room}

    def files(self, dots_an_inch: int = 200) -> dict[str, bytes]:
        """Return the chart as it is first shown, as PNG and SVG: name with ending → content.

        The PNG of a chart with hundreds of rows has fewer dots per inch, so that browsers can show it.
        """
        import vl_convert

        svg = vl_convert.vegalite_to_svg(self.whole_spec())
        sides = [
            float(side) for side in re.findall(r' (?:width|height)="([\d.]+)"', svg[: svg.index(">")])
        ]
        png = vl_convert.svg_to_png(svg, ppi=min(dots_an_inch, POINTS * LONGEST_SIDE / max(sides)))
        return {f"{self.name}.svg": svg.encode(), f"{self.name}.png": png}

    def whole_spec(self) -> dict[str, Any]:
        """Return the chart as Vega-Lite with its data."""
        ends = {np.inf: INFINITY, -np.inf: f"-{INFINITY}"}
        rows = {
            name: table.replace(ends).astype(object).where(table.notna(), None).to_dict("records")
            for name, table in self.tables.items()
        }
        spec = self.spec | {"datasets": self.spec.get("datasets", {}) | rows}
        if spec.get("width") == "container":
            spec |= {"width": WIDTH, "height": self.room[0]}
        return spec


def encode(table: pd.DataFrame) -> dict[str, Any]:
    """Return a table as the page embeds it: one list per column; texts, which recur, as codes.

    Numbers have four significant digits. JSON has no infinity, so it becomes the text "Infinity"; NaN
    becomes null.
    """
    columns: dict[str, Any] = {}
    for name, column in table.items():
        if pd.api.types.is_numeric_dtype(column):
            numbers = column.to_numpy(dtype=float, na_value=np.nan)
            exact = name == "learning_rate"  # a control selects it by its value
            columns[str(name)] = numbers.tolist() if exact else [_rounded(value) for value in numbers]
        else:
            codes, texts = pd.factorize(column)
            columns[str(name)] = {"texts": [str(text) for text in texts], "codes": codes.tolist()}
    return columns


def _rounded(value: float) -> float | str | None:
    if np.isfinite(value):
        return int(value) if abs(value) < 1e15 and value == int(value) else float(f"{value:.4g}")
    return None if np.isnan(value) else INFINITY if value > 0 else f"-{INFINITY}"


def select(name: str, value: str, options: Mapping[str, str], label: str) -> alt.Parameter:
    """Return a drop-down list; `options` maps values to what the reader sees."""
    bind = alt.binding_select(options=list(options), labels=list(options.values()), name=label)
    return alt.param(name=name, value=value, bind=bind)


def radio(name: str, value: str, options: Mapping[str, str], label: str) -> alt.Parameter:
    """Return radio buttons; `options` maps values to what the reader sees. One needs no control."""
    if len(options) < 2:
        return alt.param(name=name, value=value)
    bind = alt.binding_radio(options=list(options), labels=list(options.values()), name=label)
    return alt.param(name=name, value=value, bind=bind)


def checkbox(name: str, value: bool, label: str) -> alt.Parameter:
    """Return a check box."""
    return alt.param(name=name, value=value, bind=alt.binding_checkbox(name=label))


def slider(name: str, value: float, ends: tuple[float, float], step: float, label: str) -> alt.Parameter:
    """Return a slider for a number."""
    bind = alt.binding_range(min=ends[0], max=ends[1], step=step, name=label)
    return alt.param(name=name, value=value, bind=bind)


def constant(name: str, value: Any) -> alt.Parameter:
    """Return a constant that expressions can refer to."""
    return alt.param(name=name, value=value)


def derived(name: str, expression: str) -> alt.Parameter:
    """Return a parameter computed from others; ``<name>_text`` is shown beside the slider <name>."""
    return alt.param(name=name, expr=expression)


class Palette:
    """The styles of an experiment's optimizers, as encodings of the field ``optimizer``."""

    def __init__(self, styles: dict[str, SeriesStyle]) -> None:
        self.labels = list(styles)
        self.colours = [style.colour for style in styles.values()]
        self.dashes = [[2 * length for length in style.dashes] or [1, 0] for style in styles.values()]
        self.shapes = [_shape(style) for style in styles.values()]

    def key(self, label: str) -> str:
        """Return a safe name for an optimizer, where its label could be taken for code or a key."""
        return f"o{self.labels.index(label)}"

    def colour(self, *, legend: bool = True) -> alt.Color:
        scale = alt.Scale(domain=self.labels, range=self.colours)
        return alt.Color("optimizer:N", scale=scale, legend=self._legend() if legend else None)

    def dash(self) -> alt.StrokeDash:
        scale = alt.Scale(domain=self.labels, range=self.dashes)
        return alt.StrokeDash("optimizer:N", scale=scale, legend=self._legend())

    def shape(self) -> alt.Shape:
        scale = alt.Scale(domain=self.labels, range=self.shapes)
        return alt.Shape("optimizer:N", scale=scale, legend=None)

    def _columns(self) -> tuple[int, int]:
        """Return how many legend entries fit side by side: on a screen, on a phone."""
        longest = LETTER * max(map(len, self.labels), default=0)
        wide, narrow = (45 + min(limit, longest) for limit in LABEL_LIMITS)
        return min(6, max(1, 900 // wide)), max(1, NARROWER // narrow)

    def rows(self) -> tuple[int, int]:
        """Return the height of the legend in pixels: on a screen, on a phone."""
        wide, narrow = (int(LEGEND_ROW * -(-len(self.labels) // n)) for n in self._columns())
        return wide, narrow

    def _legend(self) -> alt.Legend:
        wide, narrow = self._columns()
        columns: Any = alt.ExprRef(f"{NARROW} ? {narrow} : {wide}")
        limit: Any = alt.ExprRef(f"{NARROW} ? {LABEL_LIMITS[1]} : {LABEL_LIMITS[0]}")
        return alt.Legend(
            title=None, orient="top", columns=columns, symbolType="stroke", symbolOpacity=1,
            symbolStrokeWidth=2.5, symbolSize=500, symbolLimit=0, labelLimit=limit,
        )  # fmt: skip

    def shown(self) -> tuple[list[alt.Parameter], str, str]:
        """Return a check box for each optimizer, and two expressions about them.

        The first expression is true for a datum of a checked optimizer; the second is a text that names
        the hidden ones. Both, and the page, need the constant `labels`. A click on a legend entry sets
        the same boxes, so there is only one state.
        """
        boxes = [checkbox(f"show_{index}", True, label) for index, label in enumerate(self.labels)]
        names = [str(box.name) for box in boxes]
        hidden = " + ".join(f"({name} ? '' : ', ' + labels[{k}])" for k, name in enumerate(names))
        some = f"({hidden}) ? 'without ' + slice({hidden}, 2) : ''"
        words = f"({' || '.join(names)}) ? {some} : 'no optimizer is chosen'"
        return boxes, f"[{', '.join(names)}][indexof(labels, datum.optimizer)]", words


def _shape(style: SeriesStyle) -> str:
    """Return a marker as a path of SVG in a square from −1 to 1."""
    return "M" + "L".join(f"{x:.3f},{-y:.3f}" for x, y in 2 * style.corners) + "Z"


def scaled(value: str, is_log: str, least: str = "null") -> str:
    """Return an expression: a value, or its logarithm if `is_log` is true; null if it has none.

    A value that has no logarithm, such as a loss of 0, is drawn at `least`, if that is given.
    """
    logarithm = f"{value} > 0 ? log({value}) / LN10 : isValid({least}) ? log({least}) / LN10 : null"
    return f"!isValid({value}) ? null : {is_log} ? ({logarithm}) : {value}"


def log_axis(is_log: str, scale: str, **options: Any) -> alt.Axis:
    """Return the axis of values from `scaled`, with ticks at 1, 2, 5, 10, … if they are logarithms.

    Over many decades the ticks are at powers of ten only, perhaps not at all of them. Vega cannot switch
    a scale from linear to logarithmic, so the values are transformed instead.
    """
    low, high = (f"domain('{scale}')[{end}]" for end in (0, 1))

    def within(digits: Sequence[float]) -> tuple[str, str]:
        """Return expressions: the logarithms of digits × powers of ten on the axis; their number."""
        ticks = [round(power + float(part), 4) for power in range(-12, 13) for part in np.log10(digits)]
        below = [f"({{0}} - floor({{0}}) > {part:.4f})" for part in np.log10(digits)]
        index = f"{len(digits)} * (floor({{0}}) + 12) + {' + '.join(below)}"
        start, stop = index.format(low), index.format(high)
        return f"slice({ticks}, {start}, {stop})", f"{stop} - ({start})"

    stride = f"max(1, ceil(({high} - {low}) / 10))"
    powers = f"sequence(ceil({low} / {stride}) * {stride}, {high} + 1e-9, {stride})"
    are_many = f"{high} - {low} > 5 || {low} < -12 || {high} > 12"
    spread = f"sequence({low}, {high} + 1e-9, max(({high} - {low}) / 4, 1e-9))"  # less than dense
    few = " : ".join(
        f"{count} >= {FEWEST_TICKS} ? {ticks}" for ticks, count in map(within, ((1, 2, 5), DENSE))
    )
    values = f"{is_log} ? ({are_many} ? {powers} : {few} : {spread}) : null"
    smallest, largest = np.log10(PLAIN)
    is_plain = f"{low} > {smallest - 0.01} && {high} < {largest}"
    plain = "format(pow(10, datum.value), '.3~r')"
    label = f"{is_log} ? ({is_plain} ? {plain} : {_scientific('datum.value')}) : datum.label"
    return alt.Axis(values=alt.ExprRef(values), labelExpr=label, **options)


def _scientific(logarithm: str) -> str:
    """Return an expression: a positive number of this logarithm as `formatting.numbers` writes it."""
    power = f"floor({logarithm} + 1e-9)"
    mantissa = f"format(pow(10, {logarithm} - {power}), '.3~r')"
    digit = "substring('⁰¹²³⁴⁵⁶⁷⁸⁹', {0}, {0} + 1)"
    digits = (
        "".join(
            f" + (abs({power}) >= {unit} ? {digit.format(f'floor(abs({power}) / {unit}) % 10')} : '')"
            for unit in (100, 10)
        )
        + f" + {digit.format(f'abs({power}) % 10')}"
    )
    exponent = f"'10' + ({power} < 0 ? '⁻' : ''){digits}"
    times = f"({mantissa} === '1' ? '' : {mantissa} + '×')"
    return f"({power} === 0 ? {mantissa} : {times} + {exponent})"


def below(text: str) -> alt.Chart:
    """Return an axis title given by an expression, which Vega-Lite's own axes do not allow."""
    x, y = alt.XValue(alt.ExprRef("width / 2")), alt.YValue(alt.ExprRef("height + 34"))
    return (
        alt.Chart(alt.InlineData([{}]))
        .mark_text(fontSize=12, color=INK, aria=False, text=alt.ExprRef(text))
        .encode(x=x, y=y)
    )


def inside(text: str) -> alt.Chart:
    """Return lines of text at the top right of a plot, given by an expression."""
    x, y = alt.XValue(alt.ExprRef("width")), alt.YValue(0)
    limit: Any = alt.ExprRef("width")
    return (
        alt.Chart(alt.InlineData([{}]))
        .mark_text(align="right", baseline="top", fontSize=11, color=INK, aria=False, limit=limit,
                   text=alt.ExprRef(text))
        .encode(x=x, y=y)
    )  # fmt: skip


def loss_scale(values: pd.DataFrame) -> tuple[alt.Scale, alt.Axis]:
    """Return scale and axis for losses that may be infinite: logarithmic unless some are negative.

    Zeros, and losses far above all others, are drawn at the ends of the axis.
    """
    ends = log_ends(values)
    if ends is None:
        return alt.Scale(zero=False), alt.Axis(format=".4~g")
    low, high = ends[0] / 1.05, ends[1] * 1.05
    scale = alt.Scale(type="log", domain=[low, high], nice=False, clamp=True)
    return scale, alt.Axis(**labelled(log_ticks(low, high)))


def labelled(ticks: Sequence[float]) -> dict[str, Any]:
    """Return the options of an axis that give it these ticks, written in one notation."""
    values = [float(tick) for tick in ticks]
    texts = json.dumps(numbers(values), ensure_ascii=False)
    return {"values": values, "labelExpr": f"{texts}[indexof({values}, datum.value)]"}


def written_alike(losses: pd.DataFrame) -> dict[str, Any]:
    """Return the options of an axis of these losses, whose ticks Vega chooses: one notation for all."""
    ends = log_ends(losses)
    if ends is None or (ends[0] >= PLAIN[0] and ends[1] < PLAIN[1]):
        return {"format": ".2~g"}
    label = _scientific("(log(datum.value) / LN10)")
    return {"format": ".2~g", "labelExpr": f"datum.label ? {label} : ''"}  # some have no label


def shade(field: str, losses: Any) -> tuple[alt.Color, str, str]:
    """Return a colour scale for losses.

    Parameters
    ----------
    field : the column of losses in a table.
    losses : the losses that set the ends of the scale.

    Returns
    -------
    The encoding, of a field ``shade``; an expression for that field: the loss, clamped to the scale,
    because a logarithmic scale has no colour for a loss that rounding made negative; and an expression
    that is true where the colour is dark.
    """
    values = np.asarray(losses, dtype=float).ravel()
    ends = log_ends(values)
    finite = values[np.isfinite(values)]
    low, high = ends or ((float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0))
    middle = (low * high) ** 0.5 if ends else (low + high) / 2
    kind: Any = "log" if ends else "linear"
    scale = alt.Scale(type=kind, scheme="cividis", domain=[low, high], clamp=True)
    within = f"clamp(datum.{field}, {low}, {high})"
    return alt.Color("shade:Q", scale=scale, legend=None), within, f"datum.{field} <= {middle}"


def log_ends(losses: Any) -> tuple[float, float] | None:
    """Return the ends of a logarithmic axis of losses; None if the losses do not fit on one."""
    values = np.asarray(losses, dtype=float).ravel()
    values = values[np.isfinite(values)]
    positive = values[values > 0]
    if not len(positive) or values.min() < -ROUNDING:
        return None
    return float(positive.min()), float(
        min(positive.max(), FAR_ABOVE * np.median(values)) or positive.max()
    )


def tooltip(lines: Mapping[str, str]) -> Any:
    """Return a tooltip; `lines` maps names to expressions for their text. Empty texts are left out.

    The page lays it out as a table. In Vega-Lite's own tooltips names are keys of an object, which
    cannot be arbitrary text.
    """
    return _tooltip([(json.dumps(name), text) for name, text in lines.items()])


def _tooltip(lines: Sequence[tuple[str, str]]) -> Any:
    rows = ", ".join(f"[{name}, {text}]" for name, text in lines)
    return alt.TooltipValue(alt.ExprRef(f"[{rows}]"))


def either(channel: Any, test: Any, value: Any, otherwise: Any) -> Any:
    """Return an encoding by one of two values.

    Parameters
    ----------
    channel : its class, such as ``alt.OpacityValue``: Altair takes milliseconds to find it for a dict.
    test : an expression or a selection.
    value, otherwise : what it is where the test holds, and elsewhere.
    """
    return channel(**alt.when(test).then(alt.value(value)).otherwise(alt.value(otherwise)))


def written(field: str, form: str = ".4~g", of: str = "datum") -> str:
    """Return an expression: a number as text, "" if it is missing."""
    value = f"{of}[{json.dumps(field)}]"
    some = f"isFinite({value}) ? format({value}, '{form}') : {value} > 0 ? '∞' : '−∞'"
    return f"(!isValid({value}) || isNaN({value}) ? '' : {some})"


def between(low: str, high: str, form: str = ".4~g") -> str:
    """Return an expression: two numbers as "from … to …", "" if one is missing."""
    ends = f"isValid(datum.{low}) && isValid(datum.{high})"
    return f"({ends} ? {written(low, form)} + ' to ' + {written(high, form)} : '')"


def heading(text: Any) -> alt.TitleParams:
    """Return the title of a part of a chart, a text or an expression."""
    return alt.TitleParams(text, anchor="start", frame="bounds")


def hover_rule(
    palette: Palette, chart: Any, value: str, at: str, groupby: list[Any], x: alt.X
) -> tuple[alt.Parameter, alt.Chart]:
    """Return a selection of the nearest `at`, and a rule whose tooltip has all optimizers' values there.

    The chart must have a field ``key`` from `Palette.key`, because a label may not be a legal field, and
    the constant ``labels``.
    """
    hover = alt.selection_point(
        name="hover", fields=[at], nearest=True, on="pointermove", clear="pointerout", empty=False
    )
    of = "(datum.datum || datum)"  # the pointer meets the Voronoi cell around a rule, whose datum it is
    lines = [
        (f"labels[{k}]", written(palette.key(label), of=of)) for k, label in enumerate(palette.labels)
    ]
    tooltips = _tooltip([("'at'", written(groupby[-1], of=of)), *lines])
    opacity = either(alt.OpacityValue, hover, 0.6, 0)
    rule = (
        chart.transform_pivot("key", value=value, groupby=groupby)
        .mark_rule(color=GREY, aria=False)
        .encode(x, opacity=opacity, tooltip=tooltips)
        .add_params(hover)
    )
    return hover, rule


def seeds_shown(every: pd.DataFrame) -> str:
    """Return how many seeds a chart shows, as text: "30 seeds", or "the first 50 of 200 seeds"."""
    seeds = every["seed"].nunique()
    if seeds > MOST_SEEDS:
        return f"the first {MOST_SEEDS} of {seeds} seeds"
    return f"{seeds} seed{'s' * (seeds != 1)}"


def medians(comparison: Comparison) -> str:
    """Return the median final losses as text."""
    losses = comparison.summary.set_index("optimizer")["final_loss_median"]
    return ", ".join(f"{label} {number(value, 3)}" for label, value in losses.items())


def setting_choice(comparison: Comparison, table: pd.DataFrame) -> alt.Parameter:
    """Return the choice between tuned and textbook settings, if the table has both."""
    settings = {key: name for key, name in SETTINGS.items() if key in set(table["setting"])}
    return radio("setting", next(iter(settings)), settings, comparison.tuned.capitalize())


def first_seeds(reported: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of the first `MOST_SEEDS` seeds."""
    seeds = sorted(set(reported["seed"]))[:MOST_SEEDS]
    return reported[reported["seed"].isin(seeds)]


def thinned(traces: pd.DataFrame, most: int = MOST_RECORDS) -> pd.DataFrame:
    """Return the traces at no more than `most` steps, including the first and the last."""
    steps = np.unique(traces["step"])
    if len(steps) > most:
        steps = steps[np.unique(np.linspace(0, len(steps) - 1, most).round().astype(int))]
    return traces[traces["step"].isin(steps)]


def rates_words(comparison: Comparison) -> str:
    """Return an expression: text for the learning rates or candidates of the chosen setting."""
    is_tuned = bool((comparison.summary["learning_rate_edge"] != "only").any())
    what = comparison.tuned
    tuned = f"tuned {what}" if is_tuned else f"the {what} of the experiment file"
    return f"(setting === 'tuned' ? {tuned!r} : 'textbook {what}')"


def finish(
    layers: Any,
    controls: Sequence[alt.Parameter],
    title: str,
    state: Sequence[str],
    height: float,
    legend: tuple[int, int] = (0, 0),
) -> dict[str, Any]:
    """Return the specification of a chart of one part, and its room, which it fills exactly.

    Parameters
    ----------
    layers : the Altair chart.
    controls : the reader's controls, in order, and the constants that expressions refer to.
    title : an expression for the title.
    state : expressions for what the reader has chosen, so that a saved or printed chart shows it; empty
        texts are left out.
    height : of the plot, in pixels.
    legend : the height of the legend in pixels, on a screen and on a phone.
    """
    joined = " + ".join(f"(({each}) ? ' · ' + ({each}) : '')" for each in state)
    spec = _specification(layers, controls) | {
        "width": "container",
        "height": height,
        "title": {
            "text": {"expr": title},
            "subtitle": {"expr": f"slice({joined}, 3)"},
            "anchor": "start",
            "frame": "bounds",
            "limit": TITLE_LIMIT,
        },
        "autosize": {"type": "fit", "contains": "padding"},
    }
    wide, narrow = (round(height) + AROUND + rows for rows in legend)
    return {"spec": spec, "room": (wide, narrow)}


def finish_parts(
    parts: Any, room: tuple[int, int], controls: Sequence[alt.Parameter] = ()
) -> dict[str, Any]:
    """Return the specification of a chart of parts stacked vertically, and its room."""
    return {"spec": _specification(parts, controls), "room": room}


def _specification(chart: Any, controls: Sequence[alt.Parameter]) -> dict[str, Any]:
    """Return the specification, unvalidated: validation is slow, so the tests do it.

    What belongs to the chart as a whole is added here rather than by Altair, where each method of a
    layered chart copies all layers several times.
    """
    spec: dict[str, Any] = chart.to_dict(validate=False)
    params: list[Any] = [each.param for each in [*controls, constant(NARROW, False)]]
    added = [param.to_dict(validate=False) for param in params]
    config = CHART_CONFIG | {"view": spec["config"]["view"] | CHART_CONFIG["view"]}
    return spec | {"params": [*spec.get("params", []), *added], "config": config}
