"""Loss, accuracy and gradient norm during training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from optimlab import metrics, statistics
from optimlab.formatting import with_unit
from optimlab.report import vega
from optimlab.report.figures.plots import CLOCKS, clock_of
from optimlab.report.ticks import ROUNDING
from optimlab.report.vega import METRICS, Chart, Palette
from optimlab.statistics import Comparison

IS_LOG = "(log_y && indexof(linear, metric) < 0)"
CHOICES = {"epoch": "epochs", "step": "steps", "seconds": "processor time"}
MOST_ROWS = 30_000  # of the table: where there are many runs, fewer records of each are shown


def traces_chart(
    comparison: Comparison,
    traces: pd.DataFrame,
    palette: Palette,
    unit: str,
    step_seconds: Mapping[str, float],
) -> Iterator[Chart]:
    """Yield the traces of the reported runs: every metric, by epoch, step or processor time.

    Runs in a stack share work, so a run's time is its steps × the time of a step of a run trained alone.
    """
    reported = vega.first_seeds(comparison.reported)[["setting", "optimizer", "seed", "run_id"]]
    most = max(2, min(vega.MOST_RECORDS, MOST_ROWS // max(1, len(reported))))
    thin = vega.thinned(traces, most)
    records = thin[["step", "epoch"]].drop_duplicates("step")  # a run that failed has none of its own
    titles = METRICS | metrics.titles(map(str, thin))
    numbers = thin[["run_id", "step", *(name for name in titles if name in thin)]]
    table = reported.merge(records, how="cross").merge(numbers, how="left", on=["run_id", "step"])
    shown = [name for name in titles if name in table and table[name].notna().any()]
    if table.empty or f"{comparison.basis.loss}_loss" not in shown:
        return
    for name in shown:  # a run that diverged counts as the worst there is
        if metric := metrics.metric_of(name):
            table[name] = table[name].fillna(metric.worst)
    table["seconds"] = table["step"] * table["optimizer"].map(step_seconds).astype(float)
    clocks = [name for name in CHOICES if name != "epoch" or clock_of(traces) == "epoch"]
    clocks = [name for name in clocks if table[name].notna().any()]
    columns = ["setting", "optimizer", "seed", *clocks, *shown]
    names = {name: with_unit(titles[name], unit if name.endswith("_loss") else "") for name in shown}
    boxes, is_shown, hidden = palette.shown()
    chart = alt.layer(
        *_trace_layers(palette),
        data=alt.NamedData("traces"),
        transform=_smoothed(is_shown),
        padding={"left": 5, "top": 5, "right": 5, "bottom": 16},
    )
    controls = [
        vega.constant("labels", palette.labels),
        vega.constant("names", names),
        vega.constant("linear", [name for name in shown if _is_linear(name, table[name])]),
        vega.select("metric", f"{comparison.basis.loss}_loss", names, "Show"),
        vega.setting_choice(comparison, table),
        vega.constant("without_line", _without_line(table, shown)),
        vega.constant("clocks", CLOCKS),
        vega.radio("clock", clocks[0], {name: CHOICES[name] for name in clocks}, "Against"),
        vega.checkbox("log_y", True, "log y"),
        vega.checkbox("log_x", False, "log x"),
        vega.checkbox("bands", True, "bands"),
        vega.checkbox("single", False, "single seeds"),
        vega.slider("smoothing", 0, (0, 0.9), 0.05, "Smoothing"),
        *boxes,
    ]
    steps, kept = traces["step"].nunique(), table["step"].nunique()
    thinned = f" Of {steps:,} recorded steps, {kept} are shown." if steps > kept else ""
    alone = (
        " A click in the legend shows one optimizer only; further clicks add others."
        if len(palette.labels) > 1
        else ""
    )
    timed = (
        " Runs in a stack share work, so processor time is the number of steps times the time of one "
        "step of a run trained alone, without evaluation."
        if "seconds" in clocks
        else ""
    )
    yield Chart(
        name="traces",
        heading="Loss during training",
        caption=f"Lines: medians over {vega.seeds_shown(comparison.reported)}. Bands: the middle half "
        "of them at each step; a single run may leave the band. A run that diverged counts as "
        "infinite; a gradient norm is that of the runs that have one. Smoothing is applied to each run, "
        "before medians are taken: the thin line is the median without it, and single seeds are not "
        f"smoothed.{timed}{alone}{thinned}",
        alt=f"Line chart. Median final losses: {vega.medians(comparison)}.",
        **vega.finish(
            chart,
            controls,
            f"names[metric] + ({IS_LOG} ? ', log scale' : '')",
            [
                vega.rates_words(comparison),
                "smoothing > 0 ? 'smoothing ' + format(smoothing, '.2~f') : ''",
                hidden,
            ],
            380,
            palette.rows(),
        ),
        tables={"traces": table[columns]},
    )


def _without_line(table: pd.DataFrame, shown: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Return setting → metric → which optimizers have no line, in lines of text."""
    keys = ["optimizer", "step"]
    return {
        str(setting): {
            name: statistics.without_line(
                rows.groupby(keys, sort=False)[name].median().rename("median").reset_index()
            )
            .replace(": ", ":\n", 1)
            .split("\n")
            for name in shown
        }
        for setting, rows in table.groupby("setting")
    }


def _is_linear(name: str, values: pd.Series) -> bool:
    """Return whether a metric has no logarithmic axis.

    Accuracies and R² crowd at 1, where logarithms are flat; a user's loss may be negative.
    """
    metric = metrics.metric_of(name)
    return bool(metric and metric.is_higher_better) or bool(values.min() < -ROUNDING)


def _smoothed(is_shown: str) -> Any:
    """Return the transforms that give each run that is shown its smoothed value.

    It is a mean whose weights fall off as sᵈ, d records before and after. With s the smoothing, the
    part before is sᵏ Σ s⁻ⁱ xᵢ over the records i ≤ k, and the part after s⁻ᵏ Σ sⁱ xᵢ over i ≥ k: sums
    that only grow, which is what a window can do. Where a run is infinite it stays so, and nothing near
    it is.
    """
    by_step: Any = {"sort": [alt.SortField("step")], "groupby": ["optimizer", "seed"]}
    raw = f"datum[metric] > {vega.ENDLESS} ? {vega.ENDLESS} : datum[metric]"
    known = f"datum.raw < {vega.ENDLESS} ? 1 : 0"
    total, weights = (
        f"(datum.near * datum.{name}_before + datum.far * datum.{name}_after - {current})"
        for name, current in (("sum", "datum.known * datum.raw"), ("weight", "datum.known"))
    )
    before: Any = {"sum_before": "sum(sum_far)", "weight_before": "sum(weight_far)"}
    after: Any = {"sum_after": "sum(sum_near)", "weight_after": "sum(weight_near)"}
    chart = (
        alt.Chart()
        .transform_filter("datum.setting === setting")
        .transform_filter(is_shown)
        .transform_calculate(raw=raw, time="datum[clock]")
        .transform_filter("isValid(datum.raw)")
        .transform_window(record="row_number()", **by_step)
        .transform_calculate(
            known=known,
            near="smoothing > 0 ? pow(smoothing, datum.record) : 0",
            far="smoothing > 0 ? pow(smoothing, -datum.record) : 0",
        )
        .transform_calculate(
            weight_near="datum.known * datum.near",
            weight_far="datum.known * datum.far",
            sum_near="datum.known * datum.near * datum.raw",
            sum_far="datum.known * datum.far * datum.raw",
        )
        .transform_window(**before, frame=[None, 0], **by_step)
        .transform_window(**after, frame=[0, None], **by_step)
        .transform_calculate(
            value=f"smoothing > 0 && datum.known ? {total} / {weights} : datum.raw",
            x=vega.scaled("datum.time", "log_x"),
            key="'o' + indexof(labels, datum.optimizer)",
        )
        .transform_filter("isValid(datum.x)")
    )
    return chart.transform


def _trace_layers(palette: Palette) -> list[alt.Chart]:
    x = alt.X(
        "x:Q",
        axis=vega.log_axis("log_x", "x", title=None, grid=False),
        scale=alt.Scale(zero=False, nice=False),
    )

    def y(field: str) -> alt.Y:
        return alt.Y(
            f"{field}:Q", axis=vega.log_axis(IS_LOG, "y", title=None), scale=alt.Scale(zero=False)
        )

    smooth, raw = _quartiles("value"), _quartiles("raw")
    colour, dash = palette.colour(legend=True), palette.dash()
    hover, rule = vega.hover_rule(palette, smooth, "value_middle", "x", ["x", "time"], x)
    band = smooth.transform_filter("bands && isValid(datum.low)").mark_area(opacity=0.15, aria=False)
    seeds = (
        alt.Chart()
        .transform_filter("single")
        .transform_calculate(
            y=vega.scaled(f"(datum.raw < {vega.ENDLESS / 1e10} ? datum.raw : null)", IS_LOG)
        )
        .mark_line(strokeWidth=0.6, opacity=0.3, aria=False)
    )
    unsmoothed = raw.transform_filter("smoothing > 0").mark_line(strokeWidth=1, opacity=0.4, aria=False)
    line = smooth.mark_line(strokeWidth=2, aria=False)
    points = smooth.transform_filter(hover).mark_point(filled=True, size=50, opacity=1, aria=False)
    return [
        band.encode(x, y("low"), alt.Y2("high:Q"), colour),
        seeds.encode(x, y("y"), colour, alt.Detail("seed:N")),
        unsmoothed.encode(x, y("middle"), colour),
        line.encode(x, y("middle"), colour, dash),
        points.encode(x, y("middle"), colour),
        rule,
        vega.below("clocks[clock]"),
        vega.inside("without_line[setting][metric]"),
    ]


def _quartiles(field: str) -> Any:
    """Return a chart of median and quartiles over the seeds, of a field and on the chosen scale.

    Every column is named after the field: Vega-Lite makes one aggregate of two with the same groups.
    """
    ends = {"low": "q1", "middle": "median", "high": "q3"}
    summaries: Any = {f"{field}_{name}": f"{op}({field})" for name, op in ends.items()}
    finite = {
        f"{field}_{name}_finite": f"datum.{field}_{name} < {vega.ENDLESS / 1e10} "
        f"? datum.{field}_{name} : null"
        for name in ends
    }
    shown = {name: f"datum.{field}_{name}_finite" for name in ends}
    shown["high"] = f"(isValid({shown['high']}) ? {shown['high']} : datum.{field}_top)"
    least = " : ".join(f"datum.{name} > 0 ? datum.{name}" for name in finite)
    extremes: Any = {
        f"{field}_top": f"max({field}_high_finite)",
        f"{field}_bottom": f"min({field}_positive)",
    }
    return (
        alt.Chart()
        .transform_aggregate(**summaries, groupby=["optimizer", "key", "x", "time"])
        .transform_calculate(**finite)
        .transform_calculate(**{f"{field}_positive": f"{least} : null"})
        .transform_joinaggregate(**extremes)
        .transform_calculate(
            **{
                name: vega.scaled(value, IS_LOG, f"datum.{field}_bottom")
                for name, value in shown.items()
            }
        )
    )
