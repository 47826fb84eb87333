"""Every two optimizers: who beats whom how often, and by how much."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from optimlab.looks import GREY, INK
from optimlab.report.charts import vega
from optimlab.report.charts.vega import METRICS, Chart
from optimlab.statistics import Comparison
from optimlab.wording import p_value_text

ROOM = 0.2  # for the text at the right, of the width of the data


def wins_chart(comparison: Comparison) -> Iterator[Chart]:
    """Yield the overview of all pairs: how often the optimizer of a row beats that of a column."""
    pairs = comparison.pairs
    if pairs.empty:
        return
    columns = ["setting", "better", "worse", "seeds", "share_won", "p_value_adjusted", "different"]
    other = pairs.rename(columns={"better": "worse", "worse": "better"})
    other["share_won"] = 1 - other["share_won"]
    table = pd.concat([pairs[columns], other[columns]], ignore_index=True)
    table = table.rename(columns={"better": "row", "worse": "column"}).astype({"different": int})
    order = [label for label in comparison.summary["optimizer"] if label in set(table["row"])]
    bare: Any = {"ticks": False, "domain": False}
    x = alt.X("column:N").sort(order).title("beats this one")
    x = x.axis(orient="top", labelAngle=0, labelLimit=alt.ExprRef(f"width / {len(order)}"), **bare)
    y = alt.Y("row:N").sort(order).title(None).axis(labelLimit=120, **bare)
    shade = alt.Color("share_won:Q").scale(scheme="purpleorange", domain=[0, 1], reverse=True)
    ink = (
        alt.when("abs(datum.share_won - 0.5) > 0.35")
        .then(alt.value("white"))
        .otherwise(alt.value("black"))
    )
    tooltip = vega.tooltip(row="", column="", share_won=".3~f", p_value_adjusted=".2~g", seeds="d")
    base = alt.Chart(alt.NamedData("wins")).transform_filter("datum.setting === setting")
    text = base.transform_calculate(
        text="format(datum.share_won, '.0%') + (datum.different ? ' *' : '')"
    )
    chart = alt.layer(
        base.mark_rect(strokeWidth=0).encode(x, y, shade.legend(None), tooltip=tooltip),
        text.mark_text(fontSize=12, aria=False, tooltip=None).encode(
            x, y, alt.Text("text:N"), color=ink
        ),
    ).add_params(vega.setting_choice(table))
    tuned = pairs[pairs["setting"] == "tuned"].to_dict("records")
    said = [f"{row['better']} beats {row['worse']} on {100 * row['share_won']:.0f} %" for row in tuned]
    yield Chart(
        name="wins",
        heading="Who beats whom",
        caption="The share of the seeds on which the optimizer of the row ends with a lower loss than "
        "that of the column, ties half: an estimate of the probability that it does so on a new seed. "
        "A star: the pair differs, by the signed-rank test with Holm’s correction over all pairs, "
        "after Friedman’s test.",
        alt=f"Table of shares of the seeds: {'; '.join(said)}.",
        spec=vega.finish(chart, vega.title("'share of seeds that the row wins'"), 38 * len(order)),
        tables={"wins": table},
    )


def differences_chart(comparison: Comparison, unit: str) -> Iterator[Chart]:
    """Yield the differences of every pair, seed by seed."""
    points = vega.first_seeds(comparison.differences)
    finite = points.loc[np.isfinite(points["difference"]), "difference"]
    if finite.empty:
        return
    pairs = comparison.pairs.assign(
        pair=comparison.pairs["better"] + " – " + comparison.pairs["worse"],
        place=comparison.pairs.groupby("setting").cumcount(),
        text=[_result(row) for row in comparison.pairs.to_dict("records")],
    )
    named = ["setting", "better", "worse", "pair", "place"]
    points = points.merge(pairs[named], on=named[:3])
    # Steps of the golden ratio spread neighbours apart, the same way every time.
    points["offset"] = points.groupby(["setting", "pair"]).cumcount() * 0.618034 % 1
    low, high = min(0, finite.min()), max(0, finite.max())
    scale = alt.Scale(domain=[low, high + ROOM * (high - low)], nice=False, clamp=True)
    loss = METRICS[f"{comparison.basis.loss}_loss"] + (f" ({unit})" if unit else "")
    x = alt.X("difference:Q").scale(scale).title(f"{loss}: second − first")
    y = alt.Y("pair:N").sort(field="place", op="min").title(None).axis(labelLimit=170, ticks=False)
    offset = alt.YOffset("offset:Q").scale(domain=[-0.6, 1.6])
    tooltip = vega.tooltip(
        pair="", difference_iqm=".3~g", difference_low=".3~g", difference_high=".3~g",
        smallest_difference=".3~g", seeds_to_settle=",d",
    )  # fmt: skip
    chosen = alt.Chart(alt.NamedData("pairs")).transform_filter("datum.setting === setting")
    seeds = alt.Chart(alt.NamedData("differences")).transform_filter("datum.setting === setting")
    mean = chosen.transform_filter("isFinite(datum.difference_iqm)")
    interval = mean.transform_filter("isValid(datum.difference_low)")
    ends = {"x": alt.X("difference_low:Q").scale(scale), "x2": alt.X2("difference_high:Q")}
    chart = alt.layer(
        alt.Chart(alt.InlineData([{}])).mark_rule(color=GREY, aria=False).encode(x=alt.datum(0)),
        seeds.transform_filter("isFinite(datum.difference)")
        .mark_circle(size=22, opacity=0.45, color=GREY, aria=False)
        .encode(x, y, offset),
        interval.mark_rule(strokeWidth=3, color=INK, aria=False).encode(y=y, **ends),
        mean.mark_point(filled=True, shape="diamond", size=100, color=INK, opacity=1).encode(
            x=alt.X("difference_iqm:Q").scale(scale), y=y, tooltip=tooltip
        ),
        chosen.mark_text(align="right", fontSize=11, color=INK).encode(
            x=alt.value(alt.ExprRef("width")), y=y, text="text:N"
        ),
    ).add_params(vega.setting_choice(pairs))
    shown = ["difference_iqm", "difference_low", "difference_high", "smallest_difference"]
    still_open = pairs[(pairs["setting"] == "tuned") & ~pairs["different"]]
    yield Chart(
        name="pairs",
        heading="Every pair, seed by seed",
        caption="Dots: how much higher the second optimizer of the pair ends than the first, one dot "
        f"a seed ({vega.seeds_shown(comparison.differences)}). Diamonds: the interquartile mean, with "
        "its 95 % bootstrap interval (BCa). At the "
        "right: the share of the seeds on which the first wins, and the adjusted "
        f"p-value.{_what_it_takes(still_open)}",
        alt="Strip chart of differences, one row a pair.",
        spec=vega.finish(
            chart, vega.title("'differences in final loss, seed by seed'"), 34 * pairs["pair"].nunique()
        ),
        tables={
            "pairs": pairs[["setting", "pair", "place", "text", *shown, "seeds_to_settle"]],
            "differences": points[["setting", "pair", "place", "seed", "difference", "offset"]],
        },
    )


def _result(row: dict[Any, Any]) -> str:
    """Return the share of seeds won, and the p-value, in words."""
    return f"{100 * row['share_won']:.0f} %, {p_value_text(row['p_value_adjusted'])}"


def _what_it_takes(still_open: pd.DataFrame) -> str:
    """Return how many seeds the open pairs would take."""
    needed = {
        row["pair"]: float(f"{row['seeds_to_settle']:.2g}")  # it is no more exact than that
        for row in still_open.to_dict("records")
        if np.isfinite(row["seeds_to_settle"])
    }
    if not needed:
        return ""
    said = "; ".join(f"{pair} about {seeds:,.0f}" for pair, seeds in needed.items())
    return f" Were their differences to stay, settling the open pairs would take seeds: {said}."
