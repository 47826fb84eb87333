"""Time to a target, and the profile over all targets."""

from __future__ import annotations

from collections.abc import Iterator

import altair as alt
import numpy as np
import pandas as pd

from optimlab import statistics
from optimlab.formatting import short
from optimlab.report import vega
from optimlab.report.style import INK
from optimlab.report.vega import METRICS, Chart, Palette
from optimlab.statistics import Comparison

ROOM, ROOM_FOR_NEVER = 60, 125  # pixels for the text at the right
COLUMNS = ["setting", "metric", "optimizer", "number", "rank", "reached", "seeds"]
DRAWN = ["epochs_median", "epochs_low", "epochs_high"]
EPOCHS = [*DRAWN, "epochs_expected"]


def targets_chart(comparison: Comparison, palette: Palette) -> Iterator[Chart]:
    """Yield how soon, and how often, each optimizer reaches a target that the reader sets."""
    table = comparison.targets
    if table.empty:
        return
    lists: dict[str, list[float]] = {
        str(metric): sorted(set(targets), reverse="loss" in str(metric))
        for metric, targets in table.groupby("metric", sort=False)["target"]
    }
    keys = zip(table["metric"], table["target"], strict=True)
    table = table.assign(number=[1 + lists[metric].index(target) for metric, target in keys])
    metric, first = _usual_target(lists)
    times = table[DRAWN].to_numpy(dtype=float)
    longest = float(times[np.isfinite(times)].max(initial=1))
    reached = "datum.reached + ' of ' + datum.seeds"
    base = (
        alt.Chart(alt.NamedData("targets"))
        .transform_filter("datum.setting === setting && datum.metric === metric")
        .transform_filter("datum.number === min(target, length(lists[metric]))")
        .transform_calculate(
            median="isFinite(datum.epochs_median) ? datum.epochs_median : null",
            high=f"isFinite(datum.epochs_high) ? datum.epochs_high : {longest}",
            lines=f"isFinite(datum.epochs_median) ? {reached} : {vega.NARROW} "
            f"? [{reached} + ',', 'median: never'] : {reached} + ', median: never'",
        )
    )
    has_never = not np.isfinite(table["epochs_median"]).all()
    room = f"({vega.NARROW} ? 80 : {ROOM_FOR_NEVER})" if has_never else ROOM
    end = f"{longest} * width / max(width - {room}, 40)"
    scale = alt.Scale(domain=[0, alt.ExprRef(end)], nice=False)
    clock = "steps" if table["steps_median"].equals(table["epochs_median"]) else "epochs"
    x = alt.X("median:Q").scale(scale).title(f"{clock} to the target")
    x = x.axis(tickCount=alt.ExprRef("ceil(width / 70)"))
    y = alt.Y("optimizer:N").sort(field="rank", op="min").title(None).axis(labelLimit=140)
    at = "lists[metric][min(target, length(lists[metric])) - 1]"
    is_least = "indexof(metric, 'accuracy') >= 0"
    colour = palette.colour(legend=False)
    tooltip = vega.tooltip(
        {
            "optimizer": "datum.optimizer",
            "rank": vega.written("rank", "d"),
            f"median {clock}": vega.written("epochs_median"),
            "95 % interval": vega.between("epochs_low", "epochs_high"),
            f"expected {clock}": vega.written("epochs_expected"),
            "seeds that reach it": reached,
        }
    )
    interval = base.transform_filter("isValid(datum.epochs_low) && isFinite(datum.epochs_low)")
    ends = {"x": alt.X("epochs_low:Q").scale(scale), "x2": alt.X2("high:Q")}
    chart = alt.layer(
        interval.mark_rule(strokeWidth=3, opacity=0.45, aria=False).encode(y=y, color=colour, **ends),
        base.transform_filter("isValid(datum.median)")
        .mark_point(filled=True, size=110, opacity=1)
        .encode(x, y, colour, palette.shape(), tooltip=tooltip),
        base.mark_text(align="right", baseline="middle", fontSize=11, color=INK).encode(
            x=alt.XValue(alt.ExprRef("width")), y=y, text=alt.Text("lines:N")
        ),
    )
    controls = [
        vega.constant("lists", lists),
        vega.constant("names", {name: METRICS[name] for name in lists}),
        vega.radio("metric", metric, {name: METRICS[name] for name in lists}, "Target of"),
        vega.setting_choice(comparison, table),
        vega.slider("target", first, (1, max(map(len, lists.values()))), 1, "Target, easy to hard"),
        vega.derived("target_text", f"({is_least} ? '≥ ' : '≤ ') + format({at}, '.4~g')"),
    ]
    shown = (table["setting"] == "tuned") & (table["metric"] == metric) & (table["number"] == first)
    in_words = table.loc[shown, "epochs_median"].map(lambda x: "never" if np.isinf(x) else short(x))
    medians = table.loc[shown, "optimizer"] + " " + in_words
    yield Chart(
        name="targets",
        heading="Time to a target",
        caption="The slider sets the target. A run reaches it where its trace, with straight lines "
        "between records, passes it and stays past it for a tenth of the run, or to its end. Dots: the "
        "Kaplan–Meier median over the seeds, with its 95 % interval; a run that never gets there is "
        "censored at its end. At the right: how many seeds reach the target. "
        f"{'The best is at the top. ' if len(palette.labels) > 1 else ''}"
        f"The tooltip of a dot also gives the expected running time: the {clock} of all seeds divided "
        "by the number of seeds that reach the target.",
        alt=f"Dot chart, one row per optimizer. Median {clock} to the target shown first: "
        f"{', '.join(medians)}.",
        **vega.finish(
            chart,
            controls,
            f"names[metric] + ({is_least} ? ' of at least ' : ' of at most ') + format({at}, '.4~g')",
            [vega.rates_words(comparison)],
            34 * len(palette.labels),
        ),
        tables={"targets": table[[*COLUMNS, *EPOCHS]]},
    )


def _usual_target(lists: dict[str, list[float]]) -> tuple[str, int]:
    """Return the metric and the number of the target shown first."""
    accuracies = lists.get("validation_accuracy", [])
    if statistics.TARGET_ACCURACY in accuracies:
        return "validation_accuracy", 1 + accuracies.index(statistics.TARGET_ACCURACY)
    metric = next(iter(lists))
    return metric, -(-len(lists[metric]) // 2)


def profiles_chart(comparison: Comparison, palette: Palette) -> Iterator[Chart]:
    """Yield the performance profiles: the share of targets solved within a multiple of the fastest."""
    table: pd.DataFrame = comparison.profiles
    if table.empty or len(palette.labels) < 2:  # a single optimizer is the fastest everywhere
        return
    metrics = {metric: METRICS[metric] for metric in dict.fromkeys(table["metric"])}
    base = (
        alt.Chart(alt.NamedData("profiles"))
        .transform_filter("datum.setting === setting && datum.metric === metric")
        .transform_calculate(key="'o' + indexof(labels, datum.optimizer)")
    )
    x = alt.X("ratio:Q").scale(type="log", base=2, nice=False)
    x = x.axis(values=[1, 2, 4, 8, 16], grid=False).title("τ, times the steps of the fastest")
    y = alt.Y("share:Q").scale(domain=[0, 1]).title(None)
    y = y.axis(labelExpr="format(100 * datum.value, '.0f') + ' %'")
    colour = palette.colour()
    hover, rule = vega.hover_rule(palette, base, "share", "ratio", ["ratio"], x)
    line = base.mark_line(interpolate="step-after", strokeWidth=2, aria=False)
    point = base.transform_filter(hover).mark_point(filled=True, size=50, opacity=1, aria=False)
    chart = alt.layer(line.encode(x, y, colour, palette.dash()), point.encode(x, y, colour), rule)
    controls = [
        vega.constant("labels", palette.labels),
        vega.constant("names", metrics),
        vega.radio("metric", next(reversed(metrics)), metrics, "Targets of"),
        vega.setting_choice(comparison, table),
    ]
    yield Chart(
        name="profiles",
        heading="All targets at once",
        caption="The share of all (target, seed) pairs that an optimizer solves in at most τ times the "
        "steps of the fastest optimizer on that pair. At τ = 1: how often it is the fastest (ties count "
        "for all). At the right: within 16 times.",
        alt="Line chart of performance profiles, from the share of wins to the share solved within 16 "
        "times the steps of the fastest.",
        **vega.finish(
            chart,
            controls,
            "'share of targets solved within τ'",
            ["'targets of ' + names[metric]", vega.rates_words(comparison)],
            280,
            palette.rows(),
        ),
        tables={"profiles": table[["setting", "metric", "optimizer", "ratio", "share"]]},
    )
