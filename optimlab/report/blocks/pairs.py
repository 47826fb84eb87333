"""All pairs of optimizers: how often one beats the other, and by how much."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from optimlab.formatting import p_value_text, with_unit
from optimlab.report import vega
from optimlab.report.style import GREY, INK
from optimlab.report.vega import METRICS, Chart
from optimlab.statistics import Comparison

DECADE = 10  # a number of seeds is not shown if its interval is wider than this factor
LETTER, LABEL_LIMIT = 6.5, 120  # pixels of a letter on an axis, about, and of a label, at most
PAIR_LIMIT = 170  # pixels of a pair, at most; a longer one takes two lines
MOST_PAIRS = 45  # to show at once: of ten optimizers
NARROWER = 180  # pixels, about, that a phone leaves beside the labels
INTERVAL = ["difference_iqm", "difference_low", "difference_high"]


def wins_chart(comparison: Comparison) -> Iterator[Chart]:
    """Yield the overview of all pairs: how often the optimizer of the row beats that of the column."""
    pairs = comparison.pairs.dropna(subset="share_won")  # too few seeds
    if pairs.empty:
        return
    columns = ["setting", "better", "worse", "seeds", "share_won", "p_value_adjusted", "different"]
    other = pairs.rename(columns={"better": "worse", "worse": "better"})
    other["share_won"] = 1 - other["share_won"]
    table = pd.concat([pairs[columns], other[columns]], ignore_index=True)
    table = table.rename(columns={"better": "row", "worse": "column"}).astype({"different": int})
    table["p_value"] = [
        p_value_text(value) if np.isfinite(value) else "" for value in table["p_value_adjusted"]
    ]
    order = [label for label in comparison.summary["optimizer"] if label in set(table["row"])]
    bare: Any = {"ticks": False, "domain": False}
    x = alt.X("column:N").scale(domain=order).title("beats this one")
    cell, longest = f"width / {len(order)}", min(LABEL_LIMIT, LETTER * max(map(len, order)))
    is_crowded = f"{cell} < {longest + 8}"
    turned = [round(longest) * (width / len(order) < longest + 8) for width in (vega.WIDTH, NARROWER)]
    x = x.axis(
        orient="top",
        labelLimit=LABEL_LIMIT,
        labelAngle=alt.ExprRef(f"{is_crowded} ? -90 : 0"),
        labelAlign=alt.ExprRef(f"{is_crowded} ? 'left' : 'center'"),
        labelBaseline=alt.ExprRef(f"{is_crowded} ? 'middle' : 'bottom'"),
        **bare,
    )
    y = alt.Y("row:N").scale(domain=order).title(None).axis(labelLimit=LABEL_LIMIT, **bare)
    shade = alt.Color("share_won:Q").scale(scheme="purpleorange", domain=[0, 1], reverse=True)
    ink = vega.either(alt.ColorValue, "abs(datum.share_won - 0.5) > 0.35", "white", "black")
    tooltip = vega.tooltip(
        {
            "row": "datum.row",
            "column": "datum.column",
            "seeds that the row wins": "format(100 * datum.share_won, '.0f') + ' % of ' + datum.seeds",
            "adjusted p-value": "datum.p_value",
        }
    )
    base = alt.Chart(alt.NamedData("wins")).transform_filter("datum.setting === setting")
    text = base.transform_calculate(
        text="format(100 * datum.share_won, '.0f')"
        f" + ({cell} < 50 ? '' : ' %') + (datum.different ? ({cell} < 50 ? '*' : ' *') : '')"
    )
    chart = alt.layer(
        base.mark_rect(strokeWidth=0).encode(x, y, shade.legend(None), tooltip=tooltip),
        text.mark_text(fontSize=alt.ExprRef(f"{cell} < 50 ? 10 : 12"), aria=False, tooltip=None).encode(
            x, y, alt.Text("text:N"), color=ink
        ),
    )
    tuned = pairs[pairs["setting"] == "tuned"].to_dict("records")
    wins = [f"{row['better']} beats {row['worse']} on {100 * row['share_won']:.0f} %" for row in tuned]
    yield Chart(
        name="wins",
        heading="Pairwise win rates",
        caption="The share of the seeds on which the optimizer of the row ends with a lower loss than "
        "that of the column, counting a tie as half, when both are tuned again: an estimate of the "
        "probability that it wins on a new seed after being tuned again. A star: one of the two is "
        "shown to be better.",
        alt=f"Table of shares of the seeds: {'; '.join(wins)}.",
        **vega.finish(
            chart,
            [vega.setting_choice(comparison, table)],
            "'share of seeds that the row wins'",
            [vega.rates_words(comparison)],
            38 * len(order) + 24,
            (turned[0], turned[1]),
        ),
        tables={"wins": table},
    )


def differences_chart(comparison: Comparison, unit: str) -> Iterator[Chart]:
    """Yield the differences of each pair, seed by seed."""
    points = vega.first_seeds(comparison.differences)
    if not np.isfinite(points["difference"]).any():
        return
    pairs = comparison.pairs.assign(
        pair=comparison.pairs["better"] + " – " + comparison.pairs["worse"],
        order=comparison.pairs.groupby("setting").cumcount(),
        text=[_result(row) for row in comparison.pairs.to_dict("records")],
        seeds_to_settle=comparison.pairs["seeds_to_settle"].astype(float),  # may be too many for an int
    )
    named = ["setting", "better", "worse", "pair", "order"]
    points = points.merge(pairs[named], on=named[:3])
    # Offsets by multiples of the golden ratio keep neighbouring dots apart, and are reproducible.
    points["offset"] = points.groupby(["setting", "pair"]).cumcount() * 0.618034 % 1
    room = f"({vega.NARROW} ? 64 : 100)"  # for the text at the right
    least, most = "ends[setting][0]", "ends[setting][1]"
    end = f"{least} + ({most} - {least}) * width / max(width - {room}, 40)"
    scale = alt.Scale(domain=[alt.ExprRef(least), alt.ExprRef(end)], nice=False, clamp=True)
    loss = METRICS[f"{comparison.basis.loss}_loss"]
    x = alt.X("difference:Q").scale(scale).title(with_unit("second − first", unit))
    x = x.axis(labelBound=True, format=".3~g", tickCount=alt.ExprRef("ceil(width / 70)"))
    y = alt.Y("pair:N").sort(field="order", op="min").title(None)
    is_long = f"length(datum.label) > {PAIR_LIMIT / LETTER:.0f}"
    pair = _in_lines("datum.label", " – ", f"{vega.NARROW} || {is_long}")
    y = y.axis(labelLimit=PAIR_LIMIT, ticks=False, labelExpr=pair)
    offset = alt.YOffset("offset:Q").scale(domain=[-0.6, 1.6])
    tooltip = vega.tooltip(
        {
            "pair": "datum.pair",
            "difference (IQM)": vega.written("difference_iqm", ".3~g"),
            "95 % interval": vega.between("difference_low", "difference_high", ".3~g"),
            "smallest detectable difference": vega.written("smallest_difference", ".3~g"),
            "seeds required": vega.written("seeds_to_settle", ",d"),
        }
    )
    controls = [vega.constant("ends", _ends(points, pairs)), vega.setting_choice(comparison, pairs)]
    words, shown_pairs, rows = [vega.rates_words(comparison)], "", _most_rows(pairs)
    is_shown = "datum.setting === setting"
    if rows > MOST_PAIRS:
        labels = list(comparison.summary["optimizer"])
        controls.append(
            vega.select("one", labels[0], dict(zip(labels, labels, strict=True)), "Pairs of")
        )
        words.append("'pairs of ' + one")
        is_shown += " && (datum.better === one || datum.worse === one)"
        shown_pairs = f" Of {rows} pairs, those of one optimizer are shown; comparisons.csv has all."
        rows = len(labels) - 1
    chosen, seeds = (
        alt.Chart(alt.NamedData(name)).transform_filter(is_shown) for name in ("pairs", "differences")
    )
    mean = chosen.transform_filter("isFinite(datum.difference_iqm)")
    interval = mean.transform_filter("isValid(datum.difference_low)").transform_calculate(
        low=f"max({least}, datum.difference_low)", high=f"min({most}, datum.difference_high)"
    )
    ends = {"x": alt.X("low:Q").scale(scale), "x2": alt.X2("high:Q")}
    chart = alt.layer(
        alt.Chart(alt.InlineData([{}])).mark_rule(color=GREY, aria=False).encode(alt.XDatum(0)),
        seeds.transform_filter("isFinite(datum.difference)")
        .mark_circle(size=22, opacity=0.45, color=GREY, aria=False)
        .encode(x, y, offset),
        interval.mark_rule(strokeWidth=3, color=INK, aria=False).encode(y=y, **ends),
        mean.mark_point(filled=True, shape="diamond", size=100, color=INK, opacity=1).encode(
            x=alt.X("difference_iqm:Q").scale(scale), y=y, tooltip=tooltip
        ),
        chosen.transform_calculate(lines=_in_lines("datum.text", ", "))
        .mark_text(align="right", baseline="middle", fontSize=11, color=INK)
        .encode(x=alt.XValue(alt.ExprRef("width")), y=y, text=alt.Text("lines:N")),
    )
    shown = [*INTERVAL, "smallest_difference"]
    still_open = pairs[(pairs["setting"] == "tuned") & (pairs["outcome"] == "undecided")]
    yield Chart(
        name="pairs",
        heading="Pairwise differences, seed by seed",
        caption="Dots: how much higher the second optimizer of the pair ends than the first, one dot "
        f"per seed ({vega.seeds_shown(comparison.differences)}), both at their chosen "
        f"{comparison.tuned}. Diamonds: the difference between their interquartile means when both are "
        "tuned again, averaged over many tunings, with its 95 % interval, for each pair separately. At "
        "the right: the share of the seeds on which the first wins, and the p-value, adjusted for all "
        f"claims about these optimizers.{shown_pairs}"
        f"{_what_it_takes(still_open, comparison.tuned, has_both=len(set(pairs['setting'])) > 1)}",
        alt="Strip chart of differences, one row per pair.",
        **vega.finish(
            chart,
            controls,
            f"'differences in final {loss}'",
            words,
            34 * rows,
        ),
        tables={
            "pairs": pairs[[*named, "text", *shown, "seeds_to_settle"]],
            "differences": points[[*named, "seed", "difference", "offset"]],
        },
    )


def _most_rows(pairs: pd.DataFrame) -> int:
    """Return the number of pairs of the setting that has most."""
    return int(pairs.groupby("setting")["pair"].nunique().max())


def _ends(points: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, list[float]]:
    """Return for each setting the ends of the axis: of all differences, their means, and 0.

    Intervals are included up to the width of these: wider ones, of few seeds, would squeeze the dots.
    """
    ends = {}
    for setting, group in points.groupby("setting"):
        of_pairs = pairs.loc[pairs["setting"] == setting, INTERVAL]
        every = [0.0, *group["difference"], *of_pairs["difference_iqm"]]
        finite = np.array(every)[np.isfinite(every)]
        low, high = finite.min(), finite.max()
        reach = of_pairs.clip(2 * low - high, 2 * high - low)
        ends[str(setting)] = [
            float(np.nanmin([low, *reach["difference_low"]])),
            float(np.nanmax([high, *reach["difference_high"]])),
        ]
    return ends


def _in_lines(text: str, between: str, where: str = vega.NARROW) -> str:
    """Return an expression: a text, split into two lines `where` this holds: on a phone."""
    return f"({where}) ? split({text}, '{between}') : {text}"


def _result(row: dict[Any, Any]) -> str:
    """Return the share of seeds won and the p-value, as text."""
    if np.isnan(row["p_value_adjusted"]):
        return "too few seeds"
    return f"{100 * row['share_won']:.0f} %, {p_value_text(row['p_value_adjusted'])}"


def _what_it_takes(still_open: pd.DataFrame, tuned: str, *, has_both: bool) -> str:
    """Return how many seeds the open pairs would need, where that is known to within a decade.

    If the reader can choose between tuned and textbook rates, the text says that it is about tuned ones.
    """
    needed = {
        row["pair"]: float(f"{row['seeds_to_settle']:.2g}")  # it is no more exact than that
        for row in still_open.to_dict("records")
        if row["seeds_to_settle_high"] <= DECADE * row["seeds_to_settle_low"]
    }
    if not needed:
        return ""
    texts = "; ".join(
        f"{pair} {f'about {seeds:,.0f}' if seeds < 1e6 else 'over a million'}"
        for pair, seeds in needed.items()
    )
    where = f" At tuned {tuned}: if" if has_both else " If"
    return (
        f"{where} the observed differences hold, separating the open pairs would need this many seeds: "
        f"{texts}."
    )
