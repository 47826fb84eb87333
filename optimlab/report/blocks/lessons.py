"""Lessons from tuning: searches that were too small, early rankings, rates carried over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from optimlab.formatting import number
from optimlab.report import vega
from optimlab.report.block import Block
from optimlab.report.problem_result import ProblemResult
from optimlab.report.vega import Chart
from optimlab.statistics import Comparison
from optimlab.statistics.lessons import alarm_words, foretold_words, settled_from

MOST_PAIRS = 28  # of eight optimizers
FEWEST_POSITIONS = 3  # in a run
TURNED, IN_ORDER = "#D55E00", "#0072B2"


def teaches(experiment: dict[str, Any], comparison: Comparison) -> bool:
    """Return whether tuning has lessons: more than the rate is tuned, or something is scheduled."""
    optimizers = (experiment.get("optimizers") or {}).values()
    return not comparison.is_only_rate or any(about.get("schedules") for about in optimizers)


def alarms(by_problem: dict[str, ProblemResult]) -> list[str]:
    """Return sentences on optimizers that end higher than one that they contain."""
    return [
        (f"{problem}: " if len(by_problem) > 1 else "") + text
        for problem, result in by_problem.items()
        for text in alarm_words(result.comparison.alarms)
    ]


def lessons_block(experiment: dict[str, Any], by_problem: dict[str, ProblemResult]) -> Block | None:
    """Return when the final ranking emerges, and the ratios of the best learning rates."""
    known = {
        k: each.comparison for k, each in by_problem.items() if teaches(experiment, each.comparison)
    }
    heads = {problem: f"{problem}: " if len(by_problem) > 1 else "" for problem in known}
    rows = [
        (
            f"{heads[problem]}{row['optimizer']} / {row['other']}",
            number(float(f"{row['ratio']:.2g}")),
            " to ".join(number(float(f"{row[end]:.2g}")) for end in ("ratio_low", "ratio_high")),
        )
        for problem, comparison in known.items()
        for row in _shown_rates(comparison).to_dict("records")
    ]
    sentences = {problem: foretold_words(each.foretold) for problem, each in known.items()}
    paragraphs = [heads[problem] + text for problem, text in sentences.items() if text]
    if not rows and not paragraphs:
        return None
    carried = (
        "To convert a learning rate from one optimizer to another: the ratio of their best rates, "
        "each tuned separately on the same random subsets of the seeds, and its middle 95 %. rates.csv "
        "has all pairs."
    )
    return Block(
        heading="Lessons from tuning",
        paragraphs=[*paragraphs, *([carried] if rows else [])],
        caption="Ratios of the best learning rates.",
        columns=["Optimizers", "Ratio of their best rates", "Middle 95 %"] if rows else [],
        rows=rows,
    )


def _shown_rates(comparison: Comparison) -> pd.DataFrame:
    """Return the ratios of all pairs or, if they are many, of the best optimizer and each other."""
    table, first = comparison.carried_rates, comparison.summary["optimizer"].iloc[0]
    has_first = (table["optimizer"] == first) | (table["other"] == first)
    return table[has_first] if len(table) > MOST_PAIRS else table


def foretold_chart(comparison: Comparison) -> Iterator[Chart]:
    """Yield a map of when in a run each pair is in its final order."""
    table = comparison.foretold
    if table["share"].nunique() < FEWEST_POSITIONS:
        return
    settled = settled_from(table)
    different = settled_from(table[table["different"].astype(bool)])
    last_first = sorted(settled, key=lambda pair: (pair not in different, -settled[pair]))
    pairs = [pair for pair in settled if pair in last_first[:MOST_PAIRS]]
    state = f"{len(pairs)} pairs"
    if len(pairs) < len(settled):
        state = f"of {len(settled)} pairs, the {len(pairs)} that differ and settle last"
    keys = pd.Series(list(zip(table["better"], table["worse"], strict=True)), table.index)
    table = table[keys.isin(pairs)]
    shares = np.sort(table["share"].unique())
    before = dict(zip(shares, [0.0, *shares[:-1]], strict=True))
    table = table.assign(
        pair=table["better"] + " < " + table["worse"],
        start=100 * table["share"].map(before),
        end=100 * table["share"],
        percent=100 * table["ahead"],
        since=[100 * settled[key] for key in zip(table["better"], table["worse"], strict=True)],
        shown=np.where(table["different"], "shown", "not shown"),
    )
    order = [f"{better} < {worse}" for better, worse in pairs]
    y = (
        alt.Y("pair:N")
        .sort(order)
        .title(None)
        .axis(
            labelExpr=f"{vega.NARROW} ? split(datum.label, ' < ') : datum.label",
            labelLimit=alt.ExprRef(f"{vega.NARROW} ? 110 : 320"),
            labelFontSize=10.5,
            labelLineHeight=11,
            ticks=False,
            domain=False,
        )
    )
    scale = alt.Scale(domain=[0, 50, 100], range=[TURNED, "#f4f1e8", IN_ORDER], interpolate="rgb")
    legend = alt.Legend(title="% of the seeds", orient="top", gradientLength=120)
    base = alt.Chart(alt.NamedData("foretold"))
    tooltip = vega.tooltip(
        {
            "pair": "datum.pair",
            "percent of the run": vega.written("end", ".0f"),
            "percent of the seeds in the final order": vega.written("percent", ".0f"),
            "final difference": "datum.shown",
        }
    )
    last = base.transform_aggregate(groupby=["pair", "since"])
    chart = alt.layer(
        base.mark_rect().encode(
            x=alt.X("start:Q").scale(domain=[0, 100], nice=False).title("percent of the run")
            .axis(grid=False),
            x2=alt.X2("end:Q"), y=y, color=alt.Color("percent:Q", scale=scale, legend=legend),
            tooltip=tooltip,
        ),
        last.mark_tick(thickness=3, color="black", aria=False).encode(
            x=alt.X("since:Q").scale(domain=[0, 100], nice=False), y=y
        ),
    )  # fmt: skip
    words = ", ".join(f"{one} below {two} {100 * settled[one, two]:.0f} %" for one, two in pairs)
    yield Chart(
        name="foretold",
        heading="When the final ranking emerges",
        caption="Each pair, the one that ends lower first, and the share of the seeds on which it is in "
        "that order during the run: blue where most are, orange where most are in the opposite order. "
        "The black line marks the point after which the final order holds on most seeds.",
        alt=f"Map of pairs over the run. In the final order from: {words}.",
        **vega.finish(chart, [], "'Pairs in their final order'", [f"'{state}'"],
                      25 * len(pairs) + 40),
        tables={"foretold": table[["pair", "start", "end", "percent", "since", "shown"]]},
    )  # fmt: skip
