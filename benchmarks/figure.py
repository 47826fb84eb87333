"""The figure of the steps: a panel a batch size, a dot a contender, and the limit as a line."""

from __future__ import annotations

import io

import matplotlib as mpl
import pandas as pd

from benchmarks.contenders import ALONE, OURS
from benchmarks.steps import BATCHES, best_stacks
from optimlab.files import Folder
from optimlab.report.style import DEFAULTS

mpl.use("Agg")
from matplotlib import pyplot as plt

MINE, THEIRS, LIMIT = "#0072B2", "#7F7F7F", "#D55E00"


@mpl.rc_context(DEFAULTS)
def draw(rows: pd.DataFrame, folder: Folder) -> None:
    """Draw Adam's steps, at each contender's best stack size, to steps.png and steps.svg."""
    adam = best_stacks(rows)[lambda each: each["rule"] == "Adam"]
    order = adam[adam["batch"] == BATCHES[0]].sort_values("microseconds")["contender"].tolist()
    figure, panels = plt.subplots(1, len(BATCHES), figsize=(11, 3.6), sharey=True, layout="constrained")
    for panel, batch in zip(panels, BATCHES, strict=True):
        times = adam[adam["batch"] == batch].set_index("contender")["microseconds"].loc[order]
        limit = adam.loc[adam["batch"] == batch, "limit_microseconds"].iloc[0]
        colours = [MINE if name in (OURS, ALONE) else THEIRS for name in order]
        panel.scatter(times, order, color=colours, s=36, zorder=3)
        for name, time in times.items():
            panel.annotate(
                f"{time:,.0f}", (time, name), xytext=(6, 0), textcoords="offset points", va="center"
            )
        panel.axvline(limit, color=LIMIT, linewidth=1.5)
        panel.annotate(f" {limit:,.0f}", (limit, len(order) - 0.6), color=LIMIT, va="center")
        panel.set_xscale("log")
        panel.set_xlim(1, 20_000)
        panel.set_ylim(len(order) - 0.2, -0.6)
        panel.xaxis.set_major_formatter("{x:,.0f}")
        panel.set_title("the whole training set" if batch == 1200 else f"batches of {batch}")
        panel.set_xlabel("µs per run and step")
        panel.grid(axis="y", color="#EEEEEE")
        panel.spines[["top", "right"]].set_visible(False)
    figure.supxlabel(
        "orange: the matrix products alone, at the machine's rate", color=LIMIT, fontsize="medium"
    )
    for ending in ("png", "svg"):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=ending, dpi=200)
        folder.write(f"steps.{ending}", buffer.getvalue())
    plt.close(figure)
