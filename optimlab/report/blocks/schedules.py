"""Schedules: the factor of each against the progress of a run."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from optimlab.formatting import join_words
from optimlab.report.block import Block
from optimlab.report.blocks.facts import words_of
from optimlab.report.figures.plots import add_legend, new_figure, settled
from optimlab.report.figures.static import static_figure
from optimlab.report.style import figure_style, neutral_styles


def schedules_block(experiment: dict[str, Any]) -> Block | None:
    """Return a figure of the schedules and a table of the optimizers that use them; None without any."""
    curves: dict[str, list[float]] = {}
    users: dict[tuple[str, str], list[str]] = {}
    for label, optimizer in (experiment.get("optimizers") or {}).items():
        for name, schedule in (optimizer.get("schedules") or {}).items():
            words = words_of(schedule)
            curves[words] = (optimizer.get("curves") or {}).get(name) or []
            users.setdefault((words, name), []).append(label)
    curves = {words: curve for words, curve in curves.items() if curve}
    if not curves:
        return None
    alt = "; ".join(
        f"{words} begins at {curve[0]:.3g}, ends at {curve[-1]:.3g}" for words, curve in curves.items()
    )
    return Block(
        heading="Schedules",
        figures=[
            static_figure(
                "schedules",
                "The factor that multiplies a hyper-parameter, against the completed share of the run. "
                "Learning rates in tables and charts are those at factor 1.",
                f"Line chart of the factor during a run: {alt}.",
                schedules_figure,
                curves,
            )
        ],
        caption="Which hyper-parameters change, and how; all others are constant.",
        columns=["Schedule", "Hyper-parameter", "Optimizers"],
        rows=[(words, name, join_words(labels)) for (words, name), labels in users.items()],
    )


def schedules_figure(curves: dict[str, list[float]], *, narrow: bool = False) -> Figure:
    """Draw the factor against the completed share of the run.

    Parameters
    ----------
    curves : description of a schedule → its factors, evenly spaced through the run.
    narrow : whether to draw for a phone.
    """
    with figure_style(curves):
        figure = new_figure(3.7 if narrow else 9, 2.8 if narrow else 3.4)
        axes = figure.subplots()
        drawn = neutral_styles(list(curves))
        for words, curve in curves.items():
            style, done = drawn[words], np.arange(len(curve)) / len(curve)
            axes.plot(done, curve, color=style.colour, linestyle=style.line_style, linewidth=1.8)
        axes.set(xlabel="share of the run", ylabel="factor", xlim=(0, 1))
        axes.set_ylim(bottom=min(0, *map(min, curves.values())))
        add_legend(figure, drawn)
        return settled(figure)
