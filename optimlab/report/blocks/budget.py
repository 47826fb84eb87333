"""Expected loss against the number of trials."""

from __future__ import annotations

from collections.abc import Iterator

import altair as alt
import numpy as np

from optimlab.formatting import with_unit
from optimlab.report import vega
from optimlab.report.style import GREY
from optimlab.report.ticks import MOST_TICKS
from optimlab.report.vega import METRICS, Chart, Palette
from optimlab.statistics import Comparison

COLUMNS = ["optimizer", "trials", "expected_loss", "interval_low", "interval_high", "rank"]


def budget_chart(comparison: Comparison, palette: Palette, unit: str) -> Iterator[Chart]:
    """Yield the ranking after a number of trials that the reader chooses, above the curves."""
    table = comparison.budget
    if table.empty or table["trials"].max() < 2 or not np.isfinite(table["expected_loss"]).any():
        return
    table = table[np.isfinite(table["expected_loss"])]
    least, most = int(table["trials"].min()), int(table["trials"].max())
    only = comparison.is_only_rate
    what, tuned = ("learning rates",) * 2 if only else ("candidates", "hyper-parameters")
    textbook = "the textbook candidate alone, which is tried before all others"
    title = with_unit(f"expected final {METRICS[f'{comparison.basis.loss}_loss']}", unit)
    scale, axis = vega.loss_scale(table[["interval_low", "expected_loss", "interval_high"]])
    tooltip = vega.tooltip(
        {
            "optimizer": "datum.optimizer",
            f"{what} tried": vega.written("trials", "d"),
            "rank": vega.written("rank", "d"),
            "expected loss": vega.written("expected_loss"),
            "95 % interval": vega.between("interval_low", "interval_high"),
        }
    )
    every = alt.Chart(alt.NamedData("budget"))
    here = every.transform_filter("datum.trials === trials")

    loss = alt.X("expected_loss:Q").scale(scale).axis(axis).title(title)
    rows = alt.Y("optimizer:N").sort(field="rank", op="min").title(None)
    rows = rows.axis(labelLimit=alt.ExprRef(f"{vega.NARROW} ? 80 : 120"))
    colour = palette.colour(legend=False)
    ends = {"x": alt.X("interval_low:Q").scale(scale), "x2": alt.X2("interval_high:Q")}
    ranking = alt.layer(
        here.mark_rule(strokeWidth=3, opacity=0.45, aria=False).encode(y=rows, color=colour, **ends),
        here.mark_point(filled=True, size=110, opacity=1).encode(
            loss, rows, colour, palette.shape(), tooltip=tooltip
        ),
        width=vega.WIDTH,
        height=30 * len(palette.labels),
        title=vega.heading(
            alt.ExprRef(
                f"trials === 0 ? 'ranking with textbook {tuned}' : "
                "'ranking after ' + trials + (trials === 1 ? ' trial' : ' trials')"
            )
        ),
    )

    zero = "" if least else f" (0: {'textbook' if only else 'textbook candidate alone'})"
    x = alt.X("trials:Q").title(f"{what} tried{zero}")
    whole = list(range(least, most + 1, 1 + (most - least) // MOST_TICKS))
    x = x.axis(format="d", values=whole, grid=False)
    y = alt.Y("expected_loss:Q").scale(scale).axis(axis).title(None)
    colour = palette.colour()
    tried, untried = (every.transform_filter(f"datum.trials {sign} 0") for sign in (">", "==="))
    band = tried.mark_area(opacity=0.12, aria=False)
    rule = here.transform_aggregate(groupby=["trials"]).mark_rule(color=GREY, opacity=0.7, aria=False)
    curves = alt.layer(
        band.encode(x, alt.Y("interval_low:Q").scale(scale), alt.Y2("interval_high:Q"), colour),
        tried.mark_line(strokeWidth=2, aria=False).encode(x, y, colour, palette.dash()),
        untried.mark_point(filled=True, size=70, opacity=1, aria=False).encode(
            x, y, colour, palette.shape(), tooltip=tooltip
        ),
        here.mark_point(filled=True, size=60, opacity=1).encode(
            x, y, colour, palette.shape(), tooltip=tooltip
        ),
        rule.encode(x),
        width=vega.WIDTH,
        height=260,
        title=vega.heading(title),
    )
    chart = alt.vconcat(ranking, curves, spacing=36, resolve=vega.APART)
    shared = int(table.groupby("optimizer")["trials"].max().min())  # all have this many
    trials = vega.slider("trials", shared, (least, most), 1, f"{what.capitalize()} tried")
    wide, narrow = (30 * len(palette.labels) + 260 + 197 + rows for rows in palette.rows())
    yield Chart(
        name="budget",
        heading="What tuning buys",
        caption=f"The expected loss if that many {what} {'of the grid ' * only}are tried, drawn at "
        "random, and the tuning seeds choose the best of them. Bands and bars: 95 % bootstrap "
        "intervals over the reported seeds. A run that ends above its initial loss counts as the "
        f"initial loss.{'' if only else f' 0: {textbook}.'}",
        alt=f"Ranking and line chart. Median losses after all trials: {vega.medians(comparison)}.",
        **vega.finish_parts(chart, (wide, narrow), [trials]),
        tables={"budget": table[COLUMNS]},
    )
