"""The figure of the steps: a panel a batch size, a bar a contender, and the limit as a line."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pandas as pd

from benchmarks.contenders import ALONE, OURS
from benchmarks.steps import BATCHES, best_stacks

mpl.use("Agg")
from matplotlib import pyplot as plt

MINE, THEIRS, LIMIT = "#0072B2", "#B8B8B8", "#D55E00"


def draw(rows: pd.DataFrame, folder: Path) -> None:
    """Draw Adam's steps, at each contender's best stack size, to steps.png and steps.svg."""
    adam = best_stacks(rows)[lambda each: each["rule"] == "Adam"]
    order = adam[adam["batch"] == BATCHES[0]].sort_values("microseconds")["contender"].tolist()
    figure, panels = plt.subplots(1, len(BATCHES), figsize=(11, 3.6), sharey=True, layout="constrained")
    for panel, batch in zip(panels, BATCHES, strict=True):
        times = adam[adam["batch"] == batch].set_index("contender").loc[order]
        colours = [MINE if name in (OURS, ALONE) else THEIRS for name in order]
        bars = panel.barh(order, times["microseconds"], color=colours)
        panel.bar_label(bars, [f"{each:,.0f}" for each in times["microseconds"]], padding=3, fontsize=9)
        panel.axvline(times["limit_microseconds"].iloc[0], color=LIMIT, linewidth=1.5)
        panel.set_xscale("log")
        panel.set_xlim(right=times["microseconds"].max() * 3)
        title = "the whole training set" if batch == 1200 else f"batches of {batch}"
        panel.set_title(title, fontsize=11)
        panel.set_xlabel("µs per run and step")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].invert_yaxis()
    panels[0].annotate(
        "matrix products alone",
        (adam.loc[adam["batch"] == BATCHES[0], "limit_microseconds"].iloc[0], len(order) - 0.6),
        xytext=(5, 0),
        textcoords="offset points",
        color=LIMIT,
        fontsize=9,
        annotation_clip=False,
    )
    for ending in ("png", "svg"):
        figure.savefig(folder / f"steps.{ending}", dpi=200)
    plt.close(figure)
